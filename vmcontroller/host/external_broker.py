"""The way to a broker that is somebody else's: where it is, and what the host logs in with."""

from __future__ import annotations

from typing import Any

from twisted.internet import abstract
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint

from vmcontroller.common.config import BrokerConfig
from vmcontroller.common.stomp.client import Credentials

CONNECT_TIMEOUT_S = 10


def endpoint_of(config: BrokerConfig, reactor: Any) -> IStreamClientEndpoint:
    """Return the way to the external broker of this configuration."""
    [host] = config.host
    # Addresses need no resolver, and with it no pool of threads.
    if abstract.isIPAddress(host):
        return TCP4ClientEndpoint(reactor, host, config.port, CONNECT_TIMEOUT_S)
    if abstract.isIPv6Address(host):
        return TCP6ClientEndpoint(  # type: ignore[no-untyped-call]
            reactor, host, config.port, CONNECT_TIMEOUT_S
        )
    return HostnameEndpoint(reactor, host, config.port, CONNECT_TIMEOUT_S)


def credentials_of(config: BrokerConfig) -> Credentials:
    """Return what the host's CONNECT says."""
    return Credentials(login=config.username, passcode=config.password)
