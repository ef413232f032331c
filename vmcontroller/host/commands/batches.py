"""One command for many guests: sent in one message where only those who are meant would read it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import uuid4

from vmcontroller.common.errors import NoSuchCommand, NotConnected
from vmcontroller.common.model import CommandSpec
from vmcontroller.common.words.commands import CmdRun
from vmcontroller.common.words.running import CmdRunAll
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.commands.record import Command, StdinState
from vmcontroller.host.guests import Guest
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.requests import COMMAND_MAX_BYTES


class Batches:
    """Commands that were sent together."""

    def __init__(self, commands: Commands) -> None:
        self._world = commands.world
        self._commands = commands

    async def run(
        self,
        targets: Sequence[tuple[Vm, Guest]],
        spec: CommandSpec,
        stdin: StdinState | None,
        *,
        all_are_meant: bool,
    ) -> tuple[str, Mapping[str, str]]:
        """Send one command to these guests; return the batch's id, and {VM's name: command's id}.

        `all_are_meant`: whoever hears the common topic is among the targets, and knows
        CMD_RUN_ALL. Raises NotConnected and NotStored, and then nothing of it remains.
        """
        batch_id = str(uuid4())
        commands = []
        for vm, guest in targets:
            own = None if stdin is None else replace(stdin)
            command = self._commands.new(vm, guest, spec, own)
            command.batch_id = batch_id
            commands.append(command)

        def say(going: Sequence[Command]) -> None:
            self._say(batch_id, going, together=all_are_meant and len(going) > 1)

        await self._commands.begin(commands, say)
        return batch_id, {command.vm_name: command.cmd_id for command in commands}

    def _say(self, batch_id: str, commands: Sequence[Command], *, together: bool) -> None:
        if together:
            word = CmdRunAll(
                batch_id=batch_id,
                cmd_ids={command.guest: command.cmd_id for command in commands},
                spec=commands[0].spec,
            )
            if len(word.how_to_say().body) <= COMMAND_MAX_BYTES:  # else each gets its own
                self._world.say_to_all(word)
                return
        for index, command in enumerate(commands):
            try:
                self._world.say(command.guest, CmdRun(cmd_id=command.cmd_id, spec=command.spec))
            except NotConnected:
                if index == 0:
                    raise
                return  # some have it: the others get it at their next HELLO

    async def wait(self, batch_id: str, timeout_s: float) -> Mapping[str, Command]:
        """Return {VM's name: record} as soon as all have ended, or when the time has passed.

        Raises NoSuchCommand for a batch that never was, or is forgotten.
        """
        until_s = self._world.clock.seconds() + timeout_s
        found = {}
        for cmd_id in self._commands.registry.batch(batch_id):
            left_s = max(0.0, until_s - self._world.clock.seconds())
            with contextlib.suppress(NoSuchCommand):  # it was forgotten meanwhile
                command = await self._commands.wait(cmd_id, left_s)
                found[command.vm_name] = command
        return found
