"""Whom commands leave behind: this process adopts them, knows whose they were, and buries them.

Linux gives a process whose parent has ended to the nearest ancestor that asked for it (prctl(2),
PR_SET_CHILD_SUBREAPER). So all that a command starts stays below this process, whatever it calls.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vmcontroller.guest.commands import census
from vmcontroller.guest.commands.processes import Stat, same

LOOK_EVERY_S = 1.0
STRIKES = 20
"""Each takes about a millisecond for ten orphans."""

_PR_SET_CHILD_SUBREAPER = 36
_log = Logger()


def adopt_orphans(yes: bool = True) -> bool:
    """Become the parent of every orphan below this process, or no longer.

    Returns False where that can't be had.
    """
    try:
        import ctypes  # noqa: PLC0415 - there are Pythons without

        return bool(ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, int(yes), 0, 0, 0) == 0)
    except (ImportError, OSError, AttributeError) as error:
        _log.warn("orphans of commands are nobody's: {error}", error=error)
        return False


@dataclass(frozen=True, slots=True)
class _Orphan:
    stat: Stat
    mark: str


class Orphans:
    """Those of all commands. The status of a command itself is never taken here."""

    def __init__(
        self,
        *,
        leaders: Mapping[int, str],
        on_end: Callable[[str, resource.struct_rusage], None],
    ) -> None:
        """`leaders` are the commands that have not been waited for, by pid, and their marks;
        `on_end` is told the mark (empty: none) and the use of each orphan that was buried.
        """
        self._leaders = leaders
        self._on_end = on_end
        self._known: dict[int, _Orphan] = {}

    def look(self) -> bool:
        """Take note of new ones and bury the dead; tell whether this process has children."""
        try:
            os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            self._known.clear()
            return False
        for pid in census.own_children():
            if pid not in self._leaders:
                self._notice(pid)
                self._bury(pid)
        return True

    def of(self, mark: str, stats: Mapping[int, Stat]) -> list[int]:
        """Return those of one command that are among `stats`."""
        return [
            pid
            for pid, orphan in self._known.items()
            if orphan.mark == mark and same(stats.get(pid), orphan.stat)
        ]

    def strike(self, mark: str) -> None:
        """Kill those of one command, and quickly those that come to be meanwhile.

        Who flees by forking lives for less than it takes to look through all of /proc, but is a
        child of this process: so its number can't be another's either.
        """
        for _ in range(STRIKES):
            found = False
            for pid in census.own_children():
                if pid in self._leaders:
                    continue
                self._notice(pid)
                orphan = self._known.get(pid)
                if orphan is not None and orphan.mark == mark:
                    found = True
                    # At once: the next one may be gone by the time that all are known.
                    with contextlib.suppress(ProcessLookupError, PermissionError):
                        os.kill(pid, signal.SIGKILL)
                self._bury(pid)
            if not found:
                return

    def _notice(self, pid: int) -> None:
        stat = census.stat_of(pid)
        if stat is None or (pid in self._known and same(stat, self._known[pid].stat)):
            return
        # A command that was run by an agent that a command of ours has started is ours as well.
        mark = self._leaders.get(stat.session) or census.mark_of(pid)
        self._known[pid] = _Orphan(stat=stat, mark=mark)

    def _bury(self, pid: int) -> None:
        try:
            ended, _, usage = os.wait4(pid, os.WNOHANG)
        except ChildProcessError:
            ended, usage = 0, None
        if ended and usage is not None:
            orphan = self._known.pop(pid, None)
            self._on_end(orphan.mark if orphan is not None else "", usage)


class Burials:
    """Looks after orphans once a second while there is anybody who may leave some."""

    def __init__(self, clock: IReactorTime, orphans: Orphans) -> None:
        self._clock = clock
        self._orphans = orphans
        self._timer: IDelayedCall | None = None

    def look(self) -> None:
        """Look now; and go on as long as there are children."""
        if self._orphans.look():
            self.watch()
        else:
            self.stop()

    def watch(self) -> None:
        """Look again in a second."""
        if self._timer is None:
            self._timer = self._clock.callLater(LOOK_EVERY_S, self._again)

    def stop(self) -> None:
        """Look no more, until the next command."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _again(self) -> None:
        self._timer = None
        self.look()
