"""Reading /proc: who is there, and what they use. What has gone meanwhile is left out."""

from __future__ import annotations

import os
import signal
from collections.abc import Collection, Iterable

from vmcontroller.guest.commands.processes import Stat, marker_of, parse_stat, same


def read(pid: int, name: str) -> bytes:
    """Return a file of /proc/PID; empty where it is gone or not for us."""
    try:
        fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return _whole(fd)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _whole(fd: int) -> bytes:
    pieces = []
    while piece := os.read(fd, 65536):
        pieces.append(piece)
    return b"".join(pieces)


def stat_of(pid: int) -> Stat | None:
    """Return what /proc/PID/stat says; None when there is no such process."""
    try:
        return parse_stat(read(pid, "stat"))
    except ValueError:
        return None


def everybody() -> dict[int, Stat]:
    """Return all processes of this guest, as far as this process may see them."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (stat := stat_of(int(name))) is not None:
            found[stat.pid] = stat
    return found


def own_children() -> list[int]:
    """Return the children of this process, the dead ones too."""
    own = os.getpid()
    tasks = f"/proc/{own}/task"
    try:
        threads = os.listdir(tasks)
        if not os.path.exists(f"{tasks}/{own}/children"):  # a kernel without PROC_CHILDREN
            return [stat.pid for stat in everybody().values() if stat.parent == own]
    except OSError:
        return []
    return [int(pid) for thread in threads for pid in read(own, f"task/{thread}/children").split()]


def mark_of(pid: int) -> str:
    """Return which command has started a process, by its environment; empty: none, or hidden."""
    return marker_of(read(pid, "environ"))


def marked(stats: Iterable[Stat], marks: Collection[str]) -> dict[str, list[Stat]]:
    """Return the processes that carry one of these marks, by mark."""
    found: dict[str, list[Stat]] = {}
    for stat in stats:
        mark = mark_of(stat.pid)
        if mark in marks:
            found.setdefault(mark, []).append(stat)
    return found


def send(stat: Stat, signum: signal.Signals) -> bool:
    """Send a signal to exactly this process, never to one that got its number; tell if it was."""
    try:
        fd = os.pidfd_open(stat.pid)
    except OSError:
        return False
    try:
        # Compared while the pidfd holds it: from here on the number can't become another's.
        if not same(stat_of(stat.pid), stat):
            return False
        signal.pidfd_send_signal(fd, signum)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
