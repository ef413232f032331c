"""Finding the broker: by the configuration, the hypervisor, the default gateway; or the channel."""

from __future__ import annotations

import enum
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet import defer
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTCP,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.logger import Logger
from zope.interface import implementer

from vmcontroller.common.config import BrokerClientConfig, GuestConfig
from vmcontroller.common.errors import ConfigError, NotConnected
from vmcontroller.common.stomp.endpoints import tcp_endpoint
from vmcontroller.guest import network
from vmcontroller.guest.channel import CHANNEL_PATH, ChannelEndpoint
from vmcontroller.guest.network import DefaultRoute
from vmcontroller.guest.told import read_told

NETWORK_FIRST_S = 15.0
"""A network may come up later than the agent: it is tried alone for so long."""

LASTED_S = 30.0
"""A connection that was there for so long was a good one: its way is the first to try again."""


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


def has_network() -> bool:
    """Tell whether this guest has any interface but loopback."""
    return any(name != "lo" for _, name in socket.if_nameindex())


def channel_path(config: GuestConfig) -> str:
    """Return the path of the channel that may be used; empty where none may."""
    if config.vm.channel == "auto":
        return CHANNEL_PATH if config.broker.host == "auto" else ""
    return "" if config.vm.channel == "none" else config.vm.channel


class Way(enum.Enum):
    """By what the daemon is reached."""

    NETWORK = "network"
    CHANNEL = "channel"


class Turns:
    """Chooses the way of the next attempt where there are two. Pure, but remembers.

    First the one that was good last, else the network of a guest that has one; then in turn.
    """

    def __init__(self) -> None:
        self._good: Way | None = None
        self._last: Way | None = None
        self._last_s = 0.0
        self._first_s = 0.0
        """When the attempts began of which none was good."""

    def next(self, now_s: float, *, has_network: bool, is_known: bool) -> Way:
        """Return the way of an attempt that is made now.

        `is_known` tells whether there is an address to try over the network.
        """
        if self._last is not None and now_s - self._last_s >= LASTED_S:
            self._good, self._last = self._last, None
        if self._last is None:
            self._first_s = now_s
        way = self._choose(now_s, has_network) if is_known else Way.CHANNEL
        self._last, self._last_s = way, now_s
        return way

    def _choose(self, now_s: float, has_network: bool) -> Way:
        first = self._good or (Way.NETWORK if has_network else Way.CHANNEL)
        if self._last is None:
            return first
        is_early = now_s - self._first_s < NETWORK_FIRST_S
        if has_network and first is Way.NETWORK and is_early:
            return Way.NETWORK
        return Way.CHANNEL if self._last is Way.NETWORK else Way.NETWORK


class IDiscoveryReactor(IReactorTCP, IReactorTime):
    """What is needed of the reactor here."""


@implementer(IStreamClientEndpoint)
class DiscoveredEndpoint:
    """Looks for the broker anew at each attempt: the network may come, or change, meanwhile."""

    _log = Logger()

    def __init__(
        self,
        reactor: IDiscoveryReactor,
        find: Callable[[], BrokerAddress],
        *,
        channel: ChannelEndpoint | None = None,
        over_tls: Callable[[IStreamClientEndpoint, str], IStreamClientEndpoint] | None = None,
        has_network: Callable[[], bool] = has_network,
    ) -> None:
        """Without `channel` there is the network alone; `over_tls` wraps the way to a host."""
        self._reactor = reactor
        self._find = find
        self._channel = channel
        self._over_tls = over_tls
        self._has_network = has_network
        self._turns = Turns()
        self._last: BrokerAddress | str | None = None

    def connect(self, protocolFactory: IProtocolFactory) -> defer.Deferred[IProtocol]:
        """Connect to where the broker is now; fails, and never raises."""
        address, problem = self._found()
        channel = self._channel
        if channel is not None and channel.is_there():
            way = self._turns.next(
                self._reactor.seconds(),
                has_network=self._has_network(),
                is_known=address is not None,
            )
            if address is None or way is Way.CHANNEL:
                return self._by_channel(channel, protocolFactory)
        return self._by_network(address, protocolFactory) if address else defer.fail(problem)

    def _found(self) -> tuple[BrokerAddress | None, NotConnected | None]:
        try:
            return self._find(), None
        except NotConnected as error:
            return None, error

    def _by_channel(
        self, channel: ChannelEndpoint, factory: IProtocolFactory
    ) -> defer.Deferred[IProtocol]:
        if channel.path != self._last:
            self._log.info("the broker is tried on the channel {path}", path=channel.path)
            self._last = channel.path
        return channel.connect(factory)

    def _by_network(
        self, address: BrokerAddress, factory: IProtocolFactory
    ) -> defer.Deferred[IProtocol]:
        if address != self._last:
            self._log.info(
                "the broker is {host} port {port}: {why}",
                host=address.host,
                port=address.port,
                why=address.why,
            )
            self._last = address
        try:
            endpoint = self._endpoint(address)
        except ConfigError:  # the file may be mended
            return defer.fail()
        connecting: defer.Deferred[IProtocol] = endpoint.connect(factory)
        return connecting

    def once_more(self) -> IStreamClientEndpoint | None:
        """Return the way by which the last connection went; None if that can carry but one.

        Raises ConfigError as `over_tls` does.
        """
        return self._endpoint(self._last) if isinstance(self._last, BrokerAddress) else None

    def _endpoint(self, address: BrokerAddress) -> IStreamClientEndpoint:
        plain = tcp_endpoint(self._reactor, address.host, address.port)
        return plain if self._over_tls is None else self._over_tls(plain, address.host)
