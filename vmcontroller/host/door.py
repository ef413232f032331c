"""The door of the daemon: where programs call."""

# Twisted's endpoints have few annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from typing import Any

from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.logger import Logger

from vmcontroller.common.config import XmlRpcConfig
from vmcontroller.common.errors import ConfigError
from vmcontroller.host.xmlrpc.operations_protocol import Operations
from vmcontroller.host.xmlrpc.resource import site

_log = Logger()


async def open_door(
    config: XmlRpcConfig, operations: Operations, reactor: Any
) -> list[IListeningPort]:
    """Listen where the configuration says; return the ports, which are the caller's to close.

    Raises ConfigError when the address can't be had.
    """
    if not config.anonymous:
        _log.warn(
            "XML-RPC listens nowhere: users are not there yet, and without them an address "
            "opens only with `xmlrpc: {{anonymous: true}}`"
        )
        return []
    _log.warn(
        "XML-RPC on {address} port {port} is ANONYMOUS: whoever reaches it may do everything",
        address=config.listen_on,
        port=config.port,
    )
    kind = TCP6ServerEndpoint if ":" in config.listen_on else TCP4ServerEndpoint
    endpoint = kind(reactor, config.port, interface=config.listen_on)
    try:
        return [await endpoint.listen(site(operations, reactor))]
    except CannotListenError as error:
        raise ConfigError(
            "xmlrpc", f"{config.listen_on}:{config.port}", f"cannot listen: {error.socketError}"
        ) from error
