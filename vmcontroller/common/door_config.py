"""The section `xmlrpc` of host.yaml: where programs call, and who may. No I/O."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from vmcontroller.common import settings
from vmcontroller.common.errors import ConfigError
from vmcontroller.common.settings import key

ROLES: Final = ("read", "operate", "exec", "files", "admin")
"""What callers may be; `host.callers` says what each means."""

DEFAULT_SOCKET: Final = "/run/vmcontroller/xmlrpc.sock"
DEFAULT_USERS: Final = "/etc/vmcontroller/users"

_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def roles(value: object) -> tuple[str, ...]:
    """A list of roles, each once."""
    if not isinstance(value, list) or not all(item in ROLES for item in value):
        raise ValueError(f"must be a list of {', '.join(ROLES)}")
    return tuple(role for role in ROLES if role in value)


def host_names(value: object) -> tuple[str, ...]:
    """A list of names or addresses of hosts, without ports."""
    items: list[object] = value if isinstance(value, list) else [None]
    names = [item for item in items if isinstance(item, str) and _HOST_NAME.fullmatch(item)]
    if len(names) != len(items):
        raise ValueError("must be a list of host names, without ports")
    return tuple(name.lower() for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class XmlRpcConfig:
    """`xmlrpc`: where programs call, and who may."""

    listen_on: str = key("127.0.0.1", settings.ip_address, "address of the XML-RPC server")
    port: int = key(50505, settings.whole(0, 65535), "its TCP port; 0 takes a free one")
    anonymous: bool = key(
        False,
        settings.truth,
        "true: whoever reaches the address, which must be loopback, may do everything",
    )
    socket: str = key(
        DEFAULT_SOCKET,
        settings.path_or_empty,
        "a Unix socket beside it, mode 0660; empty is none. Root may do everything on it",
    )
    socket_group: str = key(
        "vmcontroller",
        settings.text,
        "the group whose members may use the socket; empty, or one that is missing: root only",
    )
    socket_roles: tuple[str, ...] = key(
        ("read", "operate", "exec", "files"),
        roles,
        "what they are there, unless the file of users has their names: a list of roles",
    )
    users: str = key(
        DEFAULT_USERS,
        settings.absolute_path,
        "the file of users, which `vmcontroller-host passwd` writes; it may be missing",
    )
    allowed_hosts: tuple[str, ...] = key(
        (), host_names, "names of this host by which clients may call it, beside its addresses"
    )
    tls_certificate: str = key(
        "", settings.path_or_empty, "certificate and chain, a PEM file; the address then wants TLS"
    )
    tls_key: str = key("", settings.path_or_empty, "the key of that, a PEM file")
    tls_client_ca: str = key(
        "",
        settings.path_or_empty,
        "who signs clients' certificates, a PEM file: the user that one names needs no password",
    )
    max_connections: int = key(
        1000,
        settings.whole(16, 65536),
        "connections to the address, and as many to the socket; half of them from one client",
    )
    max_calls_per_client: int = key(
        256,
        settings.whole(1, 65536),
        "calls of one user, or of one address without users, that are under way at once",
    )
    audit_log: str = key(
        "",
        settings.path_or_empty,
        "where each changing call is written down; empty: STATE_DIR/audit.log",
    )

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this host reach the address."""
        return ipaddress.ip_address(self.listen_on).is_loopback

    @property
    def has_tls(self) -> bool:
        """Whether the address wants TLS."""
        return bool(self.tls_certificate)


def check_xmlrpc(config: XmlRpcConfig, source: str) -> None:
    """Raise ConfigError for keys of the section that don't go together.

    That the users of an address which others reach exist is seen when their file is read.
    """
    for one, other in (("tls_certificate", "tls_key"), ("tls_key", "tls_certificate")):
        if getattr(config, one) and not getattr(config, other):
            raise ConfigError(source, f"xmlrpc.{other}", f"must name a file, as {one} is given")
    if config.tls_client_ca and not config.has_tls:
        raise ConfigError(
            source, "xmlrpc.tls_certificate", "must name a file, as tls_client_ca is given"
        )
    if config.is_loopback:
        return
    if config.anonymous:
        raise ConfigError(
            source, "xmlrpc.anonymous", f"must be false, as {config.listen_on} is not loopback"
        )
    if not config.has_tls:
        raise ConfigError(
            source,
            "xmlrpc.tls_certificate",
            f"must name a file, as {config.listen_on} is not loopback: passwords would cross the "
            "network in the clear",
        )
