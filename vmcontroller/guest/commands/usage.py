"""What a command and all that it has started use, and have used."""

from __future__ import annotations

import os
import resource
from collections.abc import Collection, Mapping

from vmcontroller.common.process import RESOURCES
from vmcontroller.common.words.running import USAGE
from vmcontroller.guest.commands import census
from vmcontroller.guest.commands.processes import Stat, parse_figures

_BLOCK_BYTES = 512
"""What getrusage counts blocks in, whatever the disk's are."""

_LARGE_KIB = 64 * 1024

NOTHING: Mapping[str, float] = dict.fromkeys(USAGE, 0)


class Usage:
    """Of one command: what is measured now, and what of its orphans is gone already.

    Times and bytes of a process hold those of the children it has waited for; so each is counted
    once as long as those of whom nobody waited for, but this process, are added.
    """

    def __init__(self) -> None:
        self._gone = dict.fromkeys(RESOURCES, 0.0)
        self._most: dict[str, float] = dict(NOTHING)

    def add(self, usage: resource.struct_rusage) -> None:
        """Add an orphan that has ended."""
        for name in RESOURCES:
            value = getattr(usage, name)
            before = self._gone[name]
            self._gone[name] = max(before, value) if name == "ru_maxrss" else before + value

    def total(self, leader: Mapping[str, float]) -> dict[str, float]:
        """Return the figures of wait4 for the whole: the leader's, and those of its orphans."""
        gone = self._gone
        return {
            name: max(value, gone[name]) if name == "ru_maxrss" else value + gone[name]
            for name, value in leader.items()
        }

    def measure(self, members: Collection[Stat]) -> dict[str, float]:
        """Return the figures of USAGE; what can only grow never shrinks."""
        tick_s, page_kib = 1 / os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE") / 1024
        living = [stat for stat in members if not stat.ended]
        now = dict(NOTHING)
        now["user_s"] = sum(stat.user_ticks for stat in members) * tick_s + self._gone["ru_utime"]
        now["system_s"] = (
            sum(stat.system_ticks for stat in members) * tick_s + self._gone["ru_stime"]
        )
        now["memory_kib"] = sum(_resident_kib(stat, page_kib) for stat in living)
        now["read_bytes"] = self._gone["ru_inblock"] * _BLOCK_BYTES
        now["written_bytes"] = self._gone["ru_oublock"] * _BLOCK_BYTES
        peak_kib = now["memory_kib"]
        for stat in living:
            (own_peak_kib,) = parse_figures(census.read(stat.pid, "status"), b"VmHWM")
            peak_kib = max(peak_kib, own_peak_kib)
        for stat in members:
            figures = parse_figures(census.read(stat.pid, "io"), b"read_bytes", b"write_bytes")
            now["read_bytes"] += figures[0]
            now["written_bytes"] += figures[1]
        now["memory_peak_kib"] = peak_kib
        now["processes"] = len(living)
        now["threads"] = sum(stat.threads for stat in living)
        for name in _GROWING:
            now[name] = self._most[name] = max(now[name], self._most[name])
        return {name: round(value, 6) for name, value in now.items()}


def _resident_kib(stat: Stat, page_kib: float) -> float:
    """Return what a process has in memory.

    Linux before 6.2 counts in strides of 64 pages a thread, which is all that a small process has;
    the exact figure costs a walk through its memory, so a large one is believed.
    """
    counted_kib = stat.resident_pages * page_kib
    if counted_kib >= _LARGE_KIB:
        return counted_kib
    (exact_kib,) = parse_figures(census.read(stat.pid, "smaps_rollup"), b"Rss")
    return exact_kib or counted_kib


_GROWING = ("user_s", "system_s", "memory_peak_kib", "read_bytes", "written_bytes")
