"""The guest's interfaces and default routes. Not which of them matters.

Interfaces come from netifaces. The routes are read here: `netifaces.gateways()` of netifaces2
starts `which` and `ip` and waits for them, and has no scope for a link-local gateway.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

_ROUTES = Path("/proc/net/route")
_ROUTES_V6 = Path("/proc/net/ipv6_route")
_DEVICES = Path("/sys/class/net")

Addresses = Mapping[int, list[dict[str, str]]]
"""Of one interface, by address family."""

_RTF_UP, _RTF_GATEWAY, _RTF_REJECT = 0x1, 0x2, 0x200


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A network interface that has a MAC address."""

    name: str
    mac: str
    """Upper case, colons."""
    ip: str = ""
    """Its first IPv4 address, else its first global IPv6 address, else empty."""
    physical: bool = False
    """Whether a device is behind it (a virtio one too); not so for bridges, tunnels, veth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultRoute:
    """Where packets for anywhere go."""

    interface: str
    gateway: str
    """An address, with its scope (`fe80::1%eth0`) where it is link-local; empty: on the link."""


def default_routes(ipv4: str, ipv6: str) -> tuple[DefaultRoute, ...]:
    """Parse /proc/net/route and /proc/net/ipv6_route: IPv4 first, then by metric.

    Lines that are not as the kernel writes them are left out.
    """
    found = [
        (family, metric, route)
        for family, text, parse in ((4, ipv4, _ipv4_route), (6, ipv6, _ipv6_route))
        for line in text.splitlines()
        if (parsed := parse(line.split())) is not None
        for metric, route in (parsed,)
    ]
    return tuple(route for _, _, route in sorted(found, key=lambda entry: entry[:2]))


def _ipv4_route(fields: list[str]) -> tuple[int, DefaultRoute] | None:
    try:
        name, destination, gateway, flags, _, _, metric, mask = fields[:8]
        bits = int(flags, 16)
        if int(destination, 16) or int(mask, 16) or not _usable(bits):
            return None
        address = socket.inet_ntoa(struct.pack("=I", int(gateway, 16)))
        chosen = address if bits & _RTF_GATEWAY else ""
        return int(metric), DefaultRoute(interface=name, gateway=chosen)
    except (ValueError, struct.error):
        return None


def _ipv6_route(fields: list[str]) -> tuple[int, DefaultRoute] | None:
    try:
        destination, prefix, _, _, gateway, metric, _, _, flags, name = fields[:10]
        bits = int(flags, 16)
        if int(destination, 16) or int(prefix, 16) or not _usable(bits):
            return None
        address = ipaddress.IPv6Address(bytes.fromhex(gateway))
        scope = f"%{name}" if address.is_link_local else ""
        chosen = f"{address}{scope}" if bits & _RTF_GATEWAY else ""
        return int(metric, 16), DefaultRoute(interface=name, gateway=chosen)
    except ValueError:
        return None


def _usable(flags: int) -> bool:
    return bool(flags & _RTF_UP) and not flags & _RTF_REJECT


def read_default_routes() -> tuple[DefaultRoute, ...]:
    """Return the default routes there are right now."""
    return default_routes(_text(_ROUTES), _text(_ROUTES_V6))


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def read_interfaces() -> tuple[Interface, ...]:
    """Return the interfaces with a MAC address, loopback left out, by the kernel's index."""
    import netifaces  # noqa: PLC0415 - not needed where the configuration says who this is

    found = []
    for _, name in sorted(socket.if_nameindex()):
        try:
            addresses = cast("Addresses", netifaces.ifaddresses(name))
        except (OSError, ValueError):
            continue  # gone meanwhile
        mac = _first(addresses.get(netifaces.AF_PACKET, []))
        if len(mac) != 17 or mac == "00:00:00:00:00:00":
            continue
        ip = _first(addresses.get(netifaces.AF_INET, []))
        found.append(
            Interface(
                name=name,
                mac=mac.upper(),
                ip=ip or _first(addresses.get(netifaces.AF_INET6, []), unlike="fe80"),
                physical=(_DEVICES / name / "device").exists(),
            )
        )
    return tuple(found)


def _first(entries: list[dict[str, str]], unlike: str = "\0") -> str:
    addresses = (entry.get("addr", "") for entry in entries)
    return next((address for address in addresses if not address.startswith(unlike)), "")
