"""How this guest fares: its processors, memory, root file system and processes, as numbers.

Some small files of /proc, read when the beacon is said: a tenth of a millisecond.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path


def parse_cpu(text: str) -> tuple[int, int]:
    """Return (ticks in which a processor was busy, all ticks) of /proc/stat, of all processors.

    What the hypervisor gave to others (`steal`) is not this guest's work. Raises ValueError.
    """
    name, *numbers = text.split("\n", 1)[0].split() or [""]
    # user nice system idle iowait irq softirq steal; what guests of this guest use is in user.
    ticks = [int(number) for number in numbers[:8]]
    if name != "cpu" or len(ticks) < 4:
        raise ValueError("not /proc/stat")
    return sum(ticks[:3]) + sum(ticks[5:7]), sum(ticks)


def parse_memory(text: str) -> Mapping[str, float]:
    """Return what /proc/meminfo says, in KiB; raises ValueError."""
    said = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name in {"MemTotal", "MemFree", "MemAvailable"}:
            said[name] = int(value.removesuffix("kB"))
    figures = {}
    for name, key in (("MemTotal", "total"), ("MemFree", "free"), ("MemAvailable", "available")):
        if name in said:
            figures[f"memory.{key}"] = float(said[name])
    if "MemTotal" in said and "MemAvailable" in said:
        figures["memory.used"] = float(max(0, said["MemTotal"] - said["MemAvailable"]))
    return figures


class Figures:
    """Reads the figures; the share of the processors is that since the reading before."""

    def __init__(self, proc: str = "/proc", root: str = "/") -> None:
        self._proc = Path(proc)
        self._root = root
        self._ticks = (0, 0)

    def read(self) -> Mapping[str, float]:
        """Return the figures by their names; what can't be read is left out."""
        figures: dict[str, float] = {}
        with contextlib.suppress(OSError, ValueError):
            figures["load1"] = float(self._text("loadavg").partition(" ")[0])
        with contextlib.suppress(OSError, ValueError):
            figures |= parse_memory(self._text("meminfo"))
        with contextlib.suppress(OSError, ValueError):
            figures |= self._share()
        with contextlib.suppress(OSError):
            figures |= self._space()
        with contextlib.suppress(OSError):
            figures["processes"] = sum(name.isdecimal() for name in os.listdir(self._proc))
        return figures

    def _text(self, name: str) -> str:
        return (self._proc / name).read_text(encoding="ascii", errors="replace")

    def _share(self) -> Mapping[str, float]:
        busy, all_ = parse_cpu(self._text("stat"))
        (busy_before, all_before), self._ticks = self._ticks, (busy, all_)
        if all_before == 0 or all_ <= all_before or busy < busy_before:
            return {}
        return {"cpu": round(min(100.0, 100 * (busy - busy_before) / (all_ - all_before)), 2)}

    def _space(self) -> Mapping[str, float]:
        """As `df` counts: what only root may still take is neither used nor free."""
        space = os.statvfs(self._root)
        kib = space.f_frsize / 1024
        return {
            "disk.total": space.f_blocks * kib,
            "disk.used": (space.f_blocks - space.f_bfree) * kib,
            "disk.free": space.f_bavail * kib,
        }
