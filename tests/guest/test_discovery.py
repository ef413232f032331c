"""Where the broker is looked for, and that each attempt looks anew."""

from __future__ import annotations

from twisted.internet import defer
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from vmcontroller.common.config import BrokerClientConfig, GuestConfig, VmConfig
from vmcontroller.common.errors import NotConnected
from vmcontroller.guest.channel import CHANNEL_PATH
from vmcontroller.guest.discovery import (
    LASTED_S,
    NETWORK_FIRST_S,
    BrokerAddress,
    DiscoveredEndpoint,
    Turns,
    Way,
    channel_path,
    choose_broker,
)
from vmcontroller.guest.network import DefaultRoute

TOLD = ("10.9.9.9", 7000)
ROUTES = (
    DefaultRoute(interface="ppp0", gateway=""),
    DefaultRoute(interface="eth0", gateway="192.168.122.1"),
)


class ChoiceTests(SynchronousTestCase):
    """Configuration, hypervisor, gateway: in this order."""

    def test_configuration_first(self) -> None:
        """A configured host is taken whatever the hypervisor says."""
        config = BrokerClientConfig(host="broker.example", port=5)
        chosen = choose_broker(config, TOLD, ROUTES)
        self.assertEqual((chosen.host, chosen.port), ("broker.example", 5))

    def test_hypervisor_next(self) -> None:
        """The hypervisor's word goes before the gateway; its port before ours."""
        chosen = choose_broker(BrokerClientConfig(), TOLD, ROUTES)
        self.assertEqual((chosen.host, chosen.port), ("10.9.9.9", 7000))
        self.assertIn("hypervisor", chosen.why)

    def test_gateway_last(self) -> None:
        """The first route with a gateway, at the configured port."""
        chosen = choose_broker(BrokerClientConfig(port=6), None, ROUTES)
        self.assertEqual((chosen.host, chosen.port), ("192.168.122.1", 6))
        self.assertIn("eth0", chosen.why)

    def test_no_network(self) -> None:
        """Without any of them the attempt fails, saying what is missing."""
        with self.assertRaisesRegex(NotConnected, "no default gateway"):
            choose_broker(BrokerClientConfig(), None, ())


@implementer(IHostnameResolver)
class Resolver:
    """Notes what it is asked, and never answers."""

    def __init__(self, asked: list[str]) -> None:
        self.asked = asked

    def resolveHostName(self, resolutionReceiver, hostName, *args, **kwargs):
        self.asked.append(hostName)
        return resolutionReceiver


class EndpointTests(SynchronousTestCase):
    """Connecting to what was found."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.found: list[BrokerAddress | None] = []
        self.endpoint = DiscoveredEndpoint(self.reactor, self.find)

    def find(self) -> BrokerAddress:
        address = self.found.pop(0)
        if address is None:
            raise NotConnected("no network")
        return address

    def test_looks_anew(self) -> None:
        """An attempt without a network fails; the next one goes where the broker is by then."""
        self.found = [None, BrokerAddress(host="10.0.0.1", port=7, why="test")]
        self.failureResultOf(self.endpoint.connect(Factory.forProtocol(Protocol)), NotConnected)
        self.assertEqual(self.reactor.tcpClients, [])
        self.assertNoResult(self.endpoint.connect(Factory.forProtocol(Protocol)))
        self.assertEqual(self.reactor.tcpClients[0][:2], ("10.0.0.1", 7))

    def test_ipv6_scope(self) -> None:
        """A link-local gateway keeps its scope, without which it can't be reached."""
        self.found = [BrokerAddress(host="fe80::1%eth0", port=7, why="test")]
        self.assertNoResult(self.endpoint.connect(Factory.forProtocol(Protocol)))
        self.assertEqual(self.reactor.tcpClients[0][:2], ("fe80::1%eth0", 7))

    def test_name(self) -> None:
        """A name is left to the reactor's resolver."""
        self.found = [BrokerAddress(host="broker.example", port=8, why="test")]
        asked: list[str] = []
        self.reactor.installNameResolver(Resolver(asked))
        self.assertNoResult(self.endpoint.connect(Factory.forProtocol(Protocol)))
        self.assertEqual(asked, ["broker.example"])

    def test_connected(self) -> None:
        """The protocol is handed over once there is a connection."""
        self.found = [BrokerAddress(host="10.0.0.1", port=7, why="test")]
        connecting = self.endpoint.connect(Factory.forProtocol(Protocol))
        factory = self.reactor.tcpClients[0][2]
        protocol = factory.buildProtocol(IPv4Address("TCP", "10.0.0.1", 7))
        protocol.makeConnection(None)
        self.assertIsInstance(self.successResultOf(connecting), Protocol)


class ChannelPathTests(SynchronousTestCase):
    def test_configured(self) -> None:
        """`auto` goes with a broker that is looked for; a path is a path, `none` is none."""
        named = BrokerClientConfig(host="broker.example")
        for channel, broker, expected in (
            ("auto", BrokerClientConfig(), CHANNEL_PATH),
            ("auto", named, ""),
            ("none", BrokerClientConfig(), ""),
            ("/dev/ttyS1", named, "/dev/ttyS1"),
        ):
            config = GuestConfig(broker=broker, vm=VmConfig(channel=channel))
            self.assertEqual(channel_path(config), expected)


