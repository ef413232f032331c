"""Where the broker listens, and how it stops, on a reactor in memory."""

from __future__ import annotations

from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.host.broker.wire import Peer
from vmcontroller.host.broker.rights import OpenRights
from vmcontroller.host.broker.service import BrokerService


class PickyReactor(MemoryReactorClock):
    """Cannot listen on addresses that are `absent`."""

    def __init__(self):
        super().__init__()
        self.absent = set()
        self.open = []

    def listenTCP(self, port, factory, backlog=50, interface=""):
        if interface in self.absent:
            raise CannotListenError(interface, port, OSError(99, "Cannot assign requested address"))
        listening = super().listenTCP(port, factory, backlog, interface)
        self.open.append((interface, port))

        def stop():
            self.open.remove((interface, port))

        listening.stopListening = stop
        listening.getHost().port = port
        return listening


class ListenTests(SynchronousTestCase):
    def setUp(self):
        self.reactor = PickyReactor()
        self.service = BrokerService(reactor=self.reactor, rights=OpenRights())
        self.service.startService()

    def listen(self, *addresses, port=61613):
        return self.successResultOf(self.service.listen(addresses, port))

    def test_listens_nowhere_by_itself(self):
        """Where is the caller's decision."""
        self.assertEqual((self.reactor.open, self.service.listening()), ([], {}))

    def test_exactly_these(self):
        """Opens what is new, closes what is gone, leaves the rest; a repetition changes nothing."""
        self.assertEqual(self.listen("127.0.0.1", "192.168.122.1"), {})
        self.assertEqual(self.service.listening(), {"127.0.0.1": 61613, "192.168.122.1": 61613})
        self.listen("127.0.0.1", "192.168.122.1")
        self.assertEqual(len(self.reactor.tcpServers), 2)
        self.listen("127.0.0.1", "10.0.0.1", "127.0.0.1")
        self.assertEqual(self.reactor.open, [("127.0.0.1", 61613), ("10.0.0.1", 61613)])
        self.assertEqual(len(self.reactor.tcpServers), 3)

    def test_another_port(self):
        """Closes all and opens them anew."""
        self.listen("127.0.0.1", "10.0.0.1")
        self.listen("127.0.0.1", port=61614)
        self.assertEqual(self.reactor.open, [("127.0.0.1", 61614)])

    def test_an_address_that_is_not_there(self):
        """Is reported; the others are open, and it is tried again next time."""
        self.reactor.absent = {"192.168.122.1"}
        failed = self.listen("192.168.122.1", "127.0.0.1")
        self.assertEqual(list(failed), ["192.168.122.1"])
        self.assertIn("Cannot assign requested address", failed["192.168.122.1"])
        self.assertEqual(list(self.service.listening()), ["127.0.0.1"])
        self.reactor.absent = set()
        self.assertEqual(self.listen("192.168.122.1", "127.0.0.1"), {})
        self.assertEqual(len(self.service.listening()), 2)

    def test_a_long_backlog(self):
        """All guests of a host come back at once when it restarts."""
        self.listen("127.0.0.1")
        self.assertGreaterEqual(self.reactor.tcpServers[0][2], 1000)

    def test_stop(self):
        """Closes the addresses, tells the peers, and waits until they are gone."""
        self.listen("127.0.0.1")
        peer = Peer(self.service.factory.buildProtocol(None))
        peer.connect()
        stopped = self.service.stopService()
        self.assertEqual(self.reactor.open, [])
        self.assertIn("stopping", peer.error().header("message"))
        self.assertNoResult(stopped)
        late = Peer(self.service.factory.buildProtocol(None), 2)
        late.error()
        peer.lose()
        late.lose()
        self.successResultOf(stopped)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_stop_without_peers(self):
        """At once."""
        self.listen("127.0.0.1")
        self.successResultOf(self.service.stopService())
