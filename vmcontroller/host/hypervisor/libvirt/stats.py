"""libvirt's bulk statistics: one read for all machines, and what they mean."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final

import libvirt

from vmcontroller.host.hypervisor.stats import Counters, Disk, Memory, Nic

GROUPS: Final = (
    libvirt.VIR_DOMAIN_STATS_CPU_TOTAL
    | libvirt.VIR_DOMAIN_STATS_BALLOON
    | libvirt.VIR_DOMAIN_STATS_VCPU
    | libvirt.VIR_DOMAIN_STATS_INTERFACE
    | libvirt.VIR_DOMAIN_STATS_BLOCK
)
FLAGS: Final = (
    libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_ACTIVE
    # Of a machine that is busy, or whose QEMU is stuck, what can be had without it.
    | libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
)
BALLOON_PERIOD_S: Final = 10
FRESH_S: Final = 60
"""What the guest's balloon driver said before that is old: a paused guest says nothing."""
NS: Final = 10**9


class BulkStats:
    """Reads all machines' counters; remembers whose balloon it has asked to be counted."""

    def __init__(self) -> None:
        self._asked: dict[str, int] = {}

    def read(self, connection: Any) -> Mapping[str, Counters]:
        """Read once; blocks, for libvirt's thread."""
        records = connection.getAllDomainStats(GROUPS, FLAGS)
        at_s, wall_s = time.monotonic(), time.time()
        counters = {}
        asked = {}
        for domain, record in records:
            uuid, run = domain.UUIDString(), domain.ID()
            counters[uuid] = counters_of(record, run=str(run), at_s=at_s, wall_s=wall_s)
            if _is_balloon_silent(record):
                asked[uuid] = run
                if self._asked.get(uuid) != run:
                    _count_balloon(domain)
            elif uuid in self._asked:
                asked[uuid] = self._asked[uuid]
        self._asked = asked
        return counters


def _is_balloon_silent(record: Mapping[str, Any]) -> bool:
    """Whether libvirt could ask the balloon (or the machine is stuck) and it has said nothing."""
    return "balloon.rss" in record and not record.get("balloon.last-update")


def _count_balloon(domain: Any) -> None:
    """Let the balloon be asked from now on; there may be none, and that is no matter."""
    with contextlib.suppress(libvirt.libvirtError):
        domain.setMemoryStatsPeriod(BALLOON_PERIOD_S, libvirt.VIR_DOMAIN_AFFECT_LIVE)


def counters_of(record: Mapping[str, Any], *, run: str, at_s: float, wall_s: float) -> Counters:
    """Make a machine's counters of its record. Pure; what is missing is left out.

    Without cgroups libvirt counts no time of the whole process: then it is that of its virtual
    CPUs.
    """
    vcpus_s = {
        number: record[f"vcpu.{number}.time"] / NS
        for number in range(record.get("vcpu.maximum", 0))
        if f"vcpu.{number}.time" in record
    }
    cpu_s = record["cpu.time"] / NS if "cpu.time" in record else None
    return Counters(
        at_s=at_s,
        run=run,
        cpu_s=sum(vcpus_s.values()) if cpu_s is None and vcpus_s else cpu_s,
        vcpus_s=vcpus_s,
        memory=_memory(record, wall_s),
        disks=dict(_disks(record)),
        nics=dict(_nics(record)),
    )


def _memory(record: Mapping[str, Any], wall_s: float) -> Memory:
    said_s = record.get("balloon.last-update", 0)
    is_fresh = bool(said_s) and abs(wall_s - said_s) <= FRESH_S
    return Memory(
        rss_kib=record.get("balloon.rss"),
        total_kib=record.get("balloon.available") if is_fresh else None,
        available_kib=record.get("balloon.usable", record.get("balloon.unused"))
        if is_fresh
        else None,
        balloon_kib=record.get("balloon.current"),
        maximum_kib=record.get("balloon.maximum"),
    )


def _disks(record: Mapping[str, Any]) -> Iterator[tuple[str, Disk]]:
    for number in range(record.get("block.count", 0)):
        at = f"block.{number}"
        if f"{at}.name" in record and f"{at}.rd.bytes" in record:
            yield (
                record[f"{at}.name"],
                Disk(
                    read_bytes=record[f"{at}.rd.bytes"],
                    write_bytes=record.get(f"{at}.wr.bytes", 0),
                    read_requests=record.get(f"{at}.rd.reqs"),
                    write_requests=record.get(f"{at}.wr.reqs"),
                ),
            )


def _nics(record: Mapping[str, Any]) -> Iterator[tuple[str, Nic]]:
    for number in range(record.get("net.count", 0)):
        at = f"net.{number}"
        if f"{at}.rx.bytes" in record:
            yield (
                f"nic{number}",
                Nic(rx_bytes=record[f"{at}.rx.bytes"], tx_bytes=record.get(f"{at}.tx.bytes", 0)),
            )
