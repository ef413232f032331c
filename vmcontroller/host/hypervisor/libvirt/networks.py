"""The libvirt network without a way out, as it is defined and as it is known again. Pure."""

from __future__ import annotations

import ipaddress
import xml.etree.ElementTree as ET

from vmcontroller.host.hypervisor.libvirt.domain_told import add


def isolated_network(name: str, subnet: str) -> str:
    """Return the definition of a network on which guests reach this host and each other only.

    `subnet` is an IPv4 network such as 192.168.151.0/24: the first address is the host's, the
    others are given out by DHCP, without a route and without a name server.
    """
    addresses = ipaddress.IPv4Network(subnet)
    network = ET.Element("network")
    add(network, "name", name)
    add(network, "bridge", stp="on", delay="0")
    add(network, "dns", enable="no")
    ip = add(network, "ip", address=str(addresses[1]), netmask=str(addresses.netmask))
    add(add(ip, "dhcp"), "range", start=str(addresses[2]), end=str(addresses[-2]))
    return ET.tostring(network, encoding="unicode")


def is_isolated(text: str) -> bool:
    """Tell whether a network's definition has no way out."""
    return ET.fromstring(text).find("forward") is None  # noqa: S314 - libvirt's own
