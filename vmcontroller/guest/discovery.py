"""Finding the broker: what the configuration says, or the hypervisor, or the default gateway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet import abstract, defer
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
)
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTCP,
    IStreamClientEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from vmcontroller.common.config import BrokerClientConfig, GuestConfig
from vmcontroller.common.errors import NotConnected
from vmcontroller.guest import network
from vmcontroller.guest.network import DefaultRoute
from vmcontroller.guest.told import read_told

CONNECT_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerAddress:
    """Where the broker is thought to be."""

    host: str
    port: int
    why: str


def choose_broker(
    config: BrokerClientConfig, told: tuple[str, int] | None, routes: Sequence[DefaultRoute]
) -> BrokerAddress:
    """Choose: from the configuration, else what the guest is told, else the default routes.

    Raises NotConnected when none of them names a host.
    """
    if config.host != "auto":
        return BrokerAddress(host=config.host, port=config.port, why="the configuration says so")
    if told is not None:
        host, port = told
        return BrokerAddress(host=host, port=port, why="the hypervisor says so")
    for route in routes:
        if route.gateway:
            why = f"it is the default gateway, through {route.interface}"
            return BrokerAddress(host=route.gateway, port=config.port, why=why)
    raise NotConnected(
        "the broker is not known: broker.host is auto, the hypervisor tells no address, and "
        "there is no default gateway (yet)"
    )


def find_broker(config: GuestConfig) -> BrokerAddress:
    """Choose by what this guest knows right now; raises NotConnected."""
    told = read_told(config.vm).broker if config.broker.host == "auto" else None
    return choose_broker(config.broker, told, network.read_default_routes())


@implementer(IStreamClientEndpoint)
class DiscoveredEndpoint:
    """Looks for the broker anew at each attempt: the network may come, or change, meanwhile."""

    _log = Logger()

    def __init__(self, reactor: IReactorTCP, find: Callable[[], BrokerAddress]) -> None:
        self._reactor = reactor
        self._find = find
        self._last: BrokerAddress | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> defer.Deferred[IProtocol]:
        """Connect to where the broker is now; fails, and never raises."""
        try:
            address = self._find()
        except NotConnected:
            return defer.fail()
        if address != self._last:
            self._log.info(
                "the broker is {host} port {port}: {why}",
                host=address.host,
                port=address.port,
                why=address.why,
            )
            self._last = address
        connecting: defer.Deferred[IProtocol] = self._endpoint(address).connect(protocolFactory)
        return connecting

    def _endpoint(self, address: BrokerAddress) -> IStreamClientEndpoint:
        # Addresses need no resolver, and with it no pool of threads.
        if abstract.isIPAddress(address.host):
            return TCP4ClientEndpoint(self._reactor, address.host, address.port, CONNECT_TIMEOUT_S)
        if abstract.isIPv6Address(address.host):
            return TCP6ClientEndpoint(  # type: ignore[no-untyped-call]
                self._reactor, address.host, address.port, CONNECT_TIMEOUT_S
            )
        return HostnameEndpoint(self._reactor, address.host, address.port, CONNECT_TIMEOUT_S)
