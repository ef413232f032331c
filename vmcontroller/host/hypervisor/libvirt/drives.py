"""The drives of a new machine: which file goes on which bus, under which name. Pure."""

from __future__ import annotations

import string
from collections import Counter
from dataclasses import dataclass
from typing import Final

from vmcontroller.common.errors import BadArgument
from vmcontroller.host.hypervisor.specification import DiskImage, VmSpec

USUAL_BUS: Final = "virtio"
MAX_DRIVES: Final = 24
IDE_DRIVES: Final = 4
"""Two channels with two drives each."""
PC_ARCHITECTURES: Final = frozenset({"x86_64", "i686"})
_PREFIXES: Final = {"virtio": "vd", "sata": "sd", "scsi": "sd", "ide": "hd"}
_OF_DISKS_ONLY: Final = frozenset({"virtio"})
"""Such a bus has no optical drives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """One drive, and the file in it."""

    image: DiskImage
    bus: str
    target: str
    """Its name in the definition, such as `vda`."""
    is_optical: bool = False
    read_only: bool = False
    keeps_owner: bool = False
    """QEMU's user can open the file as it is."""
    boot_as: str = ""
    """How an order of booting names it: `disk` or `cdrom`; empty: it isn't booted from."""


def drives_of(spec: VmSpec, arch: str) -> tuple[Drive, ...]:
    """Return the drives of a machine; raises BadArgument when a bus has no room for them.

    The seed is a read-only disk where the bus has such: a guest that finds its first disk there
    finds it, too, while many small kernels know no optical drive.
    """
    bus = spec.bus or USUAL_BUS
    wanted: list[tuple[DiskImage, str, bool, bool, str]] = []
    if spec.disk is not None:
        wanted.append((spec.disk, bus, False, False, "disk"))
    wanted += [(disk.image, disk.bus or bus, False, False, "") for disk in spec.disks]
    if spec.cdrom:
        disc = DiskImage(path=spec.cdrom, format="raw")
        wanted.append((disc, _optical_bus(bus, arch), True, True, "cdrom"))
    if spec.seed:
        seed = DiskImage(path=spec.seed, format="raw")
        wanted.append((seed, bus, bus not in {"virtio", "scsi"}, True, ""))
    _check_room([drive[1] for drive in wanted])
    letters = {prefix: iter(string.ascii_lowercase) for prefix in _PREFIXES.values()}
    return tuple(
        Drive(
            image=image,
            bus=on,
            target=_PREFIXES[on] + next(letters[_PREFIXES[on]]),
            is_optical=is_optical,
            read_only=read_only,
            keeps_owner=boot_as == "cdrom" and spec.cdrom_is_public,
            boot_as=boot_as,
        )
        for image, on, is_optical, read_only, boot_as in wanted
    )


def _optical_bus(bus: str, arch: str) -> str:
    if bus not in _OF_DISKS_ONLY:
        return bus
    return "ide" if arch in PC_ARCHITECTURES else "scsi"


def _check_room(buses: list[str]) -> None:
    if len(buses) > MAX_DRIVES:
        raise BadArgument("options.disks", f"{len(buses)} drives in all; {MAX_DRIVES} at most")
    on_ide = Counter(buses)["ide"]
    if on_ide > IDE_DRIVES:
        raise BadArgument(
            "options.bus", f"{on_ide} drives on ide, with disc and seed; it has {IDE_DRIVES}"
        )
