"""The way to a broker that is somebody else's: where it is, and what the host logs in with."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IStreamClientEndpoint

from vmcontroller.common.config import BrokerConfig
from vmcontroller.common.stomp.client import Credentials
from vmcontroller.common.stomp.endpoints import tcp_endpoint, tls_endpoint


def endpoint_of(config: BrokerConfig, reactor: Any) -> IStreamClientEndpoint:
    """Return the way to the external broker of this configuration.

    Raises ConfigError where it wants TLS and that can't be had.
    """
    [host] = config.host
    plain = tcp_endpoint(reactor, host, config.port)
    return tls_endpoint(plain, host, config.tls_ca) if config.tls else plain


def credentials_of(config: BrokerConfig) -> Credentials:
    """Return what the host's CONNECT says."""
    return Credentials(login=config.username, passcode=config.password)
