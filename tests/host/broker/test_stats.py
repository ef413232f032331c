"""What the broker counts, and the events that it tells of."""

from __future__ import annotations

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.host.broker.wire import VmBrokerCase
from vmcontroller.common.config import BrokerConfig
from vmcontroller.common.destinations import CONNECTIONS, requests_of
from vmcontroller.common.errors import Unsupported
from vmcontroller.common.model import guest_id
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.service import BrokerService
from vmcontroller.host.broker.stats import Reason, Traffic
from vmcontroller.host.broker_addresses import BrokerAddresses
from vmcontroller.host.xmlrpc.marshal import write_answer

GUEST = guest_id("52:54:00:00:00:01")


class TrafficTests(SynchronousTestCase):
    """The counters alone."""

    def test_rates_of_the_last_ten_seconds(self):
        """Steady traffic shows its rate; ten seconds after it, none."""
        traffic = Traffic()
        for tenth in range(300):
            traffic.look(tenth / 10)
            traffic.frames_in += 5
            traffic.bytes_out += 100
        frames, _, _, octets = traffic.per_s(29.9)
        self.assertTrue(45 <= frames <= 55, frames)
        self.assertTrue(900 <= octets <= 1100, octets)
        self.assertEqual(traffic.per_s(41), (0, 0, 0, 0))

    @given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 1000)), max_size=60))
    def test_never_more_than_has_come(self, steps):
        """A rate is neither negative nor more than all of it in ten seconds."""
        traffic, now = Traffic(), 0.0
        for passed_s, frames in steps:
            now += passed_s
            traffic.look(now)
            traffic.frames_in += frames
            rate = traffic.per_s(now)[0]
            self.assertTrue(0 <= rate <= traffic.frames_in / 10)


class BrokerStatsTests(VmBrokerCase):
    """The whole broker."""

    def setUp(self):
        super().setUp()
        self.events = []
        self.factory._on_event = self.events.append

    def kinds(self):
        return [(event.kind, event.principal) for event in self.events]

    def test_what_there_is(self):
        """Connections, roles, subscriptions and destinations, of now."""
        self.host().subscribe(CONNECTIONS)
        guest = self.guest(1)
        guest.subscribe(requests_of(GUEST))
        self.guest(2)
        self.peer()
        stats = self.factory.stats()
        self.assertEqual(stats.connections, 4)
        self.assertEqual(stats.by_role, {"host": 1, "guest": 2})
        self.assertEqual((stats.subscriptions, stats.destinations), (2, 2))
        guest.lose()
        stats = self.factory.stats()
        self.assertEqual((stats.connections, stats.subscriptions, stats.destinations), (3, 1, 1))

    def test_queues(self):
        """How much waits in queues."""
        self.host().send("/queue/a", bytes(1000))
        stats = self.factory.stats()
        self.assertEqual(stats.queued_messages, 1)
        self.assertGreater(stats.queued_bytes, 1000)

    def test_traffic(self):
        """Frames and bytes are counted each way, and each delivery counts."""
        host, guest = self.host(), self.guest()
        host.subscribe(CONNECTIONS, "0")
        host.subscribe(CONNECTIONS, "1")
        before = self.factory.stats().totals
        guest.send(CONNECTIONS, bytes(1000))
        frames_in, bytes_in, frames_out, bytes_out = (
            new - old for new, old in zip(self.factory.stats().totals, before, strict=True)
        )
        self.assertEqual((frames_in, frames_out), (1, 2))
        self.assertTrue(1000 < bytes_in < 1200 and 2000 < bytes_out < 2600)

    def test_a_second_connection(self):
        """It is an event, and tells which connection is closed and where the other came from."""
        first = self.guest()
        self.guest(host="10.0.0.3")
        self.assertEqual(self.kinds(), [("takeover", f"guest {GUEST}")])
        self.assertEqual(self.events[0].address, first.connection.address)
        self.assertIn("10.0.0.3", self.events[0].detail)
        self.assertEqual(self.factory.stats().drops, {"takeover": 1})

    def test_a_refused_login(self):
        """It is an event; there is no principal yet."""
        self.peer().say("CONNECT", ("accept-version", "1.2"), ("login", "nobody"))
        self.assertEqual(self.kinds(), [("login-refused", "")])

    def test_a_protocol_error(self):
        """It is an event, in a session and before it."""
        self.peer().raw(b"\0")
        self.guest().raw(b"GET / HTTP/1.1\n\n")
        kinds = [("protocol-error", ""), ("protocol-error", f"guest {GUEST}")]
        self.assertEqual(self.kinds(), kinds)

    def test_a_slow_consumer(self):
        """It is an event."""
        self.start(BrokerLimits(outbox_bytes=100_000))
        self.factory._on_event = self.events.append
        host, guest = self.host(), self.guest()
        guest.subscribe(requests_of(GUEST))
        guest.wire.stuck = True
        for _ in range(6):
            host.send(requests_of(GUEST), bytes(50_000))
        self.assertEqual(self.kinds(), [("slow-consumer", f"guest {GUEST}")])

    def test_what_is_only_counted(self):
        """A forbidden destination, silence, and too many connections are no events."""
        guest = self.guest()
        guest.send("/topic/others", b"x")
        self.peer()
        self.clock.advance(11)
        for _ in range(17):
            self.peer()
        drops = self.factory.stats().drops
        self.assertEqual(set(drops), {"access-denied", "silent", "too-many"})
        self.assertEqual(self.events, [])


class AnswerTests(VmBrokerCase):
    """What getBrokerStats answers."""

    def addresses(self, **config):
        broker = BrokerService(reactor=self.clock, rights=self.rights)
        broker.factory = self.factory
        return BrokerAddresses(config=BrokerConfig(**config), broker=broker, hypervisor=None)

    def test_the_answer(self):
        """It can be written as XML-RPC, and names every reason, also those that never came."""
        self.factory.traffic.bytes_in = 5 << 30
        answer = self.addresses(socket="/run/broker").stats()
        self.assertIn(b"<double>5368709120", write_answer(answer))
        self.assertEqual(set(answer["drops"]), set(get_args(Reason)))
        self.assertEqual(answer["listeners"], {"tcp": [], "tls": [], "unix": ["/run/broker"]})
        self.assertEqual(answer["limits"]["connections"], self.factory.limits.connections)

    def test_an_external_broker(self):
        """What it counts is not known here."""
        with self.assertRaises(Unsupported):
            self.addresses(name="external").stats()
