"""From two readings of a machine's counters to its figures. Pure.

A figure that can't be had is left out: there is no number that stands for "not known". Counters
that began again (the machine was restarted) or went back give no rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from vmcontroller.host.hypervisor.stats import Counters, Memory

GUEST: Final = "guest"
"""The object of the figures that an agent says of its guest."""

KIB: Final = "KiB"
BYTES: Final = "B"
PER_S: Final = "B/s"
PERCENT: Final = "%"

LARGEST_WORD: Final = float(2**53)
"""Beyond it a double is not exact; a guest that claims more is not believed."""

APART_S: Final = 0.1
"""Two readings that are closer together say nothing of a rate."""

GUEST_FIGURES: Final[Mapping[str, tuple[str, int]]] = {
    "cpu": (PERCENT, 100),
    "load1": ("", 100),
    "memory.total": (KIB, 1),
    "memory.used": (KIB, 1),
    "memory.free": (KIB, 1),
    "memory.available": (KIB, 1),
    "disk.total": (KIB, 1),
    "disk.used": (KIB, 1),
    "disk.free": (KIB, 1),
    "processes": ("", 1),
}
"""What is taken from an agent, with its unit and scale; what else it says is for later hosts."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One number: what it is of is `value` divided by `scale`."""

    name: str
    unit: str
    scale: int
    value: float


def host_figures(before: Counters | None, now: Counters) -> Iterator[Figure]:
    """Yield what a reading says, and what it says together with the one `before` it."""
    yield from _memory(now.memory)
    for name, disk in sorted(now.disks.items()):
        yield Figure(f"disk.{name}.read_bytes", BYTES, 1, disk.read_bytes)
        yield Figure(f"disk.{name}.write_bytes", BYTES, 1, disk.write_bytes)
        if disk.read_requests is not None and disk.write_requests is not None:
            yield Figure(f"disk.{name}.read_requests", "", 1, disk.read_requests)
            yield Figure(f"disk.{name}.write_requests", "", 1, disk.write_requests)
    for name, nic in sorted(now.nics.items()):
        yield Figure(f"net.{name}.rx_bytes", BYTES, 1, nic.rx_bytes)
        yield Figure(f"net.{name}.tx_bytes", BYTES, 1, nic.tx_bytes)
    if before is not None and before.run == now.run and now.at_s - before.at_s >= APART_S:
        yield from _rates(before, now)


def _memory(memory: Memory) -> Iterator[Figure]:
    total, available = memory.total_kib, memory.available_kib
    used = None if total is None or available is None else max(0, total - available)
    for name, kib in (
        ("memory.total", total),
        ("memory.used", used),
        ("memory.available", available),
        ("memory.rss", memory.rss_kib),
        ("balloon.current", memory.balloon_kib),
        ("balloon.maximum", memory.maximum_kib),
    ):
        if kib is not None:
            yield Figure(name, KIB, 1, kib)


def _rates(before: Counters, now: Counters) -> Iterator[Figure]:
    elapsed_s = now.at_s - before.at_s
    for name, earlier, later in _spent(before, now):
        if earlier is not None and later is not None and later >= earlier:
            share = (later - earlier) / elapsed_s
            yield Figure(name, PERCENT, 100, round(100 * 100 * share))
    for name, went, goes in _moved(before, now):
        if goes >= went:
            yield Figure(name, PER_S, 1, round((goes - went) / elapsed_s))


def _spent(before: Counters, now: Counters) -> Iterator[tuple[str, float | None, float | None]]:
    yield "cpu.time", before.cpu_s, now.cpu_s
    for number, used_s in sorted(now.vcpus_s.items()):
        yield f"vcpu.{number}.time", before.vcpus_s.get(number), used_s


def _moved(before: Counters, now: Counters) -> Iterator[tuple[str, int, int]]:
    for name, disk in sorted(now.disks.items()):
        was = before.disks.get(name)
        if was is not None:
            yield f"disk.{name}.read_rate", was.read_bytes, disk.read_bytes
            yield f"disk.{name}.write_rate", was.write_bytes, disk.write_bytes
    for name, nic in sorted(now.nics.items()):
        had = before.nics.get(name)
        if had is not None:
            yield f"net.{name}.rx_rate", had.rx_bytes, nic.rx_bytes
            yield f"net.{name}.tx_rate", had.tx_bytes, nic.tx_bytes


def guest_figures(said: Mapping[str, float]) -> Iterator[Figure]:
    """Yield what an agent says that is known and can be true of a guest."""
    for key, (unit, scale) in GUEST_FIGURES.items():
        value = said.get(key)
        if value is not None and math.isfinite(value) and 0 <= value <= LARGEST_WORD / scale:
            yield Figure(f"{GUEST}.{key}", unit, scale, round(value * scale))
