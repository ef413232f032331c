"""A machine's screen and serial console in its definition: put there, and read. Pure."""

from __future__ import annotations

import ipaddress
import re
import xml.etree.ElementTree as ET
from pathlib import PurePosixPath
from typing import Final

from vmcontroller.host.hypervisor.libvirt.domain_told import add
from vmcontroller.host.hypervisor.screen import Display

SOCKET_NAME_BYTES: Final = 61
"""libvirt puts 20 characters of the name, and an id, into the path of the display's socket, as with
the channels: `/var/lib/libvirt/qemu/domain-ID-NAME/vnc.sock`. Where the name needs more (20
characters outside of the Basic Multilingual Plane do) there is a screen and no display."""

KINDS: Final = ("vnc", "spice")

_UUID_LOG = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\.log")


def add_screen(devices: ET.Element, name: str, *, is_pc: bool) -> None:
    """Give a machine a screen, and a VNC display on a socket that only root and QEMU's user reach.

    A PC gets the standard VGA: firmware, boot loaders and every system draw on it without a driver.
    """
    if len(name[:20].encode()) <= SOCKET_NAME_BYTES:
        add(add(devices, "graphics", type="vnc"), "listen", type="socket")
    add(add(devices, "video"), "model", type="vga" if is_pc else "virtio")


def add_console(devices: ET.Element, log: str) -> None:
    """Give a machine a serial console; what it writes there is kept in `log` where one is named."""
    serial = add(devices, "serial", type="pty")
    if log:
        add(serial, "log", file=log, append="on")
    add(serial, "target", port="0")
    add(add(devices, "console", type="pty"), "target", type="serial", port="0")


def display_of(text: str) -> Display:
    """Read the display that can be reached best, by its address or its socket, if there is any.

    `text` is a definition as it is now, its secrets included.
    """
    domain = ET.fromstring(text)  # noqa: S314 - libvirt's own, on a trusted connection
    displays = [
        _display(graphics)
        for graphics in domain.iterfind("devices/graphics")
        if graphics.get("type") in KINDS
    ]
    reachable = [display for display in displays if display.port or display.socket]
    # One that is open is never passed over for one that isn't.
    reachable.sort(key=lambda display: not display.open)
    return next(iter(reachable or displays), Display())


def _display(graphics: ET.Element) -> Display:
    listen = graphics.find("listen")
    if listen is None:
        listen = graphics
    port, tls_port = _port(graphics, "port"), _port(graphics, "tlsPort")
    socket = listen.get("socket") or graphics.get("socket") or ""
    host = listen.get("address") or graphics.get("listen") or ""
    if listen.get("type") in {"socket", "none"} or socket:
        host, port, tls_port = "", 0, 0
    elif (port or tls_port) and not host:
        host = "127.0.0.1"  # what QEMU takes where no address is said
    password = graphics.get("passwd", "")
    return Display(
        kind=graphics.get("type", ""),
        host=host,
        port=port or tls_port,
        socket=socket,
        password=password,
        tls=bool(tls_port and not port),
        open=bool(port or tls_port) and not password and not _is_loopback(host),
    )


def _port(graphics: ET.Element, name: str) -> int:
    port = graphics.get(name, "")
    return int(port) if port.isdecimal() else 0


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def console_log_of(text: str) -> str:
    """Return the file that a machine's first serial console is kept in; empty: none."""
    domain = ET.fromstring(text)  # noqa: S314 - libvirt's own, on a trusted connection
    for device in ("serial", "console"):
        log = domain.find(f"devices/{device}/log")
        if log is not None:
            return log.get("file", "")
    return ""


def with_own_console_log(text: str) -> str | None:
    """Return the definition of a clone with a console log of its own; None where it has one.

    Who copies a definition copies the name of the file, and of two machines that write to the same
    one libvirt starts the first only. Files that are not named by a UUID are somebody else's.
    """
    domain = ET.fromstring(text)  # noqa: S314 - libvirt's own, on a trusted connection
    uuid = domain.findtext("uuid", "")
    changed = False
    for log in domain.iterfind("devices/*/log"):
        place = PurePosixPath(log.get("file", ""))
        if uuid and _UUID_LOG.fullmatch(place.name) and place.stem != uuid:
            log.set("file", str(place.with_name(f"{uuid}.log")))
            changed = True
    return ET.tostring(domain, encoding="unicode") if changed else None
