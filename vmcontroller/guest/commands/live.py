"""The commands that run now: what the host says to them, and what they leave behind."""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import signal
from collections.abc import Callable, Mapping

from twisted.internet.defer import Deferred

from vmcontroller.common.errors import NotConnected
from vmcontroller.common.model import CommandResult, CommandSpec
from vmcontroller.common.spawning import seal
from vmcontroller.common.words import Word
from vmcontroller.common.words.running import (
    CmdAsk,
    CmdSignal,
    CmdSignalled,
    CmdStdin,
    CmdStdinRoom,
    CmdUsage,
)
from vmcontroller.guest.commands.command import Command, Patience, Surroundings, Told
from vmcontroller.guest.commands.orphans import Burials, Orphans, adopt_orphans
from vmcontroller.guest.commands.spool import StreamSpool
from vmcontroller.guest.commands.streams import ICommandReactor
from vmcontroller.guest.commands.usage import NOTHING


class Live:
    """Each by its id, from its start to its end."""

    def __init__(
        self,
        *,
        reactor: ICommandReactor,
        say: Callable[[Word], None],
        env: Mapping[str, str],
        now: Callable[[], float],
        patience: Patience,
    ) -> None:
        """`env` is what commands inherit, `now` a monotonic clock; `say` raises NotConnected."""
        self._reactor = reactor
        self._say = say
        self._patience = patience
        self._commands: dict[str, Command] = {}
        self._marks: dict[str, Command] = {}
        self._leaders: dict[int, str] = {}
        """The pid of each command that has not been waited for, and its mark."""
        self._greeted = False
        self._none_runs: Deferred[None] | None = None
        orphans = Orphans(leaders=self._leaders, on_end=self._orphan_ended)
        self._burials = Burials(reactor, orphans)
        # A dict: os.environ decodes every name each time it is copied.
        self._around = Surroundings(
            reactor=reactor, env=dict(env), orphans=orphans, now=now, patience=patience
        )

    def __len__(self) -> int:
        return len(self._commands)

    def begin(self) -> None:
        """Take what this process needs, once it is one that runs commands."""
        seal()
        self._around = dataclasses.replace(self._around, adopts=adopt_orphans(), sealed=True)

    def start(
        self,
        cmd_id: str,
        spec: CommandSpec,
        mark: str,
        spools: Mapping[str, StreamSpool],
        *,
        on_output: Callable[[], None],
        on_slow: Callable[[int], None],
        on_end: Callable[[CommandResult], None],
    ) -> int:
        """Start a command; return its pid. `on_slow` is told that, too, if it doesn't end soon.

        Raises launching.Refused, and then nobody is told anything.
        """
        command = Command(
            cmd_id=cmd_id,
            spec=spec,
            spools=spools,
            mark=mark,
            around=self._around,
            told=Told(
                output=on_output,
                slow=lambda: self._is_slow(pid, on_slow),
                exited=lambda: self._exited(pid),
                end=lambda result: self._ended(cmd_id, mark, result, on_end),
                stdin=self._tell_room,
            ),
        )
        pid = command.start()
        self._commands[cmd_id] = self._marks[mark] = command
        self._leaders[pid] = mark
        if command.feed is not None:
            self._tell_room(command.feed.room())
        return pid

    def heard_cmd_stdin(self, word: CmdStdin) -> None:
        """Hand on bytes; who can't take any says so."""
        command = self._commands.get(word.cmd_id)
        if command is not None and command.feed is not None:
            command.feed.heard(word)
        else:
            closed = CmdStdinRoom(cmd_id=word.cmd_id, taken_bytes=0, room_bytes=0, closed=True)
            self._tell(closed)

    def heard_cmd_signal(self, word: CmdSignal) -> None:
        """Send a signal to a command and all that it has started."""
        command = self._commands.get(word.cmd_id)
        signum = signal.Signals[f"SIG{word.signal}"]
        processes = command.signal(signum) if command is not None else 0
        self._tell(CmdSignalled(cmd_id=word.cmd_id, signal=word.signal, processes=processes))

    def heard_cmd_ask(self, word: CmdAsk) -> None:
        """Say what a command uses."""
        command = self._commands.get(word.cmd_id)
        usage = command.measure() if command is not None else NOTHING
        self._tell(CmdUsage(cmd_id=word.cmd_id, usage=usage))

    def connection_lost(self) -> None:
        """Say nothing of room until the host has answered."""
        self._greeted = False

    def resume(self) -> None:
        """Say how much room there is for each stdin."""
        self._greeted = True
        for command in self._commands.values():
            if command.feed is not None:
                self._tell(command.feed.room())

    async def stop(self) -> None:
        """End what runs: SIGTERM, and SIGKILL when it does not end soon."""
        for signum in (signal.SIGTERM, signal.SIGKILL):
            for command in tuple(self._commands.values()):
                command.signal(signum)
            await self._until_none_runs(self._patience.stop_grace_s)
        self._burials.stop()

    async def _until_none_runs(self, at_most_s: float) -> None:
        if not self._commands:
            return
        self._none_runs = Deferred[None]()
        grace = self._reactor.callLater(at_most_s, self._none_runs.callback, None)
        await self._none_runs
        if grace.active():
            grace.cancel()

    def _is_slow(self, pid: int, on_slow: Callable[[int], None]) -> None:
        self._burials.watch()
        on_slow(pid)

    def _exited(self, pid: int) -> None:
        self._burials.look()
        self._leaders.pop(pid, None)

    def _ended(
        self, cmd_id: str, mark: str, result: CommandResult, on_end: Callable[[CommandResult], None]
    ) -> None:
        self._commands.pop(cmd_id, None)
        self._marks.pop(mark, None)
        on_end(result)
        if self._none_runs is not None and not self._commands and not self._none_runs.called:
            self._none_runs.callback(None)

    def _orphan_ended(self, mark: str, usage: resource.struct_rusage) -> None:
        command = self._marks.get(mark)
        if command is not None:
            command.usage.add(usage)

    def _tell_room(self, word: CmdStdinRoom) -> None:
        if self._greeted:
            self._tell(word)

    def _tell(self, word: Word) -> None:
        with contextlib.suppress(NotConnected):
            self._say(word)
