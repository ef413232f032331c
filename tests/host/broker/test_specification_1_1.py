"""STOMP 1.1 clause by clause, in octets as a client writes them; sections in the docstrings.

Elsewhere: the codec in tests.common.stomp, negotiation, heart-beats and receipts in
test_connection, NACK in test_nack, transactions in test_transactions.
"""

from __future__ import annotations

from tests.host.broker.wire import BrokerCase
from vmcontroller.common.stomp.frames import Version


class Stomp11Tests(BrokerCase):
    def connected(self, extra=b""):
        peer = self.peer()
        peer.raw(b"CONNECT\naccept-version:1.1\nhost:stomp.github.org\n%b\n\0" % extra)
        [frame] = peer.hear()
        self.assertEqual((frame.command, frame.header("version")), ("CONNECTED", "1.1"))
        peer.parser.version = Version.V1_1
        return peer

    def error_of(self, octets):
        peer = self.connected()
        peer.raw(octets)
        return peer.error()

    def test_any_host(self):
        """Connecting: `host` is a name for virtual hosts; this broker has one and takes any."""
        for host in (b"", b"host:\n", b"host:/\n", b"host:a.b\n"):
            peer = self.peer()
            peer.raw(b"CONNECT\naccept-version:1.1\n%b\n\0" % host)
            self.assertEqual([f.command for f in peer.hear()], ["CONNECTED"])

    def test_the_stomp_frame(self):
        """Connecting: servers must handle it as CONNECT."""
        peer = self.peer()
        peer.raw(b"STOMP\naccept-version:1.0,1.1\nhost:x\n\n\0")
        self.assertEqual(peer.hear()[0].header("version"), "1.1")

    def test_connected_has_no_body(self):
        """Bodies: only SEND, MESSAGE and ERROR have one; so it is in what the broker writes."""
        peer = self.peer()
        peer.raw(b"CONNECT\naccept-version:1.1\nhost:x\n\n\0")
        self.assertTrue(peer.wire.value().endswith(b"\n\n\0"))
        peer.hear()
        peer.parser.version = Version.V1_1
        peer.raw(b"SEND\ndestination:/topic/a\nreceipt:1\n\n\0")
        self.assertEqual(peer.wire.value(), b"RECEIPT\nreceipt-id:1\n\n\0")

    def test_a_body_where_none_may_be(self):
        """Bodies: a SUBSCRIBE with one is malformed."""
        error = self.error_of(b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\nbody\0")
        self.assertIn("has a body", error.header("message"))

    def test_escapes(self):
        """Value encoding: LF, colon and backslash in names and values, there and back."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0")
        peer.raw(b"SEND\ndestination:/topic/a\nna\\cme:a\\nb\\cc\\\\d\n\n\0")
        self.assertIn(b"\nna\\cme:a\\nb\\cc\\\\d\n", peer.wire.value())
        self.assertEqual(peer.hear()[0].header("na:me"), "a\nb:c\\d")

    def test_undefined_escapes(self):
        r"""Value encoding: \t is a fatal protocol error, and in 1.1 so is \r."""
        for value in (b"\\t", b"\\r", b"\\"):
            error = self.error_of(b"SEND\ndestination:/topic/a\nx:%b\n\n\0" % value)
            self.assertIn("undefined escape", error.header("message"))

    def test_utf_8(self):
        """Encoding: headers are UTF-8; what is not is an ERROR."""
        peer = self.connected()
        peer.raw("SUBSCRIBE\nid:0\ndestination:/topic/zürich\n\n\0".encode())
        peer.raw("SEND\ndestination:/topic/zürich\nname:日本\n\n\0".encode())
        self.assertEqual(peer.hear()[0].header("name"), "日本")
        self.assertIn("UTF-8", self.error_of(b"SEND\ndestination:\xff\n\n\0").header("message"))

    def test_repeated_headers(self):
        """Repeated headers: the first is the value, also of what the broker itself reads."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\nid:0\nid:1\ndestination:/topic/a\ndestination:/topic/b\n\n\0")
        peer.raw(b"SEND\ndestination:/topic/a\ndestination:/topic/b\nreceipt:1\nreceipt:2\n\n\0")
        message, receipt = peer.hear()
        self.assertEqual(message.header("subscription"), "0")
        self.assertEqual(message.header("destination"), "/topic/a")
        self.assertEqual(receipt.header("receipt-id"), "1")

    def test_headers_are_not_trimmed(self):
        """Value encoding: a space is part of the destination."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\nid:0\ndestination: /queue/a\n\n\0")
        peer.raw(b"SEND\ndestination:/queue/a\n\nx\0")
        self.assertEqual(peer.hear(), [])

    def test_subscriptions_have_ids(self):
        """SUBSCRIBE: more than one to a destination, each with its own messages."""
        peer = self.connected()
        for name in (b"x", b"y"):
            peer.raw(b"SUBSCRIBE\nid:%b\ndestination:/topic/a\n\n\0" % name)
        peer.raw(b"SEND\ndestination:/topic/a\n\n\0")
        self.assertEqual([f.header("subscription") for f in peer.hear()], ["x", "y"])

    def test_an_id_is_needed_and_unique(self):
        """SUBSCRIBE: within the connection; another connection may use the same."""
        one = b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0"
        self.connected().raw(one)
        self.assertIn("exists already", self.error_of(one + one).header("message"))
        error = self.error_of(b"SUBSCRIBE\ndestination:/topic/a\n\n\0")
        self.assertIn("needs an id", error.header("message"))

    def test_an_id_may_be_used_again(self):
        """UNSUBSCRIBE: after that it is free."""
        peer = self.connected()
        for name in (b"a", b"b"):
            peer.raw(b"SUBSCRIBE\nid:0\ndestination:/topic/%b\n\n\0" % name)
            peer.raw(b"SEND\ndestination:/topic/%b\n\n%b\0UNSUBSCRIBE\nid:0\n\n\0" % (name, name))
        self.assertEqual((peer.bodies(), peer.is_closing), ([b"a", b"b"], False))

    def test_unsubscribe_by_destination(self):
        """UNSUBSCRIBE: the id is needed; the destination of 1.0 is not enough."""
        octets = b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0"
        error = self.error_of(octets + b"UNSUBSCRIBE\ndestination:/topic/a\n\n\0")
        self.assertIn("needs the id", error.header("message"))

    def test_ack_names_subscription_and_message(self):
        """ACK: both; that of another subscription names nothing."""
        peer = self.connected()
        for name in (b"x", b"y"):
            peer.raw(b"SUBSCRIBE\nid:%b\ndestination:/queue/a\nack:client\n\n\0" % name)
        peer.raw(b"SEND\ndestination:/queue/a\n\n\0")
        [message] = peer.hear()
        self.assertEqual(message.header("subscription"), "x")
        peer.raw(
            b"ACK\nsubscription:y\nmessage-id:%b\n\n\0" % message.header("message-id").encode()
        )
        self.assertIn("ACK names no message", peer.error().header("message"))

    def test_message_ids_are_the_same_for_all(self):
        """MESSAGE: message-id is unique to the message; the subscription tells deliveries apart."""
        peer = self.connected()
        for name in (b"x", b"y"):
            peer.raw(b"SUBSCRIBE\nid:%b\ndestination:/topic/a\n\n\0" % name)
        peer.raw(b"SEND\ndestination:/topic/a\n\n\0SEND\ndestination:/topic/a\n\n\0")
        ids = [f.header("message-id") for f in peer.hear()]
        self.assertEqual(len(ids), 4)
        self.assertEqual(len(set(ids)), 2)

    def test_disconnect_with_a_receipt(self):
        """DISCONNECT: all that came before has been done when its RECEIPT comes, the last frame."""
        listener, peer = self.connected(), self.connected()
        listener.raw(b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0")
        peer.raw(b"SEND\ndestination:/topic/a\n\nx\0DISCONNECT\nreceipt:77\n\n\0")
        self.assertEqual(listener.bodies(), [b"x"])
        [receipt] = peer.hear()
        self.assertEqual((receipt.command, receipt.header("receipt-id")), ("RECEIPT", "77"))
        self.assertTrue(peer.is_closing)

    def test_heart_beat_is_optional(self):
        """Heart-beating: without the header it is 0,0."""
        peer = self.connected()
        self.clock.advance(1e6)
        self.assertEqual((peer.wire.value(), peer.is_closing), (b"", False))

    def test_each_direction_by_itself(self):
        """Heart-beating: the larger of what one side can and the other wants; 0 is none."""
        peer = self.connected(b"heart-beat:0,4000\n")
        self.clock.pump([1.0] * 8)
        self.assertEqual(set(peer.wire.value()), {ord("\n")})
        self.assertFalse(peer.is_closing)
        silent = self.connected(b"heart-beat:4000,0\n")
        self.clock.pump([1.0] * 7)
        self.assertEqual(silent.wire.value(), b"")
        self.clock.advance(1)
        self.assertTrue(silent.is_closing)

    def test_ends_of_line_between_frames(self):
        """Heart-beating: they are no frames, and any number of them does no harm."""
        peer = self.connected()
        peer.raw(b"\n\n\nSEND\ndestination:/topic/a\nreceipt:1\n\n\0\n\n\n")
        self.assertEqual([f.command for f in peer.hear()], ["RECEIPT"])

    def test_frames_of_servers(self):
        """Server frames: a client that sends one breaks the protocol."""
        for command in (b"CONNECTED", b"MESSAGE", b"RECEIPT", b"ERROR"):
            error = self.error_of(b"%b\n\n\0" % command)
            self.assertIn(command.decode(), error.header("message"))

    def test_other_headers(self):
        """SEND: what STOMP does not name goes on to who listens."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\nid:0\ndestination:/topic/a\nselectors:none\n\n\0")
        peer.raw(b"SEND\ndestination:/topic/a\ncontent-type:text/plain\nmine:1\n\nx\0")
        [message] = peer.hear()
        self.assertEqual(message.header("content-type"), "text/plain")
        self.assertEqual(message.header("mine"), "1")
