"""From what createVM was asked for to what the hypervisor shall make: files are looked at here."""

from __future__ import annotations

import os
import stat
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from vmcontroller.common.errors import ImageInUse, NoSuchImage, Unsupported
from vmcontroller.host.hypervisor.base import (
    Capability,
    DirectBoot,
    DiskImage,
    Hypervisor,
    Vm,
    VmSpec,
)
from vmcontroller.host.hypervisor.images import inspect, inspect_used
from vmcontroller.host.requests import CreateOptions

InThread = Callable[..., Awaitable[Any]]


async def specify(
    hypervisor: Hypervisor,
    in_thread: InThread,
    *,
    name: str,
    image: str,
    options: CreateOptions,
    others: Iterable[Vm],
) -> VmSpec:
    """Return the specification of a new VM on `image`, beside the `others` there are.

    Raises NoSuchImage, BadImage, ImageInUse, and Unsupported for what the hypervisor has not.
    """
    boot = await _boot(hypervisor, in_thread, options)
    disk = None
    if Capability.DISK_IMAGES in hypervisor.capabilities:
        if image or boot is None:
            disk = await in_thread(_look_at, image, options.format, list(others))
    elif options.format:
        raise Unsupported(hypervisor.name, "disk images, and so no format of one")
    return VmSpec(
        name=name,
        image=image,
        disk=disk,
        memory_mib=options.memory_mib,
        vcpus=options.vcpus,
        network=options.network,
        boot=boot,
    )


async def _boot(
    hypervisor: Hypervisor, in_thread: InThread, options: CreateOptions
) -> DirectBoot | None:
    if not options.kernel:
        return None
    if Capability.DIRECT_BOOT not in hypervisor.capabilities:
        raise Unsupported(hypervisor.name, "the options kernel, initrd and cmdline")
    for path in filter(None, (options.kernel, options.initrd)):
        await in_thread(_check_file, path)
    return DirectBoot(kernel=options.kernel, initrd=options.initrd, cmdline=options.cmdline)


def _check_file(path: str) -> None:
    """Raise NoSuchImage for what is no readable file."""
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise NoSuchImage(path, "is not a regular file")
    except OSError as error:
        raise NoSuchImage(path, os.strerror(error.errno or 0)) from error


def _look_at(image: str, format_asked: str, others: list[Vm]) -> DiskImage:
    if not image:
        raise NoSuchImage(image, "a path to a disk image is needed, or the option kernel")
    if not os.path.isabs(image):
        raise NoSuchImage(image, "must be an absolute path on the host")
    disk = inspect(os.path.realpath(image), format_asked)
    for vm in others:
        for theirs in map(inspect_used, vm.disks):
            _check_apart(image, disk, vm, theirs)
    return disk


def _check_apart(image: str, disk: DiskImage, vm: Vm, theirs: DiskImage) -> None:
    """Raise ImageInUse when one of the two would write to what the other reads or writes.

    Files that both only read from, such as the backing file of two overlays, may be shared.
    """
    shared = _same(disk.written, theirs.files) or _same(disk.files, theirs.written)
    if shared:
        way = "" if shared == disk.path else f", by way of {shared!r}"
        raise ImageInUse(image, f"the VM {vm.name!r}{way}")


def _same(ours: Iterable[str], theirs: Iterable[str]) -> str:
    """Return the first of our files that is among theirs, by any of its names; '' if none is."""
    taken = {identity for path in theirs for identity in _identities(path)}
    return next((path for path in ours if not taken.isdisjoint(_identities(path))), "")


def _identities(path: str) -> list[object]:
    """Return what tells a file from others: its path, and what its hard links have in common."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return [path]
    return [path, (status.st_dev, status.st_ino)]
