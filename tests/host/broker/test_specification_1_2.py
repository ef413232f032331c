"""STOMP 1.2 where it differs from 1.1, in octets as a client writes them; sections as named there.

Elsewhere: the codec in tests.common.stomp, negotiation, lingering and receipts in test_connection,
NACK in test_nack, transactions in test_transactions.
"""

from __future__ import annotations

from tests.host.broker.wire import BrokerCase
from vmcontroller.common.stomp.frames import Version
from vmcontroller.host.broker.limits import BrokerLimits


class Stomp12Tests(BrokerCase):
    def connected(self):
        peer = self.peer()
        peer.raw(b"CONNECT\r\naccept-version:1.2\r\nhost:stomp.github.org\r\n\r\n\0")
        [frame] = peer.hear()
        self.assertEqual((frame.command, frame.header("version")), ("CONNECTED", "1.2"))
        peer.parser.version = Version.V1_2
        return peer

    def error_of(self, octets):
        peer = self.connected()
        peer.raw(octets)
        return peer.error()

    def test_cr_lf(self):
        """STOMP Frames: a line may end in CR LF, in the whole frame or a part of it."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\r\nid:0\r\ndestination:/topic/a\n\r\n\0\r\n")
        peer.raw(b"\r\nSEND\ndestination:/topic/a\r\n\r\nline\r\n\0")
        self.assertEqual(peer.bodies(), [b"line\r\n"])

    def test_escapes(self):
        r"""Value Encoding: CR, LF, colon, backslash; the broker writes each of them escaped."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0")
        peer.raw(b"SEND\ndestination:/topic/a\nx:\\r\\n\\c\\\\\n\n\0")
        self.assertIn(b"\nx:\\r\\n\\c\\\\\n", peer.wire.value())

    def test_undefined_escapes(self):
        r"""Value Encoding: \t must be treated as a fatal protocol error."""
        error = self.error_of(b"SEND\ndestination:/topic/a\nx:\\t\n\n\0")
        self.assertIn("undefined escape", error.header("message"))

    def test_connect_is_not_escaped(self):
        r"""Value Encoding: in CONNECT a backslash is a backslash, and \t no fault."""
        peer = self.peer()
        peer.raw(b"CONNECT\naccept-version:1.2\nhost:x\nlogin:dom\\tain\\n\n\n\0")
        self.assertEqual([f.command for f in peer.hear()], ["CONNECTED"])

    def test_connected_is_not_escaped(self):
        """Value Encoding: nor is CONNECTED, so that 1.0 clients can read it."""
        peer = self.peer()
        peer.raw(b"CONNECT\naccept-version:1.2\nhost:x\n\n\0")
        self.assertNotIn(b"\\", peer.wire.value())

    def test_the_highest_version_in_any_order(self):
        """Protocol Negotiation: of what both have; what only the client has is passed over."""
        peer = self.peer()
        peer.raw(b"CONNECT\naccept-version:1.2,3.0,1.0\nhost:x\n\n\0")
        self.assertEqual(peer.hear()[0].header("version"), "1.2")

    def test_the_ack_header(self):
        """MESSAGE: there if the mode needs it, absent for auto; it is what ACK names as `id`."""
        for mode, has in ((b"auto", False), (b"client", True), (b"client-individual", True)):
            peer = self.connected()
            peer.raw(b"SUBSCRIBE\nid:0\ndestination:/queue/a\nack:%b\n\n\0" % mode)
            peer.raw(b"SEND\ndestination:/queue/a\n\n\0")
            ack = peer.hear()[0].header("ack")
            self.assertEqual(ack is not None, has)
            if has:
                peer.raw(b"ACK\nid:%b\n\n\0" % ack.replace(":", "\\c").encode())
                self.assertFalse(peer.is_closing)
            peer.lose()

    def test_acks_differ(self):
        """MESSAGE: `ack` is unique on the connection, though one message goes to two of it."""
        peer = self.connected()
        for name in (b"x", b"y"):
            peer.raw(b"SUBSCRIBE\nid:%b\ndestination:/topic/a\nack:client\n\n\0" % name)
        peer.raw(b"SEND\ndestination:/topic/a\n\n\0SEND\ndestination:/topic/a\n\n\0")
        self.assertEqual(len({f.header("ack") for f in peer.hear()}), 4)

    def test_ack_of_a_destination_with_a_colon(self):
        """ACK: the id comes back as it was, whatever the destination is called."""
        for destination in ("/queue/a:b", "/queue/a-b_1", "/queue/a\\b", "/queue/a\nb"):
            peer = self.session()
            peer.subscribe(destination, ack="client-individual")
            peer.send(destination)
            peer.say("ACK", ("id", peer.hear()[0].header("ack")))
            self.assertFalse(peer.is_closing)
        self.assertEqual(self.factory._router.queues.queued_bytes, 0)

    def test_message_id_is_no_ack_id(self):
        """ACK: 1.2 names the delivery by `id` alone; the headers of 1.1 are not enough."""
        octets = b"SUBSCRIBE\nid:0\ndestination:/queue/a\nack:client\n\n\0"
        octets += b"SEND\ndestination:/queue/a\n\n\0"
        error = self.error_of(octets + b"ACK\nsubscription:0\nmessage-id:/queue/a_1\n\n\0")
        self.assertIn("ACK needs the header id", error.header("message"))

    def test_content_length_on_any_frame(self):
        """Header content-length: also where there is no body; the NUL must follow."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\nid:0\ndestination:/topic/a\ncontent-length:0\nreceipt:1\n\n\0")
        self.assertEqual([f.command for f in peer.hear()], ["RECEIPT"])
        error = self.error_of(b"SEND\ndestination:/topic/a\ncontent-length:1\n\nxy\0")
        self.assertIn("no NUL octet", error.header("message"))

    def test_messages_have_a_content_length(self):
        """Header content-length: SEND, MESSAGE and ERROR should have one."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0")
        peer.raw(b"SEND\ndestination:/topic/a\n\nabc\0")
        self.assertIn(b"\ncontent-length:3\n", peer.wire.value())
        peer.hear()
        peer.raw(b"SEND\n\n\0")
        self.assertIn(b"\ncontent-length:", peer.wire.value())

    def test_receipts_in_order(self):
        """RECEIPT: one says that all before it has been received."""
        peer = self.connected()
        for number in range(20):
            peer.raw(b"SEND\ndestination:/queue/a\nreceipt:%d\n\n\0" % number)
        found = [f.header("receipt-id") for f in peer.hear()]
        self.assertEqual(found, [str(number) for number in range(20)])

    def test_an_error_ends_it(self):
        """ERROR: the connection is closed just after; nothing that comes later is done."""
        listener = self.connected()
        listener.raw(b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0")
        peer = self.connected()
        peer.raw(b"SEND\nreceipt:message-12345\n\nx\0SEND\ndestination:/topic/a\n\ny\0")
        [error] = peer.hear()
        self.assertEqual(error.header("receipt-id"), "message-12345")
        self.assertTrue(peer.is_closing)
        self.assertEqual(listener.hear(), [])

    def test_lingering(self):
        """Connection Lingering: the last frame can be read before the connection is cut."""
        peer = self.connected()
        peer.raw(b"DISCONNECT\nreceipt:1\n\n\0")
        self.assertTrue(peer.is_closing)
        self.clock.advance(BrokerLimits().linger_s * 0.9)
        self.assertFalse(peer.wire.aborted)
        self.clock.advance(BrokerLimits().linger_s * 0.1)
        self.assertTrue(peer.wire.aborted)

    def test_size_limits(self):
        """Size Limits: number of headers, length of a line, size of a body; ERROR, then close."""
        limits = BrokerLimits().frame
        for octets in (
            b"SEND\n" + b"a:b\n" * (limits.header_count + 1) + b"\n\0",
            b"SEND\na:" + b"x" * limits.line_bytes + b"\n\n\0",
            b"SEND\ncontent-length:%d\n\n" % (limits.body_bytes + 1),
        ):
            self.error_of(octets)

    def test_unknown_commands(self):
        """STOMP Frames: commands are upper case, and only those of STOMP."""
        for command in (b"send", b"Send", b"PUBLISH", b" SEND"):
            error = self.error_of(b"%b\ndestination:/topic/a\n\n\0" % command)
            self.assertIn("not a command", error.header("message"))
