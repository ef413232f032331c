"""Snapshots through libvirt, as plain blocking functions for its threads.

They are internal ones: kept within the machine's qcow2 disks, the memory in the first of them.
"""

from __future__ import annotations

import contextlib
from typing import Any

import libvirt

from vmcontroller.common.errors import NoSuchSnapshot, SnapshotExists, Unsupported
from vmcontroller.host.hypervisor.libvirt import calls, snapshot_xml
from vmcontroller.host.hypervisor.libvirt.calls import Operation, find
from vmcontroller.host.hypervisor.libvirt.drivers import Driver
from vmcontroller.host.hypervisor.libvirt.errors import BACKEND
from vmcontroller.host.hypervisor.snapshots import Snapshot
from vmcontroller.host.hypervisor.vm_state import VmState

TAKEN_IN = frozenset({VmState.POWERED_OFF, VmState.ABORTED, VmState.RUNNING, VmState.PAUSED})
"""Not Saved: the disks are then those of a machine in flight, and its memory is in a file."""
CHANGED_IN = TAKEN_IN | {VmState.SAVED}


def listed(connection: Any, uuid: str) -> tuple[Snapshot, ...]:
    """Return a machine's snapshots; one that goes meanwhile is left out."""
    domain = find(connection, uuid)
    found = [view for _, view in _all(domain)]
    current = ""
    if found:
        with contextlib.suppress(libvirt.libvirtError):  # there is none
            current = domain.snapshotCurrent(0).getName()
    return snapshot_xml.named(found, current)


def take(driver: Driver, name: str, description: str) -> Operation:
    """Keep what the machine is."""

    def act(domain: Any) -> None:
        if any(view.name == name for _, view in _all(domain)):
            raise SnapshotExists(domain.name(), name)
        if driver.scheme == "qemu":
            _check(domain)
        try:
            domain.snapshotCreateXML(snapshot_xml.build(name, description), 0)
        except libvirt.libvirtError as error:
            # Somebody else may have been quicker; the codes don't tell.
            if any(view.name == name for _, view in _all(domain)):
                raise SnapshotExists(domain.name(), name) from error
            raise

    return Operation(name="takeSnapshot", allowed=TAKEN_IN, act=act)


def _check(domain: Any) -> None:
    hindrance = snapshot_xml.hindrance(domain.XMLDesc(0))
    if hindrance:
        raise Unsupported(BACKEND, hindrance)
    if domain.state()[0] == libvirt.VIR_DOMAIN_PMSUSPENDED:
        raise Unsupported(BACKEND, "a snapshot of a machine that sleeps; resume wakes it")


def restore(name: str) -> Operation:
    """Go back to a snapshot, and drop what was saved of the memory since."""

    def act(domain: Any) -> None:
        snapshot = _find(domain, name)
        try:
            domain.revertToSnapshot(snapshot, 0)
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_SNAPSHOT_REVERT_RISKY:
                raise
            # The risk is that the process in which it runs now is not kept.
            domain.revertToSnapshot(snapshot, libvirt.VIR_DOMAIN_SNAPSHOT_REVERT_FORCE)
        if domain.hasManagedSaveImage(0):
            domain.managedSaveRemove(0)  # else the next start would put it on other disks

    return Operation(name="restoreSnapshot", allowed=CHANGED_IN, act=act)


def delete(name: str) -> Operation:
    """Drop a snapshot; its children become its parent's."""
    return Operation(
        name="deleteSnapshot", allowed=CHANGED_IN, act=lambda domain: _find(domain, name).delete(0)
    )


def remove(driver: Driver) -> Operation:
    """Undefine a machine; what its snapshots hold goes, too, as far as its disks are there.

    External ones, which others have made, are only forgotten: to drop one means to write into
    another of the machine's files.
    """
    undefine = calls.remove(driver)

    def act(domain: Any) -> None:
        for snapshot, view in _all(domain):
            if view.is_external:
                continue
            with contextlib.suppress(libvirt.libvirtError):  # undefining forgets the rest
                snapshot.delete(0)
        undefine.act(domain)

    return Operation(name=undefine.name, allowed=undefine.allowed, act=act)


def _find(domain: Any, name: str) -> Any:
    for snapshot, view in _all(domain):
        if view.name == name:
            return snapshot
    raise NoSuchSnapshot(domain.name(), name)


def _all(domain: Any) -> list[tuple[Any, snapshot_xml.Found]]:
    found = []
    for snapshot in domain.listAllSnapshots(0):
        try:
            found.append((snapshot, snapshot_xml.parse(snapshot.getXMLDesc(0))))
        except libvirt.libvirtError as error:
            if error.get_error_code() != libvirt.VIR_ERR_NO_DOMAIN_SNAPSHOT:
                raise
    return found
