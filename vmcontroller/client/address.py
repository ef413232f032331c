"""Where a daemon is: the forms of its URL. Pure but for one look whether the socket is there."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

SOCKET: Final = "/run/vmcontroller/xmlrpc.sock"
"""Where a daemon listens for the programs of its own host, unless it is configured otherwise."""
DEFAULT_PORT: Final = 50505
PATH: Final = "/RPC2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A daemon's address: a Unix socket, or a host and a port."""

    socket: str = ""
    """The path of a Unix socket; '' for TCP."""
    host: str = ""
    port: int = 0
    tls: bool = False
    path: str = PATH

    @property
    def shown(self) -> str:
        """The URL, without user and password."""
        if self.socket:
            return f"unix:{self.socket}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.tls else 'http'}://{host}:{self.port}"


def address_of(url: str) -> Address:
    """Read `http://HOST[:PORT]`, `https://…` or `unix:/PATH`; raises ValueError."""
    if url.startswith("unix:"):
        path = "/" + url.removeprefix("unix:").lstrip("/")
        if path == "/":
            raise ValueError(f"{url!r} names no socket: unix:{SOCKET} would")
        return Address(socket=path)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{url!r} is no http://HOST:PORT, https://HOST:PORT or unix:/PATH")
    if parts.username is not None or parts.password is not None:
        raise ValueError("user and password do not belong into the URL: others can see it")
    if parts.query or parts.fragment:
        raise ValueError(f"{url!r} has more than a host, a port and a path")
    return Address(
        host=parts.hostname,
        port=parts.port or DEFAULT_PORT,
        tls=parts.scheme == "https",
        path=parts.path.rstrip("/") or PATH,
    )


def usual_url(environment: Mapping[str, str]) -> str:
    """Say where a daemon is looked for: $VMCONTROLLER_URL, the Unix socket, the TCP port."""
    if given := environment.get("VMCONTROLLER_URL"):
        return given
    if os.path.exists(SOCKET):
        return f"unix:{SOCKET}"
    return f"http://127.0.0.1:{DEFAULT_PORT}"
