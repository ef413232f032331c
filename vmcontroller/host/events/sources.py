"""Where events come from: what the parts of the daemon report, in the words of the log."""

from __future__ import annotations

from collections.abc import Callable, Collection

from vmcontroller.common.model import GuestId
from vmcontroller.host.commands.record import Command
from vmcontroller.host.events.events import Events
from vmcontroller.host.events.log import Kind
from vmcontroller.host.events.machines import Machines
from vmcontroller.host.guests import Guest
from vmcontroller.host.hypervisor.base import Vm, VmChanged
from vmcontroller.host.identity.identities import identity_of
from vmcontroller.host.tasks.task import Task
from vmcontroller.host.transfers.request import Record


class Sources:
    """Turns reports into events; `last_known` are the machines as they were read last."""

    def __init__(self, events: Events, last_known: Callable[[], Collection[Vm]]) -> None:
        self._events = events
        self._last_known = last_known
        self._machines = Machines()
        self._of_guests: dict[GuestId, Vm] = {}

    def found(self, vms: Collection[Vm]) -> None:
        """Take the machines that are there when the daemon begins to follow them."""
        self._machines.found(vms)

    def vm_changed(self, change: VmChanged) -> None:
        """Note what the hypervisor reports."""
        events = self._machines.changed(change)
        if change.state is None or any(event.kind is not Kind.VM_STATE for event in events):
            self._of_guests.clear()
        for event in events:
            self._events.note(event.kind, event.vm, event.uuid, **event.detail)

    def agent_up(self, guest: Guest) -> None:
        """Note that an agent has said HELLO, of a session that was not there before."""
        said = guest.descriptor.ip
        self._guest(Kind.AGENT_UP, guest.id, ip=said, version=guest.agent_version)

    def agent_gone(self, guest: Guest, why: str) -> None:
        """Note that an agent is not there any more."""
        self._guest(Kind.AGENT_GONE, guest.id, reason=why)

    def command_ended(self, command: Command) -> None:
        """Note that a command's end is stored."""
        result = command.result
        self._events.note(
            Kind.COMMAND_ENDED,
            command.vm_name,
            command.vm_uuid,
            cmdId=command.cmd_id,
            state=command.state.value,
            exitCodeOrSignal=-1 if result is None else result.exit_code_or_signal,
        )

    def transfer_ended(self, record: Record) -> None:
        """Note that a copy is over, or interrupted."""
        self._events.note(
            Kind.TRANSFER_ENDED,
            record.request.vm_name,
            record.request.vm_uuid,
            id=record.transfer_id,
            state=record.state.value,
            bytes=record.done_bytes,
        )

    def task_ended(self, task: Task) -> None:
        """Note that a task is over."""
        self._events.note(
            Kind.TASK_ENDED,
            task.vm,
            task.uuid,
            id=task.task_id,
            method=task.job.method,
            state=task.state.value,
        )

    def _guest(self, kind: Kind, guest: GuestId, **detail: str) -> None:
        vm = self._vm_of(guest)
        name, uuid = (vm.name, vm.uuid) if vm is not None else ("", "")
        self._events.note(kind, name, uuid, guest=guest, **detail)

    def _vm_of(self, guest: GuestId) -> Vm | None:
        """Look a guest's machine up; thousands of agents may come at once."""
        if guest not in self._of_guests:
            for vm in self._last_known():
                for mac in vm.macs:  # on an external broker it may choose another than the first
                    self._of_guests[GuestId(mac)] = vm
                self._of_guests[identity_of(vm)] = vm
        return self._of_guests.get(guest)
