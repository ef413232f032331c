"""What MorbidQ 0.8 did wrong and this broker does right, each as it was seen there."""

from __future__ import annotations

from tests.host.broker.wire import BrokerCase
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.rights import OpenRights


class NoRights(OpenRights):
    """Anyone may connect, nobody may do anything."""

    def may_send(self, principal, destination):
        return False

    def may_subscribe(self, principal, destination):
        return False


class RightsTests(BrokerCase):
    rights = NoRights()

    def test_rights_are_not_overwritten(self):
        """MorbidQ's factory replaced the rights it was given by allow-all."""
        one, two = self.session(), self.session()
        one.send("/topic/a")
        two.say("SUBSCRIBE", ("destination", "/topic/a"), ("id", "0"))
        self.assertIn("may not send", one.error().header("message"))
        self.assertIn("may not subscribe", two.error().header("message"))


class MorbidFaultTests(BrokerCase):
    def test_a_refused_subscription_breaks_no_disconnect(self):
        """One SUBSCRIBE to /pubsub/x left dead subscribers that swallowed other clients' jobs."""
        one, two, live = self.session(), self.session(), self.session()
        one.subscribe("/pubsub/x")
        two.subscribe("/queue/jobs")
        live.subscribe("/queue/jobs")
        one.lose()
        two.lose()
        sender = self.session()
        for number in range(6):
            sender.send("/queue/jobs", b"%d" % number)
        self.assertEqual(live.bodies(), [b"0", b"1", b"2", b"3", b"4", b"5"])

    def test_a_chunk_that_begins_with_a_line_feed(self):
        """It made the next frame vanish."""
        peer = self.session()
        peer.subscribe("/topic/a")
        peer.raw(b"\nSEND\ndestination:/topic/a\n\n1\0")
        peer.raw(b"\n")
        peer.raw(b"\n\nSEND\ndestination:/topic/a\n\n2\0\n")
        self.assertEqual(peer.bodies(), [b"1", b"2"])

    def test_nul_in_a_body(self):
        """It grew to NUL LF, or cut the body."""
        peer = self.session()
        peer.subscribe("/topic/a")
        body = b"\0\0\n\0" + bytes(range(256))
        peer.send("/topic/a", body)
        self.assertEqual(peer.bodies(), [body])

    def test_the_stomp_command(self):
        """It was discarded, and clients of 1.1 and 1.2 waited for ever."""
        peer = self.peer()
        peer.say("STOMP", ("accept-version", "1.1,1.2"), ("host", "x"))
        self.assertEqual([f.command for f in peer.hear()], ["CONNECTED"])

    def test_receipts_and_unsubscribe_by_id(self):
        """The first was ignored, the second raised KeyError."""
        peer = self.session()
        peer.subscribe("/topic/a", "x", receipt="1")
        peer.say("UNSUBSCRIBE", ("id", "x"), ("receipt", "2"))
        self.assertEqual([f.header("receipt-id") for f in peer.hear()], ["1", "2"])

    def test_silence_is_no_answer(self):
        """Unknown commands were passed over, and version 2.0 was answered with CONNECTED."""
        peer = self.session()
        peer.raw(b"HELLO\n\n\0")
        self.assertIn("HELLO", peer.error().header("message"))
        peer = self.peer()
        peer.say("CONNECT", ("accept-version", "2.0"))
        peer.error()

    def test_ack_of_a_stranger(self):
        """Raised AttributeError and dropped the connection without a word."""
        peer = self.session()
        peer.say("ACK", ("id", "x"))
        peer.error()

    def test_odd_headers_of_connect(self):
        """`self:` was passed on as a Python argument."""
        peer = self.peer()
        peer.say("CONNECT", ("self", "x"), ("peer", "y"))
        self.assertEqual([f.command for f in peer.hear()], ["CONNECTED"])

    def test_nothing_grows_without_bound(self):
        """A buffer without an end of line, a queue, and what a reader leaves were unbounded."""
        self.start(BrokerLimits(queue_messages=10, outbox_bytes=100_000))
        endless, filler, reader, sender = (self.session() for _ in range(4))
        for _ in range(20):
            endless.raw(b"x" * 1000)
        self.assertTrue(endless.is_closing)
        for _ in range(20):
            filler.send("/queue/a")
        self.assertTrue(filler.is_closing)
        reader.subscribe("/topic/a")
        reader.wire.stuck = True
        for _ in range(20):
            sender.send("/topic/a", b"x" * 20_000)
        self.assertTrue(reader.is_closing)
