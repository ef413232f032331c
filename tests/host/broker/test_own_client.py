"""The daemon's own session: what it says and hears without octets, in order, bounded, in turns."""

from __future__ import annotations

from twisted.internet.defer import Deferred

from tests.host.broker.wire import VmBrokerCase
from vmcontroller.common.destinations import (
    CONNECTION_KIND,
    CONNECTIONS,
    KIND_BULK,
    RESPONSES,
    bulk_of,
    requests_of,
)
from vmcontroller.common.errors import NotConnected, ProtocolError
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.own_client import OwnClient

GUEST = "52:54:00:00:00:01"


class OwnClientCase(VmBrokerCase):
    def start(self, limits):
        super().start(limits)
        self.heard = []
        self.events = []
        self.client = OwnClient(
            broker=self.factory,
            clock=self.clock,
            subscriptions=(CONNECTIONS, RESPONSES),
            on_message=self.hear,
            on_connected=lambda: self.events.append("connected"),
            on_lost=self.events.append,
        )
        self.client.startService()
        self.clock.advance(0)

    def hear(self, message):
        self.heard.append(message)
        if message.body == b"a word that makes it stumble":
            raise ValueError(message.body)

    def bodies(self):
        return [message.body for message in self.heard]

    def bulk(self):
        """Return a guest's connection for bulk."""
        peer = self.peer()
        peer.connect(login=GUEST, **{CONNECTION_KIND: KIND_BULK})
        peer.subscribe(bulk_of(GUEST))
        return peer


class SessionTests(OwnClientCase):
    def test_there_and_back(self):
        """Headers of any kind arrive as they were sent; `from` is the broker's."""
        guest = self.guest()
        guest.subscribe(requests_of(GUEST))
        self.client.send(requests_of(GUEST), b"PING", {"to": "a:b\\\n", "ping-id": "1"})
        [frame] = guest.hear()
        self.assertEqual((frame.body, frame.header("to")), (b"PING", "a:b\\\n"))
        guest.send(RESPONSES, b"PONG", **{"ping-id": "1:2", "from": "somebody else"})
        self.assertEqual(self.heard, [])
        self.clock.advance(0)
        [message] = self.heard
        self.assertEqual(message.destination, RESPONSES)
        self.assertEqual((message.headers["from"], message.headers["ping-id"]), (GUEST, "1:2"))

    def test_the_first_of_repeated_headers(self):
        """Counts, as everywhere in STOMP."""
        guest = self.guest()
        guest.say("SEND", ("destination", RESPONSES), ("a", "1"), ("a", "2"))
        self.clock.advance(0)
        self.assertEqual(self.heard[0].headers["a"], "1")

    def test_it_is_counted(self):
        """As the host, with its frames and bytes."""
        self.guest().send(RESPONSES, b"four")
        stats = self.factory.stats()
        self.assertEqual(stats.by_role, {"host": 1, "guest": 1})
        self.assertEqual(stats.totals[2:], (2, stats.totals[3]))  # CONNECTED, and the message
        self.client.send(requests_of(GUEST), b"four", {})
        self.assertEqual(self.factory.stats().totals[1] - stats.totals[1], 4)

    def test_connected_comes_first(self):
        """Before any message, but not within the start."""
        self.client.stopService()
        self.client.startService()
        self.guest().send(RESPONSES, b"x")
        self.assertEqual((self.events, self.heard), (["connected"], []))
        self.clock.advance(0)
        self.assertEqual((self.events, self.bodies()), (["connected"] * 2, [b"x"]))

    def test_a_callback_that_fails(self):
        """Is logged; the next message is heard."""
        guest = self.guest()
        guest.send(RESPONSES, b"a word that makes it stumble")
        guest.send(RESPONSES, b"another")
        self.clock.advance(0)
        self.assertEqual(self.bodies()[1:], [b"another"])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_header_that_cannot_be_carried(self):
        """Is the caller's error, and the guest's session stays."""
        guest = self.guest()
        guest.subscribe(requests_of(GUEST))
        self.assertRaises(ProtocolError, self.client.send, requests_of(GUEST), b"", {"a": "\0"})
        self.assertFalse(guest.is_closing)

    def test_stopped(self):
        """Nothing is heard or said after it; guests stay."""
        guest = self.guest()
        guest.send(RESPONSES, b"x")
        self.successResultOf(self.client.stopService())
        self.clock.advance(0)
        self.assertEqual((self.heard, self.events), ([], ["connected"]))
        self.assertRaises(NotConnected, self.client.send, requests_of(GUEST), b"", {})
        self.failureResultOf(Deferred.fromCoroutine(self.client.room(GUEST)), NotConnected)
        self.assertFalse(guest.is_closing)
        self.assertEqual(self.factory.stats().by_role, {"guest": 1})

    def test_the_broker_stops(self):
        """Its end is told, with the reason."""
        closing = self.factory.close()
        self.assertEqual(self.events, ["connected", "the broker is stopping"])
        self.successResultOf(closing)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class TurnTests(OwnClientCase):
    def test_words_before_bytes(self):
        """A ping's answer is not behind what a copy sends, whichever came first."""
        guest, bulk = self.guest(), self.bulk()
        for _ in range(3):
            bulk.send(RESPONSES, b"bytes")
        guest.send(RESPONSES, b"PONG")
        self.clock.advance(0)
        self.assertEqual(self.bodies(), [b"PONG"] + [b"bytes"] * 3)

    def turns(self):
        """Return the bodies of each turn; between two of them others have theirs."""
        turns = []
        while not self.client.outbox.is_free:
            turns.append([message.body for message in self.client.outbox.turn()])
        return turns

    def test_bytes_in_turns(self):
        """Half a MiB, or one message, then whatever else the reactor has to do."""
        self.guest()
        bulk = self.bulk()
        for _ in range(5):
            bulk.send(RESPONSES, bytes(300_000))
        self.assertEqual([len(turn) for turn in self.turns()], [2, 2, 1])

    def test_words_in_turns(self):
        """Sixty-four at once."""
        guest = self.guest()
        bodies = [b"%d" % number for number in range(60)]
        for _ in range(3):
            for body in bodies:
                guest.send(RESPONSES, body)
            self.clock.advance(0.0001)
        self.assertEqual(self.bodies(), bodies * 3)

    def test_a_turn_of_words(self):
        """Sixty-four, of however many guests."""
        for number in range(1, 5):
            guest = self.guest(number)
            for _ in range(40):
                guest.send(RESPONSES, b"x")
        self.assertEqual([len(turn) for turn in self.turns()], [64, 64, 32])

    def test_too_much(self):
        """Who sends while too much waits is not read until all of it has been heard."""
        self.start(BrokerLimits(outbox_bytes=100_000))
        guest, other = self.guest(1), self.guest(2)
        guest.send(RESPONSES, bytes(150_000))
        self.assertTrue(guest.connection.is_unread)
        other.send(RESPONSES, b"late")
        self.assertTrue(other.connection.is_unread)
        self.clock.advance(0)
        self.assertFalse(guest.connection.is_unread or other.connection.is_unread)
        self.assertEqual(len(self.heard), 2)


