"""Who is at the other end of a connection: an address, an account of this host, a certificate."""

# Twisted's transports have few annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import contextlib
import ipaddress
import socket
import struct
from typing import Any, Final

from twisted.internet.address import UNIXAddress

from vmcontroller.host.xmlrpc.gate import Peer

_SO_PEERGROUPS: Final = 59
"""Of Linux; the module socket has no name for it."""
_GROUPS_MAX_BYTES: Final = 1024
"""All that Python reads: 256 groups."""


def peer_of(transport: Any) -> Peer:
    """Return who has connected."""
    if isinstance(transport.getHost(), UNIXAddress):
        return _account_of(transport.socket)
    there = transport.getPeer()
    return Peer(key=_client_of(there.host), address=f"{there.host}:{there.port}")


def _client_of(address: str) -> str:
    """Return whom an address belongs to: of IPv6 everybody has a whole network."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ip) if ip.is_loopback else str(ipaddress.ip_network((ip, 64), strict=False))


def _account_of(connection: socket.socket) -> Peer:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    process, uid, gid = struct.unpack("3i", credentials)
    groups = {gid}
    with contextlib.suppress(OSError):  # an older kernel, or more groups than that
        octets = connection.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, _GROUPS_MAX_BYTES)
        groups.update(struct.unpack(f"{len(octets) // 4}i", octets))
    return Peer(
        key=f"uid {uid}",
        address=f"unix, uid {uid}, process {process}",
        uid=uid,
        gids=frozenset(groups),
    )


def certified_name(transport: Any) -> str:
    """Return the common name of the certificate that the client has shown; '' if there is none.

    It has been verified: the handshake ends otherwise.
    """
    certificate = getattr(transport, "getPeerCertificate", lambda: None)()
    if certificate is None:
        return ""
    from cryptography.x509.oid import NameOID  # noqa: PLC0415 - of the extra `tls`

    subject = certificate.to_cryptography().subject
    names = subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else ""
