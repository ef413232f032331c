"""What the processes of local VMs use, read from /proc in one pass. Blocks; called in threads.

psutil would make an object and read several files for each process of the host; with a thousand
agents that is a second. Here it is one line of `stat` for each process, and of those that are a
VM's also `io`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from vmcontroller.host.hypervisor.local.processes import MARK
from vmcontroller.host.hypervisor.local.store import AgentProcess
from vmcontroller.host.hypervisor.stats import Counters, Disk, Memory

DISK = "files"
"""The name of the one disk that local VMs are shown to have: whatever their processes read."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_KIB = os.sysconf("SC_PAGE_SIZE") // 1024
_NEEDLE = f"{MARK}=".encode()
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessLine:
    """What is read of a process in /proc/PID/stat."""

    began: int
    """In the kernel's ticks since its boot: tells a process from a later one of the same pid."""
    cpu_s: float
    """Its own and that of its children that have ended."""
    rss_kib: int


def parse_stat(line: bytes) -> ProcessLine:
    """Read one line; raises ValueError for what is none. Pure."""
    fields = line[line.rindex(b")") + 2 :].split()
    if len(fields) < 22:
        raise ValueError("not a line of /proc/PID/stat")
    ticks = sum(int(field) for field in fields[11:15])
    return ProcessLine(
        began=int(fields[19]),
        cpu_s=ticks / _TICKS_PER_S,
        rss_kib=int(fields[21]) * _PAGE_KIB,
    )


def parse_io(text: bytes) -> Mapping[str, int]:
    """Read /proc/PID/io. Pure."""
    pairs = (line.partition(b":") for line in text.splitlines())
    return {name.decode(): int(value) for name, _, value in pairs}


class ProcessStats:
    """Reads all VMs' processes; remembers which process is whose, as that never changes."""

    def __init__(self) -> None:
        self._owners: dict[tuple[int, int], str] = {}

    def read(self, agents: Mapping[str, AgentProcess]) -> Mapping[str, Counters]:
        """Return the counters of the VMs that have these agents, by UUID."""
        owned: dict[str, list[tuple[int, ProcessLine]]] = {uuid: [] for uuid in agents}
        owners = {}
        pids = {agent.pid: uuid for uuid, agent in agents.items()}
        at_s = time.monotonic()
        for pid, line in _lines():
            key = (pid, line.began)
            owner = pids.get(pid) or self._owners.get(key)
            if owner is None:
                owner = _owner(pid)
            if owner is not None:
                owners[key] = owner
                if owner in owned:
                    owned[owner].append((pid, line))
        self._owners = owners
        return {uuid: _counters(processes, agents[uuid], at_s) for uuid, processes in owned.items()}


def _lines() -> Iterator[tuple[int, ProcessLine]]:
    for name in os.listdir(_PROC):
        if name.isdecimal():
            try:
                yield int(name), parse_stat((_PROC / name / "stat").read_bytes())
            except (OSError, ValueError):
                continue  # gone meanwhile


def _owner(pid: int) -> str | None:
    """Return whose it is; '' for nobody's, None when that can't be told yet."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except ProcessLookupError:
        return None
    except OSError:
        return ""  # another user's
    if not environment:
        return None  # for a moment after its exec a process shows none
    for entry in environment.split(b"\0"):
        if entry.startswith(_NEEDLE):
            return entry[len(_NEEDLE) :].decode(errors="replace")
    return ""


def _counters(
    processes: list[tuple[int, ProcessLine]], agent: AgentProcess, at_s: float
) -> Counters:
    return Counters(
        at_s=at_s,
        run=f"{agent.pid} {agent.made_s}",
        cpu_s=sum(line.cpu_s for _, line in processes),
        memory=Memory(rss_kib=sum(line.rss_kib for _, line in processes)),
        disks=_disks([pid for pid, _ in processes]),
    )


def _disks(pids: list[int]) -> Mapping[str, Disk]:
    read_bytes = write_bytes = 0
    for pid in pids:
        try:
            counted = parse_io((_PROC / str(pid) / "io").read_bytes())
        except ProcessLookupError:
            continue
        except OSError:
            return {}  # a process that changed its user is not ours to read
        read_bytes += counted.get("read_bytes", 0)
        write_bytes += counted.get("write_bytes", 0)
    return {DISK: Disk(read_bytes=read_bytes, write_bytes=write_bytes)}
