"""What libvirt says of the host and its networks, read from its XML. Pure."""

from __future__ import annotations

import ipaddress
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFacts:
    """Which machines the host's own architecture can have."""

    arch: str
    domain_types: frozenset[str] = frozenset()
    """Of `kvm`, `qemu`, `test`, ..."""
    emulators: Mapping[str, str] = field(default_factory=dict)
    """Path of the program for each domain type."""


def host_facts(capabilities: str) -> HostFacts:
    """Read a connection's capabilities; no domain types when it has none for full machines."""
    root = ET.fromstring(capabilities)  # noqa: S314 - libvirt's own
    arch = root.findtext("host/cpu/arch", "")
    emulators: dict[str, str] = {}
    for guest in root.iterfind("guest"):
        element = guest.find("arch")
        if guest.findtext("os_type") != "hvm" or element is None or element.get("name") != arch:
            continue
        default = element.findtext("emulator", "")
        for domain in element.iterfind("domain"):
            emulators[domain.get("type", "")] = domain.findtext("emulator", default)
    return HostFacts(arch=arch, domain_types=frozenset(emulators), emulators=emulators)


def network_addresses(text: str) -> tuple[str, ...]:
    """Return the host's own addresses in a network, IPv4 first; none for a mere bridge."""
    root = ET.fromstring(text)  # noqa: S314 - libvirt's own
    found = [ipaddress.ip_address(ip.get("address", "")) for ip in root.iterfind("ip[@address]")]
    return tuple(str(address) for address in sorted(found, key=lambda address: address.version))


def offers_uefi(domain_capabilities: str) -> bool:
    """Tell whether libvirt found a UEFI for a kind of machine."""
    root = ET.fromstring(domain_capabilities)  # noqa: S314 - libvirt's own
    values = root.iterfind("os/enum[@name='firmware']/value")
    return any(value.text == "efi" for value in values)
