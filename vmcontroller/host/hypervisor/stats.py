"""What a hypervisor counts of a running machine, in the words of the interface. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """What went through one disk since its machine was started."""

    read_bytes: int = 0
    write_bytes: int = 0
    read_requests: int | None = None
    write_requests: int | None = None
    """None where nobody counts them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nic:
    """What went through a network interface since its machine was started, as the guest sees it."""

    rx_bytes: int = 0
    tx_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory in KiB; None where the hypervisor does not say, or what it says is old."""

    rss_kib: int | None = None
    """What the machine takes of this host."""
    total_kib: int | None = None
    """What the guest's kernel has."""
    available_kib: int | None = None
    """What of that programs in the guest could still have."""
    balloon_kib: int | None = None
    """What the machine is let have now."""
    maximum_kib: int | None = None
    """What it could be let have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """One reading of one machine."""

    at_s: float
    """When it was read, on a clock that never jumps."""
    run: str
    """New with every start of the machine: its counters begin at zero again."""
    cpu_s: float | None = None
    """Seconds that its processes have had of the host's processors, those of its devices too."""
    vcpus_s: Mapping[int, float] = field(default_factory=dict)
    """The same of each virtual CPU, by its number."""
    memory: Memory = Memory()
    disks: Mapping[str, Disk] = field(default_factory=dict)
    """By the name that the machine's definition has, such as `vda`."""
    nics: Mapping[str, Nic] = field(default_factory=dict)
    """By their order in the definition: `nic0` is the first."""
