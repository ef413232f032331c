"""Snapshots in libvirt's XML, and what keeps a machine from having them. Pure.

libvirt makes files of a snapshot's name, QEMU takes a name of digits for a number, and XML carries
neither control characters nor a CR. So what is not plain gets a name made of a digest, and its
true name and description stand in the description as JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
import xml.etree.ElementTree as ET
from dataclasses import dataclass

from vmcontroller.host.hypervisor.snapshots import Snapshot
from vmcontroller.host.hypervisor.vm_state import VmState

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_MARK = "vmcontroller-snapshot-1 "
"""Begins the description of a snapshot whose name or description is not plain."""
_DIGEST = "vmcontroller-"
"""Begins the name that libvirt is told of such a one."""
# What XML 1.0 can't carry, and the CR that a parser turns into LF.
_NOT_XML = re.compile("[\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]")

_STATES = {
    "running": VmState.RUNNING,
    "blocked": VmState.RUNNING,
    "paused": VmState.PAUSED,
    "shutoff": VmState.POWERED_OFF,
    "shutdown": VmState.POWERED_OFF,
    "crashed": VmState.POWERED_OFF,
    "disk-snapshot": VmState.POWERED_OFF,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A snapshot as libvirt describes it; names are libvirt's until `named` has all of them."""

    told_name: str
    """By which libvirt knows it."""
    parent: str
    """The same of its parent."""
    name: str
    description: str
    created_s: float
    state: VmState
    is_external: bool
    """Of others: it is in files of its own, that the machine's disks may stand on."""


def build(name: str, description: str) -> str:
    """Return what libvirt is asked for: a snapshot of disks and, if it is on, of memory."""
    told_name = name
    if not _is_plain(name) or description.startswith(_MARK) or _NOT_XML.search(description):
        told_name = name if _is_plain(name) else _DIGEST + hashlib.sha256(name.encode()).hexdigest()
        description = _MARK + json.dumps({"name": name, "description": description})
    root = ET.Element("domainsnapshot")
    ET.SubElement(root, "name").text = told_name
    ET.SubElement(root, "description").text = description
    return ET.tostring(root, encoding="unicode")


def _is_plain(name: str) -> bool:
    return bool(_PLAIN.fullmatch(name)) and not name.startswith(_DIGEST)


def parse(text: str) -> Found:
    """Read a snapshot as libvirt wrote it; also one that others made."""
    root = ET.fromstring(text)  # noqa: S314 - libvirt's own, on a trusted connection
    told_name = root.findtext("name", "")
    name, description = _meant(told_name, root.findtext("description", ""))
    return Found(
        told_name=told_name,
        parent=root.findtext("parent/name", ""),
        name=name,
        description=description,
        created_s=float(root.findtext("creationTime", "0") or 0),
        state=_STATES.get(root.findtext("state", ""), VmState.UNKNOWN),
        is_external=any(
            part.get("snapshot") == "external"
            for part in (*root.iterfind("memory"), *root.iterfind("disks/disk"))
        ),
    )


def _meant(told_name: str, description: str) -> tuple[str, str]:
    if not description.startswith(_MARK):
        return told_name, description
    try:
        meant = json.loads(description[len(_MARK) :])
        name, text = meant["name"], meant["description"]
    except (ValueError, KeyError, TypeError):
        return told_name, description
    if not (isinstance(name, str) and isinstance(text, str)):
        return told_name, description
    return name, text


def named(found: list[Found], current: str) -> tuple[Snapshot, ...]:
    """Return a machine's snapshots by their true names; `current` is what libvirt calls so."""
    names = {each.told_name: each.name for each in found}
    return tuple(
        Snapshot(
            name=each.name,
            description=each.description,
            created_s=each.created_s,
            state=each.state,
            parent=names.get(each.parent, ""),
            is_current=each.told_name == current,
        )
        for each in found
    )


def hindrance(definition: str) -> str:
    """Say why a machine of QEMU can't have internal snapshots, and what would do; '' if it can."""
    domain = ET.fromstring(definition)  # noqa: S314 - libvirt's own, on a trusted connection
    if domain.find("os/loader[@type='pflash']") is not None:
        return (
            "a snapshot of a machine with UEFI firmware: its variables are in a file that is "
            "no qcow2; firmware 'bios' can be had with snapshots"
        )
    disks = [disk for disk in domain.iterfind("devices/disk") if _is_written(disk)]
    for disk in disks:
        driver, source, target = disk.find("driver"), disk.find("source"), disk.find("target")
        kind = "" if driver is None else driver.get("type", "")
        if kind != "qcow2":
            device = "" if target is None else target.get("dev", "")
            path = "" if source is None else source.get("file") or source.get("dev") or ""
            return (
                f"a snapshot of a machine with a disk that is {kind or 'of no stated format'}: "
                f"{device}, {path!r}; all its disks must be qcow2 "
                f"(qemu-img convert -O qcow2 makes such a one)"
            )
    if not disks:
        return (
            "a snapshot of a machine without a disk that it writes to: "
            "a qcow2 disk is needed to keep it on"
        )
    return ""


def _is_written(disk: ET.Element) -> bool:
    return disk.get("device", "disk") in {"disk", "lun"} and disk.find("readonly") is None
