"""The broker's certificate for TLS. Needs the extra `tls`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.interfaces import IOpenSSLContextFactory
from zope.interface import implementer

from vmcontroller.common.errors import ConfigError


@implementer(IOpenSSLContextFactory)
class ServerContext:
    """Hands out one context, made beforehand."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def getContext(self) -> Any:
        """Return the OpenSSL.SSL.Context."""
        return self._context


def server_context(certificate: str, key: str) -> ServerContext:
    """Return the context factory of a server with this certificate chain and key (PEM files).

    TLS 1.2 is the oldest it speaks. Raises ConfigError for files that can't be read or don't belong
    together, or without the extra.
    """
    try:
        from OpenSSL import SSL  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigError(
            "broker", "tls_port", f"TLS needs the extra 'vmcontroller[tls]': {error}"
        ) from error
    _check_readable("tls_certificate", certificate)
    _check_readable("tls_key", key)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    try:
        context.use_certificate_chain_file(certificate)
    except SSL.Error as error:
        raise ConfigError(
            "broker", "tls_certificate", f"{certificate!r} holds no certificate (PEM): {error}"
        ) from error
    try:
        context.use_privatekey_file(key)
        context.check_privatekey()
    except SSL.Error as error:
        raise ConfigError(
            "broker", "tls_key", f"{key!r} is not the key of {certificate!r}, or no PEM: {error}"
        ) from error
    return ServerContext(context)


def _check_readable(name: str, path: str) -> None:
    try:
        with Path(path).open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ConfigError("broker", name, f"{path!r} cannot be read: {error.strerror}") from error
