"""Where the broker is looked for, and that each attempt looks anew."""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHostnameResolver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from vmcontroller.common.config import BrokerClientConfig
from vmcontroller.common.errors import NotConnected
from vmcontroller.guest.discovery import BrokerAddress, DiscoveredEndpoint, choose_broker
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
