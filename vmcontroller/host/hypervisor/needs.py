"""Which capabilities a specification asks for: a backend without one refuses it by name. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from vmcontroller.common.errors import Unsupported
from vmcontroller.host.hypervisor.base import Capability
from vmcontroller.host.hypervisor.specification import VmSpec


def check_supported(backend: str, capabilities: AbstractSet[Capability], spec: VmSpec) -> None:
    """Raise Unsupported with the first thing in `spec` that needs more than `capabilities`."""
    for capability, asked, what in (
        (Capability.DIRECT_BOOT, spec.boot is not None, "a kernel from outside"),
        (Capability.DEVICES, bool(spec.disks), "more than one disk"),
        (Capability.DEVICES, bool(spec.bus), "a choice of the bus"),
        (Capability.DEVICES, bool(spec.cdrom), "an optical disc"),
        (Capability.DEVICES, bool(spec.boot_order), "an order of booting"),
        (Capability.FIRMWARE, bool(spec.firmware), "a choice of the firmware"),
        (Capability.SEEDS, bool(spec.seed), "a seed image"),
        (
            Capability.NETWORKS,
            spec.network in {"isolated", "bridge"},
            f"network {spec.network!r}",
        ),
    ):
        if asked and capability not in capabilities:
            raise Unsupported(backend, what)
