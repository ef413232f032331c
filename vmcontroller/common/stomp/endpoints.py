"""The ways to a broker over TCP, and over TLS with its certificate verified."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet import abstract
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.interfaces import IStreamClientEndpoint

from vmcontroller.common.errors import ConfigError

CONNECT_TIMEOUT_S = 10


def tcp_endpoint(reactor: Any, host: str, port: int) -> IStreamClientEndpoint:
    """Return the way to a host given by name or address.

    Addresses need no resolver, and with it no pool of threads.
    """
    if abstract.isIPAddress(host):
        return TCP4ClientEndpoint(reactor, host, port, CONNECT_TIMEOUT_S)
    if abstract.isIPv6Address(host):
        return TCP6ClientEndpoint(reactor, host, port, CONNECT_TIMEOUT_S)  # type: ignore[no-untyped-call]
    return HostnameEndpoint(reactor, host, port, CONNECT_TIMEOUT_S)


def tls_endpoint(
    plain: IStreamClientEndpoint, host: str, authority: str = ""
) -> IStreamClientEndpoint:
    """Return the way through `plain` to `host`, whose certificate must be for that name or address.

    `authority` is a file with the certificates (PEM) that are trusted; empty: the system's.
    Raises ConfigError for one that can't be read, or without the extra `tls`.
    """
    try:
        # A guest that does without need not have it, nor wait for its import.
        from OpenSSL import crypto  # noqa: PLC0415
        from twisted.internet.endpoints import wrapClientTLS  # noqa: PLC0415
        from twisted.internet.ssl import (  # noqa: PLC0415
            Certificate,
            optionsForClientTLS,
            trustRootFromCertificates,
        )
    except ImportError as error:
        raise ConfigError(
            "broker", "tls", f"TLS needs the extra 'vmcontroller[tls]': {error}"
        ) from error
    root: Any = None
    if authority:
        try:
            found = _certificates_of(Path(authority).read_bytes())
            root = trustRootFromCertificates([Certificate.loadPEM(pem) for pem in found])  # type: ignore[no-untyped-call]
        except (OSError, crypto.Error) as error:
            raise ConfigError("broker", "tls_ca", f"{authority}: {error}") from error
    wrapped: IStreamClientEndpoint = wrapClientTLS(
        optionsForClientTLS(host, trustRoot=root),
        plain,
    )
    return wrapped


def _certificates_of(text: bytes) -> list[bytes]:
    """Return the certificates of a PEM file, one by one."""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    return [
        begin + part.partition(end)[0] + end + b"\n"
        for part in text.split(begin)[1:]
        if end in part
    ]