class TurnTests(SynchronousTestCase):
    """Network or channel, for one attempt after the other."""

    def ways(self, turns: Turns, *times_s: float, **known: bool) -> list[Way]:
        known = {"has_network": True, "is_known": True, **known}
        return [turns.next(time_s, **known) for time_s in times_s]

    def test_network_may_take_its_time(self) -> None:
        """A guest with a network tries that alone for a while, then both in turn."""
        early = self.ways(Turns(), 0, 1, NETWORK_FIRST_S - 0.1)
        self.assertEqual(early, [Way.NETWORK] * 3)
        late = NETWORK_FIRST_S
        self.assertEqual(
            self.ways(Turns(), 0, late, late + 1, late + 2),
            [Way.NETWORK, Way.CHANNEL, Way.NETWORK, Way.CHANNEL],
        )

    def test_no_network(self) -> None:
        """A guest without one tries the channel first, and at once both in turn."""
        self.assertEqual(
            self.ways(Turns(), 0, 1, 2, has_network=False),
            [Way.CHANNEL, Way.NETWORK, Way.CHANNEL],
        )

    def test_no_address(self) -> None:
        """Where no address is known there is the channel alone."""
        self.assertEqual(self.ways(Turns(), 0, 1, 60, is_known=False), [Way.CHANNEL] * 3)

    def test_what_was_good_is_first(self) -> None:
        """A connection that lasted is looked for again where it was."""
        turns = Turns()
        self.ways(turns, 0, NETWORK_FIRST_S)
        lost = NETWORK_FIRST_S + LASTED_S
        self.assertEqual(
            self.ways(turns, lost, lost + 1, lost + 2), [Way.CHANNEL, Way.NETWORK, Way.CHANNEL]
        )
        turns = Turns()
        self.ways(turns, 0)
        self.assertEqual(self.ways(turns, LASTED_S, LASTED_S + 1), [Way.NETWORK] * 2)


class FakeChannel:
    """A channel that may be there, and notes who calls."""

    path = "/dev/port"

    def __init__(self) -> None:
        self.there = True
        self.calls = 0

    def is_there(self) -> bool:
        return self.there

    def connect(self, protocolFactory):
        self.calls += 1
        return defer.fail(NotConnected("nobody"))


class ChannelTests(SynchronousTestCase):
    """Two ways, and which is taken."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.channel = FakeChannel()
        self.address: BrokerAddress | None = None
        self.has_network = False
        self.endpoint = DiscoveredEndpoint(
            self.reactor, self.find, channel=self.channel, has_network=lambda: self.has_network
        )

    def find(self) -> BrokerAddress:
        if self.address is None:
            raise NotConnected("no network")
        return self.address

    def attempt(self):
        return self.endpoint.connect(Factory.forProtocol(Protocol))

    def test_channel_alone(self) -> None:
        """Without a network the channel is the way."""
        self.failureResultOf(self.attempt(), NotConnected)
        self.assertEqual((self.channel.calls, self.reactor.tcpClients), (1, []))

    def test_no_channel_on_this_machine(self) -> None:
        """Where there is no such device it is as without one."""
        self.channel.there = False
        error = self.failureResultOf(self.attempt(), NotConnected)
        self.assertIn("no network", str(error.value))
        self.address = BrokerAddress(host="10.0.0.1", port=7, why="test")
        self.assertNoResult(self.attempt())
        self.assertEqual((self.channel.calls, len(self.reactor.tcpClients)), (0, 1))

    def test_network_that_leads_nowhere(self) -> None:
        """After a while without an answer over the network the channel has its turn."""
        self.has_network = True
        self.address = BrokerAddress(host="10.0.0.1", port=7, why="test")
        for _ in range(2):
            self.attempt()
            self.reactor.advance(NETWORK_FIRST_S / 2)
        self.assertEqual((self.channel.calls, len(self.reactor.tcpClients)), (0, 2))
        self.failureResultOf(self.attempt(), NotConnected)
        self.assertEqual(self.channel.calls, 1)

    def test_once_more_by_the_network(self) -> None:
        """A second connection goes where the last one went, and asks nobody where that is."""
        self.has_network = True
        self.address = BrokerAddress(host="10.0.0.1", port=7, why="test")
        self.attempt()
        self.address = BrokerAddress(host="10.0.0.2", port=8, why="moved")
        way = self.endpoint.once_more()
        assert way is not None
        way.connect(Factory.forProtocol(Protocol))
        self.assertEqual([client[:2] for client in self.reactor.tcpClients], [("10.0.0.1", 7)] * 2)

    def test_not_once_more_by_the_channel(self) -> None:
        """A channel is one stream; nor is there a second before there was a first."""
        self.assertIsNone(self.endpoint.once_more())
        self.failureResultOf(self.attempt(), NotConnected)
        self.assertIsNone(self.endpoint.once_more())
