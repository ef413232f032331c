"""The door's certificate, and whose certificates of clients are taken. Needs the extra `tls`."""

from __future__ import annotations

from typing import Any

from vmcontroller.common.door_config import XmlRpcConfig
from vmcontroller.common.errors import ConfigError
from vmcontroller.host.broker.tls import ServerContext, server_context


def door_context(config: XmlRpcConfig) -> ServerContext:
    """Return the context of the address, with certificates of clients where the config says so.

    A client may show one and need not; one that is not signed as it should be ends the handshake.
    Raises ConfigError for files that can't be read or don't belong together, or without the extra.
    """
    try:
        made = server_context(config.tls_certificate, config.tls_key)
    except ConfigError as error:
        raise ConfigError("xmlrpc", error.key, error.problem) from error
    if config.tls_client_ca:
        _trust(made.getContext(), config.tls_client_ca)
    return made


def _trust(context: Any, authority: str) -> None:
    from OpenSSL import SSL  # noqa: PLC0415 - of the extra `tls`, which is there

    try:
        context.load_verify_locations(authority)
    except SSL.Error as error:
        raise ConfigError(
            "xmlrpc", "tls_client_ca", f"{authority!r} holds no certificate (PEM): {error}"
        ) from error
    context.set_session_id(b"vmcontroller-host")
    context.set_verify(SSL.VERIFY_PEER, _as_verified)


def _as_verified(_connection: Any, _certificate: Any, _number: int, _depth: int, good: int) -> bool:
    """Take what OpenSSL has found, unchanged."""
    return bool(good)
