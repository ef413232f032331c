"""Use cases of commands in guests, from the request to the forgotten result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmcontroller.common.model import CommandSpec
from vmcontroller.host.commands.answers import details_of, results_of
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.commands.record import IN_MEMORY_BYTES, Command
from vmcontroller.host.creation import InThread
from vmcontroller.host.reach import Reach


class CommandOperations:
    """Commands: run, asked about, forgotten."""

    def __init__(self, *, reach: Reach, in_thread: InThread, commands: Commands) -> None:
        self._reach = reach
        self._in_thread = in_thread
        self._commands = commands

    async def run_cmd(self, vm: str, spec: CommandSpec) -> str:
        """Send a command to the guest; answer its id at once."""
        found = await self._reach.vm_on(vm)
        return self._commands.run(found, self._reach.agent_of(found), spec)

    async def list_finished_cmds(self) -> Mapping[str, Mapping[str, Any]]:
        """Answer {id: details} of what has ended and is not forgotten."""
        return {command.cmd_id: details_of(command) for command in self._commands.ended()}

    async def get_cmd_results(self, cmd_id: str) -> Mapping[str, Any]:
        """Answer the result, as often as asked; `finished` is false while it runs."""
        return await self._results(self._commands.get(cmd_id))

    async def get_cmd_details(self, cmd_id: str) -> Mapping[str, Any]:
        """Answer the request and its state."""
        return details_of(self._commands.get(cmd_id))

    async def get_cmd_output(self, cmd_id: str, stream: str, offset: int, length: int) -> bytes:
        """Answer the exact bytes of a stream, as far as they have come."""
        return self._commands.get(cmd_id).streams[stream].read(offset, length)

    async def wait_cmd(self, cmd_id: str, timeout_s: float) -> Mapping[str, Any]:
        """Answer the result the moment it is stored, or as it is when the time has passed."""
        return await self._results(await self._commands.wait(cmd_id, timeout_s))

    async def _results(self, command: Command) -> Mapping[str, Any]:
        """Read and decode much output in a thread: 64 MiB take 0.2 s (measured)."""
        if sum(command.stored_bytes) <= IN_MEMORY_BYTES:
            return results_of(command)
        answer: Mapping[str, Any] = await self._in_thread(results_of, command)
        return answer

    async def forget_cmd(self, cmd_id: str) -> bool:
        """Drop an ended command's result and output."""
        self._commands.forget(cmd_id)
        return True
