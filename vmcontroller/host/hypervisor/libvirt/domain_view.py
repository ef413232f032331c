"""What a machine's definition says, whoever made it. Pure: no libvirt, no files."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field

from vmcontroller.common.channel import CHANNEL_NAME
from vmcontroller.host.hypervisor.base import VmDetails, VmDisk
from vmcontroller.host.hypervisor.libvirt.domain_told import CREDENTIAL_KEY, told_in


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainView:
    """What is read from any machine's XML, also from those made by others."""

    name: str
    uuid: str
    macs: tuple[str, ...]
    disks: tuple[VmDisk, ...]
    networks: tuple[str, ...]
    """libvirt networks of its NICs, in their order, each once."""
    told_login: str = ""
    """Of the credential among its SMBIOS strings."""
    told_passcode: str = field(default="", repr=False)
    channel: str = ""
    """The socket of our agent's channel; in the definition of a machine that is off mostly empty:
    libvirt chooses it at the start."""


def parse(text: str) -> DomainView:
    """Read a definition as libvirt wrote it."""
    domain = ET.fromstring(text)  # noqa: S314 - libvirt's own, on a trusted connection
    disks = [_disk(disk) for disk in domain.iterfind("devices/disk")]
    networks = [
        source.get("network", "")
        for source in domain.iterfind("devices/interface[@type='network']/source")
    ]
    login, _, passcode = told_in(domain, CREDENTIAL_KEY).partition(":")
    return DomainView(
        name=domain.findtext("name", ""),
        uuid=domain.findtext("uuid", "").lower(),
        macs=tuple(
            mac.get("address", "").upper() for mac in domain.iterfind("devices/interface/mac")
        ),
        disks=tuple(disk for disk in disks if disk.path),
        networks=tuple(dict.fromkeys(network for network in networks if network)),
        told_login=login,
        told_passcode=passcode,
        channel=_own_channel(domain),
    )


def _disk(disk: ET.Element) -> VmDisk:
    source, driver, target = disk.find("source"), disk.find("driver"), disk.find("target")
    path = "" if source is None else source.get("file") or source.get("dev") or ""
    return VmDisk(
        path=path,
        format="" if driver is None else driver.get("type", ""),
        bus="" if target is None else target.get("bus", ""),
        read_only=disk.get("device") == "cdrom" or disk.find("readonly") is not None,
    )


def details(text: str, *, nat: str, isolated: str) -> VmDetails:
    """Read what a machine was made with; `nat` and `isolated` are the libvirt networks of those."""
    domain = ET.fromstring(text)  # noqa: S314 - libvirt's own, on a trusted connection
    return VmDetails(
        memory_mib=int(domain.findtext("memory") or 0) // 1024,  # libvirt writes KiB
        vcpus=int(domain.findtext("vcpu") or 1),
        network=_network(domain, {nat: "nat", isolated: "isolated"}),
        firmware=_firmware(domain),
        description=domain.findtext("description", ""),
        disks=parse(text).disks,
    )


def _network(domain: ET.Element, names: Mapping[str, str]) -> str:
    nic = domain.find("devices/interface")
    if nic is None:
        return "none"
    source = nic.find("source")
    if nic.get("type") == "bridge":
        return "bridge"
    if nic.get("type") == "network" and source is not None:
        return names.get(source.get("network", ""), "other")
    return "other"


def _firmware(domain: ET.Element) -> str:
    """Tell UEFI also where a file of it was named."""
    os_element, loader = domain.find("os"), domain.find("os/loader")
    by_name = os_element is not None and os_element.get("firmware") == "efi"
    return "uefi" if by_name or (loader is not None and loader.get("type") == "pflash") else "bios"


def _own_channel(domain: ET.Element) -> str:
    for channel in domain.iterfind("devices/channel[@type='unix']"):
        if channel.find(f"target[@name='{CHANNEL_NAME}']") is not None:
            source = channel.find("source")
            return "" if source is None else source.get("path", "")
    return ""
