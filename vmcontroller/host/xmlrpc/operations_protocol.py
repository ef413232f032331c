"""What the door needs behind it: the use cases, as `host.operations` has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from vmcontroller.host.callers import Caller
from vmcontroller.host.events.log import Wanted
from vmcontroller.host.requests import CreateOptions, RunRequest
from vmcontroller.host.tasks.task import Job
from vmcontroller.host.transfers.request import CopyOptions


class Operations(Protocol):
    """One coroutine per use case; `vm` is a name, a UUID or a MAC address.

    Each raises a VMControllerError for what a caller can understand. What they answer is made
    of str, bytes, bool, int, finite float, mappings with str keys, sequences and enums of these.
    """

    async def create_vm(self, name: str, image: str, options: CreateOptions) -> Sequence[Any]:
        """Answer [True, name]."""
        ...

    async def remove_vm(self, vm: str) -> Sequence[Any]:
        """Answer [True, name]."""
        ...

    async def start(self, vm: str) -> bool:
        """Answer True when it runs."""
        ...

    async def shutdown(self, vm: str) -> bool:
        """Answer True when the guest has shut down."""
        ...

    async def power_off(self, vm: str) -> bool:
        """Answer True when it is off."""
        ...

    async def reset(self, vm: str) -> bool:
        """Answer True when it begins anew."""
        ...

    async def pause(self, vm: str) -> bool:
        """Answer True when it is frozen."""
        ...

    async def resume(self, vm: str) -> bool:
        """Answer True when it runs on."""
        ...

    async def get_vm(self, vm: str) -> Mapping[str, Any]:
        """Answer what a VM was made with."""
        ...

    async def take_snapshot(self, vm: str, name: str, description: str) -> bool:
        """Answer True when it is kept."""
        ...

    async def restore_snapshot(self, vm: str, name: str) -> bool:
        """Answer True when the VM is what it was; an empty `name` is the current snapshot."""
        ...

    async def delete_snapshot(self, vm: str, name: str) -> bool:
        """Answer True when it is gone."""
        ...

    async def list_snapshots(self, vm: str) -> Sequence[str]:
        """Answer the names, depth first."""
        ...

    async def get_snapshots(self, vm: str) -> Sequence[Mapping[str, Any]]:
        """Answer the roots of the tree."""
        ...

    async def save_state(self, vm: str) -> bool:
        """Answer True when it is saved."""
        ...

    async def discard_state(self, vm: str) -> bool:
        """Answer True when it is powered off."""
        ...

    async def sleep(self, vm: str) -> bool:
        """Answer True when it sleeps."""
        ...

    async def get_state(self, vm: str) -> str:
        """Answer the state's name."""
        ...

    async def list_vms(self) -> Sequence[str]:
        """Answer the names of all."""
        ...

    async def list_vms_with_state(self) -> Mapping[str, str]:
        """Answer {name: state}."""
        ...

    async def list_running_vms(self) -> Sequence[str]:
        """Answer the names of those that run."""
        ...

    async def get_ids_to_names_mapping(self) -> Mapping[str, str]:
        """Answer {MAC address: name}."""
        ...

    async def get_names_to_ids_mapping(self) -> Mapping[str, str]:
        """Answer {name: MAC address}."""
        ...

    async def ping(self, vm: str, timeout_s: float) -> str:
        """Answer 'PONG from <name>'."""
        ...

    async def get_guest(self, vm: str) -> Mapping[str, Any]:
        """Answer what is known of a VM's guest."""
        ...

    async def list_guests(self) -> Mapping[str, Mapping[str, Any]]:
        """Answer the same of every VM, by name."""
        ...

    async def get_broker_stats(self) -> Mapping[str, Any]:
        """Answer what the broker counts, where it listens and what it allows."""
        ...

    async def run_cmd(self, vm: str, request: RunRequest) -> str:
        """Answer the command's id."""
        ...

    async def run_cmd_on_all(
        self, vms: str | Sequence[str], request: RunRequest
    ) -> Mapping[str, Any]:
        """Answer the commands' ids; `vms` is a pattern, or names."""
        ...

    async def wait_cmd_on_all(self, batch_id: str, timeout_s: float) -> Mapping[str, Any]:
        """Answer the results when all are there, or as they are after `timeout_s`."""
        ...

    async def kill_cmd(self, cmd_id: str, signal: str) -> bool:
        """Answer whether any process got the signal."""
        ...

    async def send_cmd_stdin(self, cmd_id: str, data: bytes) -> int:
        """Answer how many bytes have been given in all."""
        ...

    async def close_cmd_stdin(self, cmd_id: str) -> bool:
        """Answer True."""
        ...

    async def list_cmds(self, vm: str) -> Sequence[Mapping[str, Any]]:
        """Answer the details of the commands that have not ended; '' is of all VMs."""
        ...

    async def list_finished_cmds(self) -> Mapping[str, Mapping[str, Any]]:
        """Answer {id: details} of the commands that have ended."""
        ...

    async def get_cmd_results(self, cmd_id: str) -> Mapping[str, Any]:
        """Answer the result as it is now."""
        ...

    async def get_cmd_details(self, cmd_id: str) -> Mapping[str, Any]:
        """Answer the request and where it stands."""
        ...

    async def get_cmd_output(
        self, cmd_id: str, stream: str, offset: int, length: int, timeout_s: float
    ) -> bytes:
        """Answer up to `length` bytes of `stdout` or `stderr`, when there are any."""
        ...

    async def wait_cmd(self, cmd_id: str, timeout_s: float) -> Mapping[str, Any]:
        """Answer the result when there is one, or as it is after `timeout_s`."""
        ...

    async def forget_cmd(self, cmd_id: str) -> bool:
        """Drop an ended command; answer True."""
        ...

    async def cp_file_to_vm(
        self, vm: str, local_path: str, remote_path: str, options: CopyOptions
    ) -> Sequence[Any]:
        """Answer ['', '', 0] when the file is in place."""
        ...

    async def cp_file_from_vm(
        self, vm: str, remote_path: str, local_path: str, options: CopyOptions
    ) -> Sequence[Any]:
        """Answer ['', '', 0] when the file is in place."""
        ...

    async def list_transfers(self, vm: str) -> Sequence[Mapping[str, Any]]:
        """Answer all copies, or those of one VM."""
        ...

    async def get_transfer(self, transfer_id: str) -> Mapping[str, Any]:
        """Answer where a copy stands."""
        ...

    async def cancel_transfer(self, transfer_id: str) -> bool:
        """Answer whether there was something to end."""
        ...

    async def wait_events(self, since: int, timeout_s: float, wanted: Wanted) -> Mapping[str, Any]:
        """Answer the wanted events from number `since` on, when there are any."""
        ...

    async def submit(self, job: Job) -> str:
        """Answer the id of the task that makes this call."""
        ...

    async def get_task(self, task_id: str, caller: Caller) -> Mapping[str, Any]:
        """Answer where one of the caller's tasks stands."""
        ...

    async def wait_task(self, task_id: str, timeout_s: float, caller: Caller) -> Mapping[str, Any]:
        """Answer the same when it has ended, or as it is after `timeout_s`."""
        ...

    async def cancel_task(self, task_id: str, caller: Caller) -> bool:
        """Answer whether it is given up."""
        ...

    async def list_tasks(self, caller: Caller) -> Sequence[Mapping[str, Any]]:
        """Answer where all the caller's tasks stand."""
        ...

    async def get_performance_data(self, vm: str) -> Sequence[Mapping[str, Any]]:
        """Answer all figures of a VM with their last values."""
        ...

    async def get_stats(self, vm: str, key: str) -> Sequence[Mapping[str, Any]]:
        """Answer the figures whose names match the pattern, with all that is kept."""
        ...

    async def get_display(self, vm: str) -> Mapping[str, Any]:
        """Answer how a VM's screen can be reached."""
        ...

    async def take_screenshot(self, vm: str) -> bytes:
        """Answer what is on a VM's screen, as a PNG."""
        ...

    async def get_console_log(self, vm: str, offset: int, length: int) -> Mapping[str, Any]:
        """Answer a piece of what a VM wrote to its serial console."""
        ...

    async def states(self) -> Mapping[str, int]:
        """Answer {state: number}."""
        ...

    async def version(self) -> str:
        """Answer the daemon's version."""
        ...
