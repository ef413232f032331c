"""Who this guest is: its id, addresses, UUID, name and system; how it fares."""

from __future__ import annotations

import os
import platform
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vmcontroller.common.config import VmConfig
from vmcontroller.common.model import GuestId, guest_id, id_of_uuid
from vmcontroller.common.words.presence import Descriptor
from vmcontroller.guest import network, smbios
from vmcontroller.guest.network import DefaultRoute, Interface

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What the agent says of its guest; the functions are asked each time."""

    descriptor: Callable[[], Descriptor]
    session: str
    """New with every start of the agent."""
    version: str = ""
    boot_id: str = ""
    load: Callable[[], float] = lambda: 0.0
    figures: Callable[[], Mapping[str, float]] = dict
    """How the guest fares; see the word STILL_ALIVE."""


def choose_interface(
    wanted: str, interfaces: Sequence[Interface], routes: Sequence[DefaultRoute]
) -> Interface | None:
    """Return the interface that names this guest, or None while there is none.

    The one that is `wanted`; for `auto` that of the default route, else the first with a device
    behind it, else the first.
    """
    by_name = {interface.name: interface for interface in interfaces}
    if wanted != "auto":
        return by_name.get(wanted)
    for route in routes:
        if route.interface in by_name:
            return by_name[route.interface]
    physical = [interface for interface in interfaces if interface.physical]
    return next(iter(physical or interfaces), None)


def choose_id(config: VmConfig, interface: Interface | None, uuid: str) -> GuestId | None:
    """Return who this guest is as far as it knows; the embedded broker knows better.

    `vm.id` of the configuration, else the interface's MAC address, else what a guest without one
    has by its VM's UUID. None while nothing tells.
    """
    if config.id:
        return guest_id(config.id)
    if interface is not None:
        return guest_id(interface.mac)
    return id_of_uuid(uuid) if uuid else None


def describe(config: VmConfig) -> Descriptor:
    """Say who this guest is, now; its `id` is empty while nothing tells."""
    interfaces = network.read_interfaces()
    interface = choose_interface(
        config.network_interface, interfaces, network.read_default_routes()
    )
    uuid = smbios.read_uuid()
    return Descriptor(
        id=choose_id(config, interface, uuid) or "",
        ip=interface.ip if interface is not None else "",
        uuid=uuid,
        hostname=socket.gethostname(),
        os=system_name(),
        addresses=tuple(each.ip for each in interfaces if each.ip)[:64],
    )


def named(descriptor: Descriptor, own_id: str) -> Descriptor:
    """Return the descriptor with the id that this guest has on its connection."""
    return replace(descriptor, id=own_id)


def system_name() -> str:
    """Return what /etc/os-release calls the system, else what the kernel does."""
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")[:255]
    except OSError:
        return f"{platform.system()} {platform.release()}"[:255]


def read_boot_id() -> str:
    """Return an id that is new with every boot; empty where the kernel has none."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def read_load() -> float:
    """Return the load average of the last minute."""
    return os.getloadavg()[0]
