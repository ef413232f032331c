"""What /proc says of processes, and who belongs to whom. No I/O.

The formats are those of proc(5). Whatever a process calls itself, it can't change what is read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MARKER = "VMCONTROLLER_CMD_ID"
"""A variable in the environment of a command and, unless they drop it, of all it starts."""

_ENDED = frozenset("ZXx")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat:
    """A process by /proc/PID/stat; times in ticks of the clock, `resident_pages` in pages."""

    pid: int
    state: str
    parent: int
    session: int
    user_ticks: int
    """Of itself and of the children it has waited for, as `system_ticks`."""
    system_ticks: int
    threads: int
    started_ticks: int
    """After the boot: together with `pid` it names one process for ever."""
    resident_pages: int

    @property
    def ended(self) -> bool:
        """True for what only waits to be reaped."""
        return self.state in _ENDED


def parse_stat(text: bytes) -> Stat:
    """Read /proc/PID/stat; ValueError when it is something else.

    The name in parentheses may hold anything, parentheses and line feeds too.
    """
    head, _, _ = text.partition(b" (")
    fields = text[text.rindex(b")") + 1 :].split()
    if len(fields) < 22:
        raise ValueError("fields are missing")
    number = [int(field) for field in fields[1:22]]
    return Stat(
        pid=int(head),
        state=fields[0].decode("ascii"),
        parent=number[0],
        session=number[2],
        user_ticks=number[10] + number[12],
        system_ticks=number[11] + number[13],
        threads=number[16],
        started_ticks=number[18],
        resident_pages=number[20],
    )


def parse_figures(text: bytes, *names: bytes) -> tuple[int, ...]:
    """Return the numbers behind `name:` in /proc/PID/io or /proc/PID/status; 0 for absent ones."""
    found = dict.fromkeys(names, 0)
    for line in text.splitlines():
        name, _, value = line.partition(b":")
        words = value.split()
        if name in found and words and words[0].isdigit():
            found[name] = int(words[0])
    return tuple(found[name] for name in names)


def marker_of(environ: bytes) -> str:
    """Return the mark in /proc/PID/environ; empty where there is none."""
    wanted = MARKER.encode() + b"="
    for entry in environ.split(b"\0"):
        if entry.startswith(wanted):
            return entry[len(wanted) :].decode("utf-8", "replace")
    return ""


def descendants(stats: Mapping[int, Stat], roots: Iterable[int]) -> set[int]:
    """Return the roots that are there, and all that they and their children have started."""
    children: dict[int, list[int]] = {}
    for stat in stats.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if pid in stats]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found


def same(one: Stat | None, other: Stat) -> bool:
    """Tell whether it is still the same process, and not another with its number."""
    return one is not None and one.started_ticks == other.started_ticks