class RoomTests(OwnClientCase):
    """Whoever copies waits until the guest's own connection has taken what was said before."""

    def setUp(self):
        super().setUp()
        self.guest_peer = self.guest()
        self.bulk_peer = self.bulk()

    def room(self, *, bulk=True):
        return Deferred.fromCoroutine(self.client.room(GUEST, bulk=bulk))

    def test_at_once(self):
        """When nothing waits, and when there is no such connection (it will be told so)."""
        self.successResultOf(self.room())
        self.bulk_peer.lose()
        self.successResultOf(self.room())

    def test_each_connection_by_itself(self):
        """A full second connection does not hold what goes by the first."""
        self.fill()
        self.assertNoResult(self.room())
        self.successResultOf(self.room(bulk=False))

    def fill(self):
        self.bulk_peer.wire.stuck = True
        for _ in range(5):
            self.client.send(bulk_of(GUEST), bytes(300_000), {})

    def test_one_at_a_time(self):
        """Many copies to one guest do not fill its outbox together."""
        self.fill()
        most = []

        async def copy():
            for _ in range(20):
                await self.client.room(GUEST, bulk=True)
                self.client.send(bulk_of(GUEST), bytes(300_000), {})
                most.append(self.bulk_peer.connection.outbox.size_bytes)

        copies = [Deferred.fromCoroutine(copy()) for _ in range(50)]
        for _ in range(4000):
            self.bulk_peer.wire.clear()
            self.bulk_peer.wire.producer.resumeProducing()
        for each in copies:
            self.successResultOf(each)
        self.assertLess(max(most), 1_600_000)
        self.assertFalse(self.bulk_peer.is_closing)

    def test_the_connection_ends(self):
        """Nobody waits for what is gone."""
        self.fill()
        waiting = self.room()
        self.bulk_peer.lose()
        self.successResultOf(waiting)
