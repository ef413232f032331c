"""The way to an external broker: an address, of either kind, or a name."""

from __future__ import annotations

from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.config import BrokerConfig
from vmcontroller.host.external_broker import credentials_of, endpoint_of


def config(host: str) -> BrokerConfig:
    return BrokerConfig(
        name="external", host=(host,), port=4711, username="host", password="secret"
    )


class ExternalBrokerTests(SynchronousTestCase):
    def test_addresses(self) -> None:
        """An address is connected to as it is, without a resolver."""
        for host in ("10.9.9.9", "fd00::9"):
            reactor = MemoryReactorClock()
            endpoint_of(config(host), reactor).connect(Factory())
            [(address, port, *_)] = reactor.tcpClients
            self.assertEqual((address, port), (host, 4711))

    def test_name(self) -> None:
        """A name is looked up at each attempt, as its address may change."""
        endpoint = endpoint_of(config("mq.example.org"), MemoryReactorClock())
        self.assertIsInstance(endpoint, HostnameEndpoint)

    def test_credentials(self) -> None:
        """The host logs in as itself, and not as its guests do."""
        found = credentials_of(config("10.9.9.9"))
        self.assertEqual((found.login, found.passcode, found.host), ("host", "secret", "/"))
