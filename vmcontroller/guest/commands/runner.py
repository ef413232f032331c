"""The commands of this guest: which run, which have ended, and what of them the host has."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vmcontroller.common.errors import NotConnected
from vmcontroller.common.model import CommandResult, CommandSpec
from vmcontroller.common.process import RESOURCES
from vmcontroller.common.words import Word
from vmcontroller.common.words.commands import STREAMS, CmdResult, CmdRun, CmdStarted, CmdStored
from vmcontroller.guest.commands.command import DEFAULT_PATIENCE, Command, Patience
from vmcontroller.guest.commands.courier import Courier, Parcel
from vmcontroller.guest.commands.launching import Refused
from vmcontroller.guest.commands.spool import StreamSpool, folder_name
from vmcontroller.guest.commands.streams import ICommandReactor

AT_ONCE = 256
"""Commands that run at the same time: three descriptors each, of the usual 1024."""

HELD_AT_MOST = 4096
"""Commands that run or wait for CMD_STORED: all their ids go into one HELLO."""

REMEMBERED = 10_000
"""Ids of which a second CMD_RUN is known for the same command."""


class Runner:
    """Runs commands once each, and keeps every one until the host has stored its result."""

    _log = Logger()

    def __init__(
        self,
        *,
        reactor: ICommandReactor,
        say: Callable[[Word], None],
        writable: Callable[[], Awaitable[None]],
        folder: Path,
        env: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.monotonic,
        at_once: int = AT_ONCE,
        remembered: int = REMEMBERED,
        patience: Patience = DEFAULT_PATIENCE,
    ) -> None:
        """Make a runner whose output waits for the host in `folder`, which is empty.

        `say` raises NotConnected without a connection; `writable` returns when the transport
        takes more. `env` is the environment that commands inherit, `now` a monotonic clock.
        """
        self._reactor = reactor
        self._say = say
        self._folder = folder
        self._env = env
        self._now = now
        self._at_once = at_once
        self._remembered = remembered
        self._patience = patience
        self._courier = Courier(say=say, writable=writable)
        self._parcels: dict[str, Parcel] = {}
        self._running: dict[str, Command] = {}
        self._pids: dict[str, int] = {}
        self._none_runs: Deferred[None] | None = None

    def heard_cmd_run(self, word: CmdRun) -> None:
        """Run a command, unless it is one that has been run."""
        cmd_id = word.cmd_id
        if cmd_id in self._pids:
            self._tell_again(cmd_id)
        elif len(self._running) >= self._at_once or len(self._parcels) >= HELD_AT_MOST:
            self._turn_away(cmd_id)
        else:
            self._run(cmd_id, word.spec)

    def heard_cmd_stored(self, word: CmdStored) -> None:
        """Forget a command that has ended: the host has all of it."""
        parcel = self._parcels.get(word.cmd_id)
        if parcel is None or parcel.result is None:
            return
        del self._parcels[word.cmd_id]
        self._courier.forget(word.cmd_id)
        for spool in parcel.spools.values():
            try:
                spool.remove()
            except OSError as error:
                self._log.warn("Output of {id} stays: {error}", id=word.cmd_id, error=error)

    def held(self) -> dict[str, tuple[int, int]]:
        """Return the commands it runs or whose result it keeps, with the bytes there are."""
        return {
            cmd_id: (parcel.spools["stdout"].size_bytes, parcel.spools["stderr"].size_bytes)
            for cmd_id, parcel in self._parcels.items()
        }

    def connection_lost(self) -> None:
        """Say nothing more until the host has told what it has."""
        self._courier.shut()
        for parcel in self._parcels.values():
            parcel.wanted = False

    def resume(self, known: Mapping[str, tuple[int, int]]) -> None:
        """Go on from what the host has: bytes of stdout and stderr of those it waits for.

        The result of every command that has ended is said again, listed or not. A command that
        came after the connection is one it waits for, even if its answer was made before.
        """
        for cmd_id, parcel in self._parcels.items():
            fresh = (parcel.sent["stdout"], parcel.sent["stderr"]) if parcel.wanted else None
            parcel.again(known.get(cmd_id, fresh))
            self._courier.offer(parcel)
        self._courier.open()

    async def stop(self) -> None:
        """End what runs: SIGTERM, and SIGKILL when it does not end soon."""
        for command in tuple(self._running.values()):
            command.terminate()
        if self._running:
            self._none_runs = Deferred[None]()
            grace = self._reactor.callLater(
                self._patience.stop_grace_s, self._none_runs.callback, None
            )
            await self._none_runs
            if grace.active():
                grace.cancel()
        for command in tuple(self._running.values()):
            command.kill()

    def _run(self, cmd_id: str, spec: CommandSpec) -> None:
        self._remember(cmd_id, 0)
        folder = self._folder / folder_name(cmd_id)
        spools = {name: StreamSpool(folder / name, spec.output_limit_bytes) for name in STREAMS}
        parcel = self._parcels[cmd_id] = Parcel(cmd_id=cmd_id, spools=spools)
        command = Command(
            reactor=self._reactor,
            cmd_id=cmd_id,
            spec=spec,
            spools=spools,
            on_output=lambda: self._courier.offer(parcel),
            on_end=lambda result: self._ended(parcel, result),
            now=self._now,
            patience=self._patience,
        )
        try:
            pid = command.start(self._env)
        except Refused as error:
            self._ended(parcel, never_ran(cmd_id, error))
            return
        self._running[cmd_id] = command
        self._remember(cmd_id, pid)
        self._tell(CmdStarted(cmd_id=cmd_id, pid=pid))
        self._log.debug("{id} runs {cmd!r} as {pid}", id=cmd_id, cmd=spec.cmd, pid=pid)

    def _ended(self, parcel: Parcel, result: CommandResult) -> None:
        self._running.pop(parcel.cmd_id, None)
        parcel.result = result
        self._courier.offer(parcel)
        self._log.debug("{result}", result=result)
        if self._none_runs is not None and not self._running and not self._none_runs.called:
            self._none_runs.callback(None)

    def _tell_again(self, cmd_id: str) -> None:
        self._tell(CmdStarted(cmd_id=cmd_id, pid=self._pids[cmd_id]))
        parcel = self._parcels.get(cmd_id)
        if parcel is not None and parcel.result is not None:
            parcel.result_said = False
            self._courier.offer(parcel)

    def _turn_away(self, cmd_id: str) -> None:
        """Say why not; nothing of it is held, so it may be asked for again."""
        detail = f"at most {self._at_once} run at once, {HELD_AT_MOST} are held"
        refusal = Refused(126, "TOO_MANY_COMMANDS", detail)
        self._tell(CmdResult(result=never_ran(cmd_id, refusal)))

    def _remember(self, cmd_id: str, pid: int) -> None:
        self._pids[cmd_id] = pid
        if len(self._pids) > max(self._remembered, len(self._parcels)):
            oldest = next(key for key in self._pids if key not in self._parcels)
            del self._pids[oldest]

    def _tell(self, word: Word) -> None:
        with contextlib.suppress(NotConnected):
            self._say(word)


def never_ran(cmd_id: str, error: Refused) -> CommandResult:
    """Return the result of a command that did not start."""
    return CommandResult(
        cmd_id=cmd_id,
        finished=True,
        exit_code_or_signal=error.exit_code,
        resources=dict.fromkeys(RESOURCES, 0),
        stdout_bytes=0,
        stderr_bytes=0,
        error=str(error),
    )
