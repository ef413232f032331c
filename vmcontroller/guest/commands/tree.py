"""A command and all that it has started, wherever that has gone: who it is, and signals to it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IReactorTime

from vmcontroller.guest.commands import census
from vmcontroller.guest.commands.orphans import Orphans
from vmcontroller.guest.commands.processes import Stat, descendants

KILL_AGAIN_S = 0.02
KILL_FOR_S = 10.0
"""A killed process is gone at once, unless it is in the kernel; who starts others is quick."""

Members = Callable[[], Mapping[int, Stat]]


class Tree:
    """Its leader is the command; who was orphaned is found by the session, or the mark."""

    def __init__(self, *, mark: str, leader: int, orphans: Orphans, adopts: bool) -> None:
        """`adopts` says whether orphans come to this process; else the mark alone finds them."""
        self._mark = mark
        self._leader = leader
        self._orphans = orphans
        self._adopts = adopts
        self.leader_waited_for = False

    def members(self) -> dict[int, Stat]:
        """Return those that live, and the leader until it has been waited for."""
        self._orphans.look()
        stats = census.everybody()
        roots = self._orphans.of(self._mark, stats)
        if not self.leader_waited_for:
            roots.append(self._leader)
        if not self._adopts:
            roots += self._strays(stats)
        found = {pid: stats[pid] for pid in descendants(stats, roots)}
        found.pop(os.getpid(), None)
        return found

    def _strays(self, stats: Mapping[int, Stat]) -> list[int]:
        found = census.marked(stats.values(), {self._mark}).get(self._mark, [])
        strays = [stat.pid for stat in found]
        if not self.leader_waited_for:
            strays += [stat.pid for stat in stats.values() if stat.session == self._leader]
        return strays

    def signal(self, signum: signal.Signals) -> int:
        """Send a signal to each member that lives; return how many there were.

        The elder first: a shell is to hear of it before it sees what it waits for end.
        """
        members = sorted(
            self.members().values(),
            key=lambda stat: (stat.pid != self._leader, stat.started_ticks, stat.pid),
        )
        return sum(census.send(stat, signum) for stat in members if not stat.ended)

    def kill(self, clock: IReactorTime) -> int:
        """Kill all of them, and those that they start meanwhile; return how many at once."""
        living = sum(not stat.ended for stat in self.members().values())
        if not self.leader_waited_for:
            # Its group goes in one stroke, so that it can't grow faster than it is found.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._leader, signal.SIGKILL)
        kill_all(clock, self._struck)
        return living

    def _struck(self) -> Mapping[int, Stat]:
        self._orphans.strike(self._mark)
        return self.members()


def kill_all(clock: IReactorTime, members: Members, until_s: float | None = None) -> int:
    """Kill whoever is a member, again and again until there is none; return how many now.

    It ends after KILL_FOR_S: who sleeps in the kernel that long can't be killed.
    """
    until_s = clock.seconds() + KILL_FOR_S if until_s is None else until_s
    living = [stat for stat in members().values() if not stat.ended]
    count = sum(census.send(stat, signal.SIGKILL) for stat in living)
    if living and clock.seconds() < until_s:
        clock.callLater(KILL_AGAIN_S, kill_all, clock, members, until_s)
    return count
