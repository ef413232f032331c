"""Use cases of commands in guests, from the request to the forgotten result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList

from vmcontroller.common.errors import NoSuchVM, VMControllerError
from vmcontroller.common.model import CommandSpec
from vmcontroller.host.commands.abilities import must_know
from vmcontroller.host.commands.answers import (
    BATCH_TEXT_BYTES,
    TEXT_BYTES,
    details_of,
    results_of,
)
from vmcontroller.host.commands.batches import Batches
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.commands.record import Command, StdinState
from vmcontroller.host.creation import InThread
from vmcontroller.host.directory import Directory
from vmcontroller.host.guests import Guest
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.reach import Reach
from vmcontroller.host.requests import RunRequest

LONG_BYTES: Final = 16 * 1024
"""Output beyond this is decoded in a thread: 64 MiB take 0.2 s (measured)."""


class CommandOperations:
    """Commands: run, asked about, forgotten."""

    def __init__(
        self,
        *,
        reach: Reach,
        directory: Directory,
        in_thread: InThread,
        commands: Commands,
    ) -> None:
        self._reach = reach
        self._directory = directory
        self._in_thread = in_thread
        self._commands = commands
        self._batches = Batches(commands)

    async def run_cmd(self, vm: str, request: RunRequest) -> str:
        """Send a command to the guest; answer its id as soon as the request is kept."""
        found = await self._reach.vm_on(vm)
        must_know(self._reach.agent_of(found), found.name, request.spec)
        spec, stdin = await self._prepared(request)
        return await self._commands.run(found, self._reach.agent_of(found), spec, stdin)

    async def _prepared(self, request: RunRequest) -> tuple[CommandSpec, StdinState | None]:
        """Fill in what the request leaves to the configuration, and look at the host's file."""
        spec = request.spec
        if request.has_usual_output_limit:
            spec = replace(spec, output_limit_bytes=self._commands.output_limit_bytes)
        if not request.stdin_from_host:
            return spec, StdinState() if spec.stdin_open else None
        return spec, await self._commands.stdin_from(request.stdin_from_host, request.roles)

    async def run_cmd_on_all(
        self, vms: str | Sequence[str], request: RunRequest
    ) -> Mapping[str, Any]:
        """Send one command to many guests; answer their ids, and for whom it was not possible."""
        meant, failed = await self._meant(vms)
        targets: list[tuple[Vm, Guest]] = []
        for vm in meant:
            try:
                guest = self._reach.agent_of(vm)
                must_know(guest, vm.name, request.spec)
            except VMControllerError as error:
                failed[vm.name] = _said(error)
            else:
                targets.append((vm, guest))
        batch_id = ""
        commands: Mapping[str, str] = {}
        if targets:
            spec, stdin = await self._prepared(request)
            batch_id, commands = await self._batches.run(
                targets, spec, stdin, all_are_meant=self._hear_only(targets, meant)
            )
        return {"batch": batch_id, "commands": commands, "failed": failed}

    async def _meant(self, vms: str | Sequence[str]) -> tuple[Sequence[Vm], dict[str, str]]:
        """Return the VMs of a pattern that run, or of a list; and the names that are of none."""
        every = await self._directory.all()
        if isinstance(vms, str):
            running = [vm for vm in every if vm.state is VmState.RUNNING]
            return [vm for vm in running if fnmatchcase(vm.name, vms)], {}
        found: dict[str, Vm] = {}
        failed: dict[str, str] = {}
        for name in vms:
            try:
                vm = await self._directory.find(name)
            except NoSuchVM as error:
                failed[name] = _said(error)
            else:
                found[vm.uuid] = vm
        return list(found.values()), failed

    def _hear_only(self, targets: Sequence[tuple[Vm, Guest]], meant: Sequence[Vm]) -> bool:
        """Tell whether a message to all guests reaches nobody else, and all understand it.

        A guest that has connected and not said HELLO yet hears it, too: so every VM that is not
        off must be meant, not only those whose agents are known.
        """
        uuids = {vm.uuid for vm in meant}
        if any(vm.uuid not in uuids for vm in self._directory.last_known() if not vm.state.is_off):
            return False
        ids = {guest.id for _, guest in targets}
        return all(each.id in ids and each.protocol >= 3 for each in self._reach.agents())

    async def wait_cmd_on_all(self, batch_id: str, timeout_s: float) -> Mapping[str, Any]:
        """Answer {VM: result} as soon as all have ended, or as they are when the time has passed.

        Of the output only the beginning is in it: there may be many.
        """
        found = await self._batches.wait(batch_id, timeout_s)
        return {
            name: await self._results(command, BATCH_TEXT_BYTES) for name, command in found.items()
        }

    async def list_cmds(self, vm: str) -> Sequence[Mapping[str, Any]]:
        """Answer the details of what has not ended, of all VMs or one, the oldest first.

        All guests are asked at once what theirs use: one that does not answer holds up nobody for
        longer than itself.
        """
        uuid = (await self._reach.vm_on(vm)).uuid if vm else ""
        found = [
            command
            for command in self._commands.registry.running()
            if not uuid or command.vm_uuid == uuid
        ]
        asked = [
            Deferred.fromCoroutine(self._commands.asking.refresh_usage(command))
            for command in found
        ]
        _ = await DeferredList(asked, consumeErrors=True)
        return [self._details(command) for command in found]

    async def list_finished_cmds(self) -> Mapping[str, Mapping[str, Any]]:
        """Answer {id: details} of what has ended and is not forgotten."""
        return {command.cmd_id: details_of(command) for command in await self._commands.ended()}

    async def get_cmd_results(self, cmd_id: str) -> Mapping[str, Any]:
        """Answer the result, as often as asked; `finished` is false while it runs."""
        return await self._results(await self._commands.find(cmd_id))

    async def get_cmd_details(self, cmd_id: str) -> Mapping[str, Any]:
        """Answer the request, its state and, while it runs, what it uses."""
        command = await self._commands.find(cmd_id)
        await self._commands.asking.refresh_usage(command)
        return self._details(command)

    def _details(self, command: Command) -> Mapping[str, Any]:
        answer = dict(details_of(command))
        if command.usage:
            answer["usage"] = dict(command.usage)
            answer["usageAge"] = self._commands.age_s(command.usage_s)
        return answer

    async def get_cmd_output(
        self, cmd_id: str, stream: str, offset: int, length: int, timeout_s: float
    ) -> bytes:
        """Answer the exact bytes of a stream, as soon as there are any at `offset`."""
        return await self._commands.output(cmd_id, stream, offset, length, timeout_s)

    async def wait_cmd(self, cmd_id: str, timeout_s: float) -> Mapping[str, Any]:
        """Answer the result the moment it is stored, or as it is when the time has passed."""
        return await self._results(await self._commands.wait(cmd_id, timeout_s))

    async def kill_cmd(self, cmd_id: str, signal: str) -> bool:
        """Send a signal to a command and all it has started; answer whether any process got it."""
        command = await self._commands.find(cmd_id)
        return await self._commands.asking.signal(command, signal) > 0

    async def send_cmd_stdin(self, cmd_id: str, data: bytes) -> int:
        """Give a command more of its stdin; answer how much it has been given in all."""
        return await self._commands.feeding.send(await self._commands.find(cmd_id), data)

    async def close_cmd_stdin(self, cmd_id: str) -> bool:
        """Let a command's stdin end after what it has been given."""
        await self._commands.feeding.close(await self._commands.find(cmd_id))
        return True

    async def _results(self, command: Command, text_bytes: int = TEXT_BYTES) -> Mapping[str, Any]:
        out = err = b""
        if command.has_ended:
            out = await self._commands.read(command, "stdout", 0, text_bytes)
            err = await self._commands.read(command, "stderr", 0, text_bytes)
        if len(out) + len(err) <= LONG_BYTES:
            return results_of(command, out, err)
        answer: Mapping[str, Any] = await self._in_thread(results_of, command, out, err)
        return answer

    async def forget_cmd(self, cmd_id: str) -> bool:
        """Drop an ended command's result and output."""
        await self._commands.forget(cmd_id)
        return True


def _said(error: VMControllerError) -> str:
    return f"{error.fault}: {error}"
