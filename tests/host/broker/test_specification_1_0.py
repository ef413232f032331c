"""STOMP 1.0 clause by clause, in octets as a client writes them; sections in the docstrings.

Elsewhere: the codec in tests.common.stomp, session and receipts in test_connection, destinations
and MESSAGE in test_destinations, transactions in test_transactions.
"""

from __future__ import annotations

from tests.host.broker.wire import BrokerCase


class Stomp10Tests(BrokerCase):
    def connected(self):
        peer = self.peer()
        peer.raw(b"CONNECT\nlogin: me\npasscode: x\n\n\0\n")
        [frame] = peer.hear()
        self.assertEqual(frame.command, "CONNECTED")
        return peer

    def test_connect(self):
        """CONNECT: the answer is CONNECTED with a unique session; 1.0 asks for nothing else."""
        peer = self.peer()
        peer.raw(b"CONNECT\n\n\0")
        octets = peer.wire.value()
        self.assertTrue(octets.startswith(b"CONNECTED\n"))
        self.assertIn(b"\nsession:", octets)

    def test_headers_are_trimmed(self):
        """Stomper writes `destination: x`: it is the same destination as `destination:x`."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\ndestination: /queue/a\nack: client\n\n\0\n")
        peer.raw(b"SEND\ndestination:/queue/a\n\nhello\0")
        [message] = peer.hear()
        self.assertEqual(message.header("destination"), "/queue/a")
        peer.raw(b"ACK\nmessage-id: %b\n\n\0" % message.header("message-id").encode())
        self.assertFalse(peer.is_closing)

    def test_backslashes_are_letters(self):
        """1.0 has no escapes: what looks like one goes to another 1.0 client as it is."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\ndestination:/topic/a\n\n\0")
        peer.raw(b"SEND\ndestination:/topic/a\npath:c:\\temp\\new\n\n\0")
        self.assertIn(b"\npath:c:\\temp\\new\n", peer.wire.value())

    def test_send_with_content_length(self):
        """SEND: so many octets are the body, NUL or not; without it, up to the first NUL."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\ndestination:/topic/a\n\n\0")
        peer.raw(b"SEND\ndestination:/topic/a\ncontent-length:3\n\na\0b\0\n")
        peer.raw(b"SEND\ndestination:/topic/a\n\nc\0\n")
        self.assertEqual(peer.bodies(), [b"a\0b", b"c"])

    def test_subscribe_without_ack(self):
        """SUBSCRIBE: the default is auto; the message is done when it is delivered."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\ndestination:/queue/a\n\n\0SEND\ndestination:/queue/a\n\nx\0")
        peer.lose()
        again = self.connected()
        again.raw(b"SUBSCRIBE\ndestination:/queue/a\n\n\0")
        self.assertEqual(again.bodies(), [])

    def test_subscribe_with_client_ack(self):
        """SUBSCRIBE: not consumed until there is an ACK, which names only the message."""
        for acknowledged in (False, True):
            self.start(self.limits)
            peer = self.connected()
            peer.raw(b"SUBSCRIBE\ndestination:/queue/a\nack:client\n\n\0")
            peer.raw(b"SEND\ndestination:/queue/a\n\nx\0")
            [message] = peer.hear()
            if acknowledged:
                peer.raw(b"ACK\nmessage-id:%b\n\n\0" % message.header("message-id").encode())
            peer.lose()
            again = self.connected()
            again.raw(b"SUBSCRIBE\ndestination:/queue/a\n\n\0")
            self.assertEqual(again.bodies(), [] if acknowledged else [b"x"])

    def test_unsubscribe(self):
        """UNSUBSCRIBE: by destination or by id, whichever it was subscribed with."""
        peer = self.connected()
        peer.raw(
            b"SUBSCRIBE\ndestination:/topic/a\n\n\0SUBSCRIBE\ndestination:/topic/b\nid:b\n\n\0"
        )
        peer.raw(b"UNSUBSCRIBE\ndestination:/topic/a\n\n\0UNSUBSCRIBE\nid:b\n\n\0")
        peer.raw(b"SEND\ndestination:/topic/a\n\n\0SEND\ndestination:/topic/b\n\n\0")
        self.assertEqual((peer.hear(), peer.is_closing), ([], False))

    def test_ack_in_a_transaction(self):
        """ACK: `transaction` makes it part of one; ABORT undoes it."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\ndestination:/queue/a\nack:client\n\n\0")
        peer.raw(b"SEND\ndestination:/queue/a\n\nx\0")
        name = peer.hear()[0].header("message-id").encode()
        peer.raw(b"BEGIN\ntransaction:1\n\n\0ACK\nmessage-id:%b\ntransaction:1\n\n\0" % name)
        peer.raw(b"ABORT\ntransaction:1\n\n\0")
        peer.lose()
        again = self.connected()
        again.raw(b"SUBSCRIBE\ndestination:/queue/a\n\n\0")
        self.assertEqual(again.bodies(), [b"x"])

    def test_send_in_a_transaction(self):
        """BEGIN, COMMIT: what is sent in it is not sent before."""
        peer = self.connected()
        peer.raw(b"SUBSCRIBE\ndestination:/topic/a\n\n\0BEGIN\ntransaction:1\n\n\0")
        peer.raw(b"SEND\ndestination:/topic/a\ntransaction:1\n\nx\0")
        self.assertEqual(peer.bodies(), [])
        peer.raw(b"COMMIT\ntransaction:1\n\n\0")
        self.assertEqual(peer.bodies(), [b"x"])

    def test_disconnect(self):
        """DISCONNECT: the session ends and the connection is closed."""
        peer = self.connected()
        peer.raw(b"DISCONNECT\n\n\0")
        self.assertEqual((peer.hear(), peer.is_closing), ([], True))

    def test_receipt(self):
        """RECEIPT: on any frame but CONNECT, with the value that the client gave."""
        peer = self.peer()
        peer.raw(b"CONNECT\nreceipt:1\n\n\0SEND\ndestination:/topic/a\nreceipt: message-2 \n\n\0")
        connected, receipt = peer.hear()
        self.assertEqual((connected.command, receipt.command), ("CONNECTED", "RECEIPT"))
        self.assertEqual(receipt.header("receipt-id"), "message-2")

    def test_error(self):
        """ERROR: `message` is short, the body says more."""
        peer = self.connected()
        peer.raw(b"SEND\n\n\0")
        error = peer.error()
        self.assertTrue(error.header("message"))
        self.assertTrue(error.body)

    def test_there_is_no_nack(self):
        """Commands: it came with 1.1."""
        peer = self.connected()
        peer.raw(b"NACK\nmessage-id:1\n\n\0")
        self.assertIn("NACK", peer.error().header("message"))
