"""Commands in guests, from the request to the forgotten result.

Each command has a record and a spool per stream. What a guest says of a command counts only if
it comes from the guest the command was sent to. Results are kept until they are forgotten or
their time to live has passed; they do not survive a restart of the daemon yet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmcontroller.common.errors import BadArgument, NoSuchCommand, NotConnected
from vmcontroller.common.model import CommandSpec, GuestId
from vmcontroller.common.words.commands import CmdOutput, CmdResult, CmdRun, CmdStarted, CmdStored
from vmcontroller.common.words.ears import Word
from vmcontroller.host.commands.record import Command, CommandState
from vmcontroller.host.guests import Guest
from vmcontroller.host.hypervisor.base import Vm

KEPT_COMMANDS = 10_000
"""Ended commands beyond this number are forgotten, the oldest first."""


class Commands:
    """All commands this daemon knows, by id."""

    def __init__(
        self,
        *,
        clock: IReactorTime,
        say: Callable[[GuestId, Word], None],
        ask_for_hello: Callable[[GuestId], None],
        spool_dir: str,
        time_to_live_s: float = 86400.0,
    ) -> None:
        """`say` sends a word to a guest; it raises NotConnected without a broker."""
        self._ask_for_hello = ask_for_hello
        self._clock = clock
        self._say = say
        self._spool_dir = spool_dir
        self._time_to_live_s = time_to_live_s
        self._commands: dict[str, Command] = {}
        self._waiting: dict[str, list[Deferred[None]]] = {}

    _log = Logger()

    def run(self, vm: Vm, guest: Guest, spec: CommandSpec) -> str:
        """Send a command to a guest that is there; return its id at once.

        Raises NotConnected, and then nothing of the command remains.
        """
        command = Command(
            cmd_id=str(uuid4()),
            vm_name=vm.name,
            vm_uuid=vm.uuid,
            guest=guest.id,
            session=guest.session,
            spec=spec,
            sent_s=self._clock.seconds(),
            spool_dir=self._spool_dir,
        )
        self._say(guest.id, CmdRun(cmd_id=command.cmd_id, spec=spec))
        self._commands[command.cmd_id] = command
        return command.cmd_id

    def get(self, cmd_id: str) -> Command:
        """Return a command's record; raises NoSuchCommand."""
        command = self._commands.get(cmd_id)
        if command is None:
            raise NoSuchCommand(cmd_id)
        return command

    def ended(self) -> tuple[Command, ...]:
        """Return the commands that have ended, one way or another, and are not forgotten."""
        return tuple(command for command in self._commands.values() if command.has_ended)

    async def wait(self, cmd_id: str, timeout_s: float) -> Command:
        """Return the record as soon as the command has ended, or when the time has passed."""
        command = self.get(cmd_id)
        if not command.has_ended:
            ending: Deferred[None] = Deferred()
            waiting = self._waiting.setdefault(cmd_id, [])
            waiting.append(ending)
            timer = self._clock.callLater(timeout_s, ending.callback, None)
            try:
                await ending
            finally:
                if timer.active():
                    timer.cancel()
                if ending in waiting:
                    waiting.remove(ending)
        return command

    def forget(self, cmd_id: str) -> None:
        """Drop an ended command and its output; BadArgument while it runs."""
        command = self.get(cmd_id)
        if not command.has_ended:
            raise BadArgument("cmdId", f"{cmd_id} has not ended; only ended commands are forgotten")
        self._drop(command)

    def expire(self) -> None:
        """Forget what has passed its time to live, and the oldest where there are too many."""
        now = self._clock.seconds()
        ended = sorted(self.ended(), key=lambda command: command.ended_s)
        surplus = len(ended) - KEPT_COMMANDS
        for index, command in enumerate(ended):
            if index < surplus or now - command.ended_s > self._time_to_live_s:
                self._drop(command)

    def stop(self) -> None:
        """Let every waiting caller go and close the spools."""
        for waiting in list(self._waiting.values()):
            for ending in list(waiting):
                ending.errback(NotConnected("the daemon stops; the command had not ended"))
        for command in list(self._commands.values()):
            self._drop(command)

    # What guests say.

    def heard_started(self, word: CmdStarted, sender: str) -> None:
        """Note that the guest has taken the command."""
        command = self._of(word.cmd_id, sender)
        if command is not None:
            command.started(word.pid)

    def heard_output(self, word: CmdOutput, sender: str) -> None:
        """Store a stretch of output; one that was stored already, or leaves a gap, is dropped."""
        command = self._of(word.cmd_id, sender)
        if command is not None and command.state is not CommandState.ENDED:
            command.streams[word.stream].store(word.offset, word.data)

    def heard_result(self, word: CmdResult, sender: str) -> None:
        """Store a result whose output is whole, and let the guest forget it.

        A result for which output is missing is left unacknowledged, and what is missing is asked
        for, once: a HELLO out of turn lets the guest begin anew from what is stored. One for a
        command that nobody waits for is acknowledged, so that the guest can forget it.
        """
        result = word.result
        command = self._of(result.cmd_id, sender)
        if command is not None:
            if not command.has_all_of(result):
                self._ask_again(command)
                return
            if command.state is not CommandState.ENDED:
                command.ended_with(result, self._clock.seconds())
                self._release(command)
        elif result.cmd_id in self._commands:
            return  # somebody else's command: not this sender's to end
        self._say(GuestId(sender), CmdStored(cmd_id=result.cmd_id))

    def _ask_again(self, command: Command) -> None:
        self._log.debug("output of {cmd_id} is incomplete", cmd_id=command.cmd_id)
        if not command.asked_again:
            command.asked_again = True
            self._ask_for_hello(command.guest)

    def reconcile(
        self, guest: GuestId, held: Collection[str], session: str
    ) -> Mapping[str, tuple[int, int]]:
        """Bring what the host waits for and what a guest holds together, at its HELLO.

        Returns, for each command that both know, how many bytes of stdout and of stderr are
        stored. What the guest does not hold is sent again if it never started and the agent is
        still the one it was sent to (which runs an id at most once); otherwise it is lost.
        """
        offsets: dict[str, tuple[int, int]] = {}
        for command in list(self._commands.values()):
            if command.guest != guest or command.has_ended:
                continue
            if command.cmd_id in held:
                offsets[command.cmd_id] = command.stored_bytes
            elif command.session == session and command.state is CommandState.SENT:
                self._say(guest, CmdRun(cmd_id=command.cmd_id, spec=command.spec))
            else:
                self._lose(command, "LOST: the agent does not know it any more: it was restarted")
        return offsets

    def vm_stopped(self, vm_uuid: str, why: str) -> None:
        """End every command of a VM that no longer runs, or was reset."""
        for command in list(self._commands.values()):
            if command.vm_uuid == vm_uuid and not command.has_ended:
                self._lose(command, f"LOST: {why}")

    def refused(self, guest: GuestId, cmd_id: str, detail: str) -> None:
        """End a command that the agent did not understand; others are not concerned."""
        command = self._of(cmd_id, guest)
        if command is not None and not command.has_ended:
            self._lose(command, f"REFUSED: {detail:.200}")

    def _of(self, cmd_id: str, sender: str) -> Command | None:
        command = self._commands.get(cmd_id)
        return command if command is not None and command.guest == sender else None

    def _lose(self, command: Command, reason: str) -> None:
        self._log.warn(
            "command {cmd_id} in {vm} has no result: {reason}",
            cmd_id=command.cmd_id,
            vm=command.vm_name,
            reason=reason,
        )
        command.lost(reason, self._clock.seconds())
        self._release(command)

    def _release(self, command: Command) -> None:
        for ending in self._waiting.pop(command.cmd_id, []):
            ending.callback(None)

    def _drop(self, command: Command) -> None:
        del self._commands[command.cmd_id]
        command.close()
