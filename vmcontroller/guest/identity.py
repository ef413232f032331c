"""Who this guest is: one of its MAC addresses, its address, UUID and name."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from vmcontroller.common.config import VmConfig
from vmcontroller.common.model import guest_id
from vmcontroller.common.words.presence import Descriptor
from vmcontroller.guest import network, smbios
from vmcontroller.guest.network import DefaultRoute, Interface


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


def describe(config: VmConfig) -> Descriptor | None:
    """Say who this guest is, now; None while no interface can tell.

    `vm.id` of the configuration goes before the MAC address of an interface.
    """
    interface = choose_interface(
        config.network_interface, network.read_interfaces(), network.read_default_routes()
    )
    if config.id:
        identity = guest_id(config.id)
    elif interface is not None:
        identity = guest_id(interface.mac)
    else:
        return None
    return Descriptor(
        id=identity,
        ip=interface.ip if interface is not None else "",
        uuid=smbios.read_uuid(),
        hostname=socket.gethostname(),
    )
