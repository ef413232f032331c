"""Which files two VMs may share: those that both only read. Blocks: looks at the files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vmcontroller.common.errors import ImageInUse
from vmcontroller.host.hypervisor.base import Vm, VmDisk
from vmcontroller.host.hypervisor.images import inspect_used
from vmcontroller.host.hypervisor.specification import DiskImage


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """What is done with the files of one disk."""

    given: str
    """As the caller named it, for errors."""
    user: str
    """Who does it, for errors."""
    written: tuple[str, ...]
    read: tuple[str, ...]

    @property
    def files(self) -> tuple[str, ...]:
        """All that are opened."""
        return (*self.written, *self.read)


def use_of(image: DiskImage, given: str, user: str, *, read_only: bool) -> Use:
    """Return the use of an image by a drive, of which a base or a disc is only read."""
    if read_only:
        return Use(given=given, user=user, written=(), read=image.files)
    return Use(given=given, user=user, written=image.written, read=image.backing)


def uses_of(vm: Vm) -> Sequence[Use]:
    """Return the uses that a VM makes of files, as far as they can be found out."""
    return [_use_by(vm, disk) for disk in vm.disks]


def _use_by(vm: Vm, disk: VmDisk) -> Use:
    user = f"the VM {vm.name!r}"
    return use_of(inspect_used(disk), disk.path, user, read_only=disk.read_only)


def check_apart(wanted: Sequence[Use], theirs: Sequence[Use]) -> None:
    """Raise ImageInUse when one would write to what another reads or writes.

    `wanted` are those of a new VM, which must not meet each other either. Files that all only
    read from, such as the backing file of two overlays, may be shared.
    """
    for number, use in enumerate(wanted):
        for other in (*theirs, *wanted[:number]):
            shared = _same(use.written, other.files) or _same(use.files, other.written)
            if shared:
                way = "" if shared == next(iter(use.files)) else f", by way of {shared!r}"
                raise ImageInUse(use.given, f"{other.user}{way}")


def needed_by(vms: Iterable[Vm], paths: Sequence[str]) -> frozenset[str]:
    """Return those of the paths that one of these VMs opens."""
    files = [path for vm in vms for use in uses_of(vm) for path in use.files]
    return frozenset(path for path in paths if _same([path], files))


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
