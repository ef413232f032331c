"""The commands of this guest: which run, which have ended, and what of them the host has."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from vmcontroller.common.errors import NotConnected
from vmcontroller.common.model import CommandResult, CommandSpec
from vmcontroller.common.process import RESOURCES
from vmcontroller.common.words import Word
from vmcontroller.common.words.commands import STREAMS, CmdResult, CmdRun, CmdStarted, CmdStored
from vmcontroller.common.words.running import CmdAsk, CmdRunAll, CmdSignal, CmdStdin
from vmcontroller.guest.commands import census, taking_up
from vmcontroller.guest.commands.command import DEFAULT_PATIENCE, Patience
from vmcontroller.guest.commands.courier import Courier, Parcel
from vmcontroller.guest.commands.journal import Journal
from vmcontroller.guest.commands.launching import Refused
from vmcontroller.guest.commands.live import Live
from vmcontroller.guest.commands.spool import Room, StreamSpool, folder_name, open_folder, sweep
from vmcontroller.guest.commands.streams import ICommandReactor
from vmcontroller.guest.commands.tidying import InThread, Tidying, at_once_here

AT_ONCE = 256
"""Commands that run at the same time: three descriptors each, of the usual 1024."""

HELD_AT_MOST = 4096
"""Commands that run or wait for CMD_STORED: all their ids go into one HELLO."""

REMEMBERED = 10_000
"""Ids of which a second CMD_RUN is known for the same command."""

SPOOL_LIMIT_BYTES = 1 << 30


class Runner:
    """Runs commands once each, and keeps every one until the host has stored its result."""

    def __init__(
        self,
        *,
        reactor: ICommandReactor,
        say: Callable[[Word], None],
        writable: Callable[[], Awaitable[None]],
        folder: Path,
        boot_id: str = "",
        env: Mapping[str, str] = os.environ,
        now: Callable[[], float] = time.monotonic,
        at_once: int = AT_ONCE,
        remembered: int = REMEMBERED,
        spool_limit_bytes: int = SPOOL_LIMIT_BYTES,
        in_thread: InThread = at_once_here,
        patience: Patience = DEFAULT_PATIENCE,
    ) -> None:
        """Make a runner whose output waits for the host in `folder`; `start` it before use.

        `say` raises NotConnected without a connection; `writable` returns when the transport
        takes more. `env` is the environment that commands inherit, `now` a monotonic clock;
        `in_thread` runs what waits for the disk.
        """
        self._reactor = reactor
        self._say = say
        self._folder = folder
        self._boot_id = boot_id
        self._at_once = at_once
        self._remembered = remembered
        self._room = Room(spool_limit_bytes)
        self._journal = Journal(folder / "journal", boot_id=boot_id)
        self._tidying = Tidying(reactor, in_thread=in_thread, journal=self._journal)
        self._courier = Courier(say=say, writable=writable)
        self._parcels: dict[str, Parcel] = {}
        self._live = Live(reactor=reactor, say=say, env=env, now=now, patience=patience)
        self._pids: dict[str, int] = {}

    def start(self) -> None:
        """Take up what an earlier run has left. Raises OSError where the folder can't be had."""
        open_folder(self._folder)
        boot_id, entries = self._journal.open()
        sweep(self._folder, {"journal", *(folder_name(entry.cmd_id) for entry in entries)})
        self._live.begin()
        rebooted = boot_id != self._boot_id
        if not rebooted:
            taking_up.kill_leftovers(self._reactor, entries)
        for entry, parcel in taking_up.parcels_of(
            entries, self._folder, self._room, rebooted=rebooted
        ):
            self._parcels[entry.cmd_id] = parcel
            self._pids[entry.cmd_id] = entry.pid
            if entry.result is None and parcel.result is not None:
                self._journal.ended(parcel.result)
            self._courier.offer(parcel)

    # What the host says.

    def heard_cmd_run(self, word: CmdRun) -> None:
        """Run a command, unless it is one that has been run."""
        self._asked_to_run(word.cmd_id, word.spec)

    def heard_cmd_run_all(self, word: CmdRunAll, own_id: str) -> None:
        """Run it under the id that this guest has in it; without one it is for others."""
        cmd_id = word.cmd_ids.get(own_id)
        if cmd_id is not None:
            self._asked_to_run(cmd_id, word.spec)

    def heard_cmd_stored(self, word: CmdStored) -> None:
        """Forget a command that has ended: the host has all of it."""
        parcel = self._parcels.get(word.cmd_id)
        if parcel is None or parcel.result is None:
            return
        del self._parcels[word.cmd_id]
        self._courier.forget(word.cmd_id)
        folder = self._place(folder_name(word.cmd_id)) if parcel.size_bytes else ""
        parcel.release()
        self._tidying.forget(word.cmd_id, folder)

    def heard_cmd_stdin(self, word: CmdStdin) -> None:
        """Hand on bytes to a command."""
        self._live.heard_cmd_stdin(word)

    def heard_cmd_signal(self, word: CmdSignal) -> None:
        """Send a signal to a command and all that it has started."""
        self._live.heard_cmd_signal(word)

    def heard_cmd_ask(self, word: CmdAsk) -> None:
        """Say what a command uses."""
        self._live.heard_cmd_ask(word)

    # What happens to the connection.

    def held(self) -> dict[str, tuple[int, int]]:
        """Return the commands it runs or whose result it keeps, with the bytes there are."""
        return {
            cmd_id: (parcel.spools["stdout"].size_bytes, parcel.spools["stderr"].size_bytes)
            for cmd_id, parcel in self._parcels.items()
        }

    def connection_lost(self) -> None:
        """Say nothing more until the host has told what it has."""
        self._live.connection_lost()
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
        self._live.resume()
        self._courier.open()

    async def stop(self) -> None:
        """End what runs: SIGTERM, and SIGKILL when it does not end soon."""
        await self._live.stop()
        self._tidying.stop()
        self._journal.close()

    # A command's life.

    def _asked_to_run(self, cmd_id: str, spec: CommandSpec) -> None:
        if cmd_id in self._pids:
            self._tell_again(cmd_id)
        elif len(self._live) >= self._at_once or len(self._parcels) >= HELD_AT_MOST:
            self._turn_away(cmd_id)
        else:
            self._run(cmd_id, spec)

    def _run(self, cmd_id: str, spec: CommandSpec) -> None:
        self._remember(cmd_id, 0)
        self._journal.begins(cmd_id)
        mark = folder_name(cmd_id)
        spools = {
            name: StreamSpool(self._place(mark), name, spec.output_limit_bytes, self._room)
            for name in STREAMS
        }
        parcel = self._parcels[cmd_id] = Parcel(cmd_id=cmd_id, spools=spools)
        try:
            pid = self._live.start(
                cmd_id,
                spec,
                mark,
                spools,
                on_output=lambda: self._courier.offer(parcel),
                on_slow=lambda pid: self._is_slow(cmd_id, pid),
                on_end=lambda result: self._ended(parcel, result),
            )
        except Refused as error:
            self._ended(parcel, never_ran(cmd_id, error))
        else:
            self._remember(cmd_id, pid)

    def _place(self, mark: str) -> str:
        return f"{self._folder}/{mark}"

    def _is_slow(self, cmd_id: str, pid: int) -> None:
        stat = census.stat_of(pid)
        self._journal.runs(cmd_id, pid, stat.started_ticks if stat is not None else 0)
        self._tell(CmdStarted(cmd_id=cmd_id, pid=pid))

    def _ended(self, parcel: Parcel, result: CommandResult) -> None:
        parcel.result = result
        parcel.said = self._journal.ended(result)
        self._courier.offer(parcel)

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
