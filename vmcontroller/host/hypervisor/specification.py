"""What a new virtual machine shall be, as a backend is told it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

BUSES = ("virtio", "sata", "scsi", "ide")
BOOT_DEVICES = ("disk", "network", "cdrom")
NETWORKS = ("nat", "isolated", "bridge", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskImage:
    """A disk file that was looked at, and the other files it is made of, by their real paths."""

    path: str
    format: str
    """`qcow2`, `raw` or `vmdk`."""
    extents: tuple[str, ...] = ()
    """Of a VMDK in pieces: where its data is written."""
    backing: tuple[str, ...] = ()
    """What it is based on and only reads from, the nearest first."""
    base_format: str = ""
    """Of the one file that is its whole `backing`, where everybody may read that file: no owner
    need be changed for it to be opened. Else empty."""

    @property
    def written(self) -> tuple[str, ...]:
        """The files that a machine with this disk writes to."""
        return (self.path, *self.extents)

    @property
    def files(self) -> tuple[str, ...]:
        """All files that a machine with this disk opens."""
        return (*self.written, *self.backing)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectBoot:
    """Boot this kernel rather than what the disk holds; paths are on the hypervisor's host."""

    kernel: str
    initrd: str = ""
    cmdline: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraDisk:
    """A disk besides the first; its file is there and was looked at."""

    image: DiskImage
    bus: str = ""
    """As of the first disk, if empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmSpec:
    """What a new virtual machine shall be. All files that it names are there."""

    name: str
    image: str
    """The path the caller gave: for `local` a directory or '' for an empty one."""
    disk: DiskImage | None = None
    """The looked-at image, on backends with DISK_IMAGES; None with a direct boot from an initrd."""
    memory_mib: int = 512
    vcpus: int = 1
    network: str = "nat"
    """`nat`, `isolated`, `bridge` or `none`."""
    boot: DirectBoot | None = None
    uuid: str = ""
    """Chosen beforehand, where not empty: the machine gets this one."""
    bridge: str = ""
    """The host's bridge, with network `bridge`."""
    bus: str = ""
    """Of the disks: one of BUSES, the hypervisor's usual one if empty."""
    disks: tuple[ExtraDisk, ...] = ()
    cdrom: str = ""
    """The path of an ISO image, read only."""
    cdrom_is_public: bool = False
    """Everybody may read it: its owner need not be changed for it to be opened."""
    seed: str = ""
    """The path of a seed image for cloud-init, read only."""
    boot_order: tuple[str, ...] = ()
    """Of BOOT_DEVICES; empty: the first disk, then the optical disc."""
    firmware: str = ""
    """`bios` or `uefi`; empty: the hypervisor's usual one."""
    description: str = ""
