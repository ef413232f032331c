"""Where the broker listens follows the guests' networks, and outlasts a hypervisor that is away."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.config import BrokerConfig
from vmcontroller.common.credentials import Credential
from vmcontroller.common.errors import DeadlinePassed, HypervisorUnreachable
from vmcontroller.host.broker_addresses import BrokerAddresses


class Listening:
    """As much of a broker as is asked: it listens where it is told to."""

    def __init__(self) -> None:
        self.at: dict[str, int] = {}

    async def listen(self, addresses, port):
        self.at = dict.fromkeys(addresses, port or 4711)
        return {}

    def listening(self):
        return self.at


class Networks:
    """As much of a hypervisor as is asked."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.error: Exception | None = None

    async def guest_networks(self):
        if self.error is not None:
            raise self.error
        return self.addresses


class BrokerAddressesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.broker = Listening()
        self.networks = Networks("192.168.122.1")

    def refreshed(self, **config) -> BrokerAddresses:
        addresses = BrokerAddresses(
            config=BrokerConfig(**config), broker=self.broker, hypervisor=self.networks
        )
        self.refresh(addresses)
        return addresses

    def refresh(self, addresses: BrokerAddresses) -> None:
        self.successResultOf(Deferred.fromCoroutine(addresses.refresh()))

    def test_auto(self) -> None:
        """Loopback and the host's address in each network, as they come and go."""
        addresses = self.refreshed()
        self.assertEqual(self.broker.at, {"127.0.0.1": 61613, "192.168.122.1": 61613})
        self.networks.addresses = ()
        self.refresh(addresses)
        self.assertEqual(self.broker.at, {"127.0.0.1": 61613})

    def test_hypervisor_away(self) -> None:
        """A hypervisor that does not answer takes no guest's broker away."""
        addresses = self.refreshed()
        for error in (HypervisorUnreachable("libvirt", "away"), DeadlinePassed("no answer", 30)):
            self.networks.error = error
            self.refresh(addresses)
            self.assertIn("192.168.122.1", self.broker.at)

    def test_given_addresses(self) -> None:
        """What the configuration names is where it listens, and what guests are told."""
        addresses = self.refreshed(host=("10.0.0.1",))
        self.assertEqual(self.broker.at, {"10.0.0.1": 61613})
        self.assertEqual(tuple(addresses.for_agents().hosts), ("10.0.0.1",))

    def test_any_port_is_the_same_everywhere(self) -> None:
        """With port 0 guests are told the one port that all addresses have."""
        addresses = self.refreshed(port=0)
        self.assertEqual(self.broker.at, {"127.0.0.1": 4711, "192.168.122.1": 4711})
        self.assertEqual(addresses.for_agents().port, 4711)

    def test_external(self) -> None:
        """An external broker is not ours to listen for; guests are told where it is."""
        addresses = self.refreshed(
            name="external",
            host=("mq.example.org",),
            username="host",
            password="the host's own",
            guest_username="guests",
            guest_password="secret",
        )
        self.assertEqual(self.broker.at, {})
        told = addresses.for_agents()
        self.assertEqual((tuple(told.hosts), told.port), (("mq.example.org",), 61613))
        self.assertTrue(told.elsewhere)
        self.assertEqual(told.credential, Credential(login="guests", passcode="secret"))

    def test_external_without_guests_login(self) -> None:
        """The host's own login is never given to guests."""
        addresses = self.refreshed(
            name="external", host=("10.0.0.1",), username="host", password="the host's own"
        )
        self.assertIsNone(addresses.for_agents().credential)
