"""What a new VM is to be, and which files must be made for it; files are looked at here. Blocks."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from vmcontroller.common.config import VmsConfig
from vmcontroller.common.errors import BadArgument, BadImage, NoSuchImage
from vmcontroller.host.creation.overlays import disk_command, overlay_command
from vmcontroller.host.creation.seed import seed_files
from vmcontroller.host.creation.sharing import Use, check_apart, use_of, uses_of
from vmcontroller.host.hypervisor.base import Capability, Hypervisor, Vm
from vmcontroller.host.hypervisor.image_sizes import read_disk_bytes
from vmcontroller.host.hypervisor.images import inspect, read_head
from vmcontroller.host.hypervisor.specification import DirectBoot, DiskImage, ExtraDisk, VmSpec
from vmcontroller.host.requests import CreateOptions, DiskOptions

MIB: Final = 2**20
OVERLAY: Final = "disk.qcow2"
SEED: Final = "seed.iso"
_VOLUME: Final = slice(32769, 32774)
"""Where a disc's first volume descriptor has its kind."""
_VOLUMES: Final = frozenset({b"CD001", b"BEA01", b"NSR02", b"NSR03"})
_NEW: Final = "the new VM itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A new VM, and what has to be made before it can be."""

    spec: VmSpec
    commands: Sequence[Sequence[str]]
    """Make its disks."""
    seed: Mapping[str, bytes]
    """The files of its seed image; empty: it has none."""
    files: Sequence[str]
    """The names of all that is made."""


def design(
    hypervisor: Hypervisor,
    place: Callable[[str], str],
    defaults: VmsConfig,
    *,
    spec: VmSpec,
    options: CreateOptions,
    others: Sequence[Vm],
) -> Design:
    """Complete `spec`, which has the VM's name, UUID and image, beside the `others` there are.

    `place` says where a file that is made will be, by its name. Raises NoSuchImage, BadImage,
    ImageInUse and BadArgument.
    """
    spec = _sized(spec, options, defaults)
    if options.kernel:
        for path in filter(None, (options.kernel, options.initrd)):
            _check_file(path)
    if Capability.DISK_IMAGES not in hypervisor.capabilities:
        return Design(spec=spec, commands=(), seed={}, files=())
    first = _first_disk(spec.image, options, place)
    more = [
        _more_disk(disk, place(f"disk-{number + 2}.qcow2"))
        for number, disk in enumerate(options.disks)
    ]
    disc = _disc(options.cdrom) if options.cdrom else None
    drives = [drive for drive in (first, *more, disc) if drive is not None]
    theirs = [use for vm in others for use in uses_of(vm)]
    check_apart([drive.use for drive in drives if drive.use is not None], theirs)
    seed = seed_files(options, spec.uuid) if options.has_seed else {}
    made = [os.path.basename(drive.image.path) for drive in drives if drive.command]
    return Design(
        spec=replace(
            spec,
            disk=None if first is None else first.image,
            disks=tuple(
                ExtraDisk(image=drive.image, bus=disk.bus)
                for drive, disk in zip(more, options.disks, strict=True)
            ),
            cdrom="" if disc is None else disc.image.path,
            cdrom_is_public=disc is not None and _is_public(disc.image),
            seed=place(SEED) if seed else "",
        ),
        commands=[drive.command for drive in drives if drive.command],
        seed=seed,
        files=[*made, *([SEED] if seed else [])],
    )


def _sized(spec: VmSpec, options: CreateOptions, defaults: VmsConfig) -> VmSpec:
    """Fill in what needs no look at a file."""
    network = options.network or defaults.network
    bridge = (options.bridge or defaults.bridge) if network == "bridge" else options.bridge
    if network == "bridge" and not bridge:
        raise BadArgument("options.bridge", "is needed with network 'bridge'")
    if network != "bridge" and bridge:
        raise BadArgument("options.bridge", f"is given with network {network!r}")
    if "network" in options.boot_order and network == "none":
        raise BadArgument("options.bootOrder", "'network' is there, but the network is 'none'")
    return replace(
        spec,
        memory_mib=options.memory_mib or defaults.memory_mib,
        vcpus=options.vcpus or defaults.vcpus,
        network=network,
        bridge=bridge,
        bus=options.bus,
        boot_order=options.boot_order,
        firmware=options.firmware,
        boot=DirectBoot(kernel=options.kernel, initrd=options.initrd, cmdline=options.cmdline)
        if options.kernel
        else None,
        description=options.description,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drive:
    image: DiskImage
    use: Use | None
    """None: it is only made."""
    command: Sequence[str] = ()
    """Makes it."""


def _first_disk(image: str, options: CreateOptions, place: Callable[[str], str]) -> _Drive | None:
    """Return what the VM boots from, which an image may be left out for if others can be booted."""
    if not image and not options.clone and (options.kernel or options.disks or options.cdrom):
        return None
    if not image:
        raise NoSuchImage(
            image, "a path to a disk image is needed, or one of the options kernel, disks, cdrom"
        )
    found = _look_at(image, options.format)
    use = use_of(found, image, _NEW, read_only=options.clone)
    if not options.clone:
        return _Drive(image=found, use=use)
    path = place(OVERLAY)
    overlay = DiskImage(
        path=path,
        format="qcow2",
        backing=found.files,
        base_format=found.format if _is_public(found) else "",
    )
    size_bytes = _grown(found, options.disk_size_mib)
    return _Drive(image=overlay, use=use, command=overlay_command(path, found, size_bytes))


def _is_public(image: DiskImage) -> bool:
    """Tell whether an image is one file that everybody may read."""
    return len(image.files) == 1 and bool(os.stat(image.path).st_mode & stat.S_IROTH)


def _grown(base: DiskImage, size_mib: int) -> int:
    """Return the size of an overlay in bytes."""
    base_bytes = read_disk_bytes(base.path, base.format)
    if size_mib and size_mib * MIB < base_bytes:
        raise BadArgument(
            "options.diskSize",
            f"{size_mib} MiB is less than the {-(-base_bytes // MIB)} MiB of {base.path!r}",
        )
    return size_mib * MIB or base_bytes


def _more_disk(disk: DiskOptions, place: str) -> _Drive:
    if disk.path:
        found = _look_at(disk.path, disk.format)
        return _Drive(image=found, use=use_of(found, disk.path, _NEW, read_only=False))
    image = DiskImage(path=place, format="qcow2")
    return _Drive(image=image, use=None, command=disk_command(place, disk.size_mib * MIB))


def _disc(path: str) -> _Drive:
    real = os.path.realpath(path)
    head, _ = read_head(real)
    if head[_VOLUME] not in _VOLUMES:
        raise BadImage(path, "is no disc image: it has neither an ISO 9660 nor a UDF volume")
    image = DiskImage(path=real, format="raw")
    return _Drive(image=image, use=use_of(image, path, _NEW, read_only=True))


def _look_at(path: str, format_asked: str) -> DiskImage:
    if not os.path.isabs(path):
        raise NoSuchImage(path, "must be an absolute path on the host")
    return inspect(os.path.realpath(path), format_asked)


def _check_file(path: str) -> None:
    """Raise NoSuchImage for what is no readable file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise NoSuchImage(path, "is not a regular file")
    except OSError as error:
        raise NoSuchImage(path, os.strerror(error.errno or 0)) from error
    except ValueError as error:
        raise NoSuchImage(path, "is not a path") from error
