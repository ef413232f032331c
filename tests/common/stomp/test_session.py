"""The client's session, octet for octet, without any transport."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import NotConnected, ProtocolError
from vmcontroller.common.stomp.frames import Version
from vmcontroller.common.stomp.parser import Limits
from vmcontroller.common.stomp.session import (
    ClientSession,
    Connected,
    Credentials,
    Disconnected,
    ErrorReceived,
    MessageReceived,
    ReceiptReceived,
    State,
)


def connected(headers=b"version:1.2\n", **arguments):
    """Return a session for which CONNECTED has come."""
    session = ClientSession(**arguments)
    session.connect()
    [event] = session.receive(b"CONNECTED\n" + headers + b"\n\0", 0.0)
    assert isinstance(event, Connected)
    return session


class ConnectTests(SynchronousTestCase):
    def test_connect_offers_all_versions(self):
        """1.2, Protocol Negotiation: in increasing order, with host and heart-beat."""
        octets = ClientSession(heart_beat_s=2.5).connect()
        self.assertEqual(
            octets, b"CONNECT\naccept-version:1.0,1.1,1.2\nhost:/\nheart-beat:2500,2500\n\n\0\n"
        )

    def test_credentials(self):
        """Login and passcode go in as they are, colons of a MAC address included."""
        me = Credentials(login="52:54:00:aa:bb:cc", passcode="s\\e:c", host="vh")
        octets = ClientSession(credentials=me).connect()
        self.assertIn(b"\nhost:vh\n", octets)
        self.assertIn(b"\nlogin:52:54:00:aa:bb:cc\n", octets)
        self.assertIn(b"\npasscode:s\\e:c\n", octets)

    def test_the_passcode_is_not_shown(self):
        """A log of the credentials tells no secret."""
        self.assertNotIn("secret", repr(Credentials(login="me", passcode="secret")))

    def test_the_broker_chooses_the_version(self):
        """It then sets both directions: here 1.1 has no escape for a carriage return."""
        session = connected(b"version:1.1\n")
        self.assertIs(session.version, Version.V1_1)
        self.assertIn(b"a:\r\\c\n", session.send("/topic/x", b"", {"a": "\r:"}))
        with self.assertRaises(ProtocolError):
            list(session.receive(b"MESSAGE\ndestination:x\na:\\r\n\n\0", 0.0))

    def test_no_version_is_1_0(self):
        """As a 1.0 broker such as MorbidQ answers."""
        session = connected(b"session:1\n")
        self.assertIs(session.version, Version.V1_0)
        self.assertIn(b"a:b:c\n", session.send("/topic/x", b"", {"a": "b:c"}))

    def test_the_version_holds_for_what_follows_at_once(self):
        """A MESSAGE in the same segment as CONNECTED is read by the version it brings."""
        session = ClientSession()
        session.connect()
        octets = b"CONNECTED\nversion:1.2\n\n\0MESSAGE\ndestination:x\na:b\\cc\n\n\0"
        _, message = session.receive(octets, 0.0)
        self.assertEqual(message.message.headers["a"], "b:c")

    def test_a_version_that_was_not_offered(self):
        """Is a fault of the broker."""
        with self.assertRaises(ProtocolError):
            connected(b"version:2.0\n")

    def test_a_refusal(self):
        """ERROR instead of CONNECTED is an event with its text, and the end."""
        session = ClientSession()
        session.connect()
        [event] = session.receive(b"ERROR\nmessage:no\n\nbecause\0", 0.0)
        self.assertEqual((event.text, event.body), ("no", b"because"))
        self.assertIsInstance(event, ErrorReceived)
        self.assertIs(session.state, State.CLOSED)

    def test_what_a_refusal_says(self):
        """RabbitMQ says the why in the body alone, others in both or in the message."""
        for message, body, expected in (
            (
                "Bad CONNECT",
                b"Access refused for user 'x'\n",
                "Bad CONNECT: Access refused for user 'x'",
            ),
            ("User [x] is invalid", b"User [x] is invalid", "User [x] is invalid"),
            ("no", b"", "no"),
            ("", b" first\nsecond", "first"),
            ("", b"", ""),
        ):
            event = ErrorReceived(message, {}, body)
            self.assertEqual(event.detail, expected)

    def test_frames_out_of_turn(self):
        """A MESSAGE before CONNECTED, a second CONNECTED, anything after ERROR: faults."""
        early = ClientSession()
        early.connect()
        for session, octets in (
            (early, b"MESSAGE\ndestination:x\n\n\0"),
            (connected(), b"CONNECTED\nversion:1.2\n\n\0"),
            (connected(), b"ERROR\n\n\0RECEIPT\nreceipt-id:r1\n\n\0"),
            (connected(), b"SEND\ndestination:x\n\n\0"),
        ):
            with self.assertRaises(ProtocolError):
                list(session.receive(octets, 0.0))


class VerbTests(SynchronousTestCase):
    def test_subscribe_asks_for_a_receipt(self):
        """With ids of their own, so that MESSAGE and RECEIPT can be told apart."""
        session = connected()
        self.assertEqual(
            session.subscribe("/topic/a"),
            b"SUBSCRIBE\nid:1\ndestination:/topic/a\nack:auto\nreceipt:r1\n\n\0",
        )
        self.assertIn(b"id:2\n", session.subscribe("/topic/b"))
        self.assertEqual(session.awaited_receipts, {"r1", "r2"})
        self.assertEqual(
            list(session.receive(b"RECEIPT\nreceipt-id:r1\n\n\0", 0.0)), [ReceiptReceived("r1")]
        )
        self.assertEqual(session.awaited_receipts, {"r2"})

    def test_a_receipt_nobody_asked_for(self):
        """Is a fault: the broker answers somebody else."""
        with self.assertRaises(ProtocolError):
            list(connected().receive(b"RECEIPT\nreceipt-id:r9\n\n\0", 0.0))

    def test_send(self):
        """Destination first, so that it counts; the body with its length, whatever is in it."""
        octets = connected().send("/topic/a", b"\0\n", {"to": "x\ny", "destination": "/topic/z"})
        self.assertEqual(
            octets,
            b"SEND\ndestination:/topic/a\nto:x\\ny\ndestination:/topic/z\n"
            b"content-length:2\n\n\0\n\0",
        )

    def test_message(self):
        """Headers as a mapping, of repeated ones the first; the body as octets."""
        [event] = connected().receive(
            b"MESSAGE\ndestination:/topic/a\nfrom:x\nfrom:y\ncontent-length:3\n\na\0b\0", 0.0
        )
        self.assertIsInstance(event, MessageReceived)
        self.assertEqual(event.message.destination, "/topic/a")
        self.assertEqual(event.message.headers["from"], "x")
        self.assertEqual(event.message.body, b"a\0b")

    def test_a_message_without_destination(self):
        """Is a fault: it MUST have one."""
        with self.assertRaises(ProtocolError):
            list(connected().receive(b"MESSAGE\n\n\0", 0.0))

    def test_what_precedes_a_fault_is_handed_over(self):
        """The events come one by one, the fault after them."""
        events = connected().receive(b"MESSAGE\ndestination:a\n\n\0rubbish\n\n\0", 0.0)
        self.assertIsInstance(next(events), MessageReceived)
        with self.assertRaises(ProtocolError):
            next(events)

    def test_disconnect(self):
        """Its receipt means that all before it was done; nothing may be sent after it."""
        session = connected()
        self.assertEqual(session.disconnect(), b"DISCONNECT\nreceipt:r1\n\n\0")
        with self.assertRaises(NotConnected):
            session.send("/topic/a", b"", {})
        message, end = session.receive(
            b"MESSAGE\ndestination:a\n\n\0RECEIPT\nreceipt-id:r1\n\n\0", 0.0
        )
        self.assertIsInstance(message, MessageReceived)
        self.assertIsInstance(end, Disconnected)
        self.assertIs(session.state, State.CLOSED)

    def test_verbs_before_connected(self):
        """Raise NotConnected and leave the session as it was."""
        session = ClientSession()
        session.connect()
        for verb in (
            lambda: session.send("/topic/a", b"", {}),
            lambda: session.subscribe("/topic/a"),
            session.disconnect,
        ):
            with self.assertRaises(NotConnected):
                verb()
        self.assertIs(session.state, State.CONNECTING)

    def test_limits(self):
        """Of the caller are those of the parser."""
        session = connected(limits=Limits(body_bytes=3))
        with self.assertRaises(ProtocolError):
            list(session.receive(b"MESSAGE\ndestination:a\n\nlong\0", 0.0))


class HeartBeatTests(SynchronousTestCase):
    def test_both_directions(self):
        """Each is the larger of what one can and the other wants."""
        session = connected(b"version:1.2\nheart-beat:5000,20000\n", heart_beat_s=10.0)
        self.assertEqual(session.tick_s, 2.5)
        self.assertEqual(session.tick(2.5), b"")
        self.assertEqual(session.tick(15.0), b"\n")
        with self.assertRaises(ProtocolError) as caught:
            session.tick(20.0)
        self.assertIn("20.0 s", str(caught.exception))

    def test_any_octet_is_a_sign_of_life(self):
        """Part of a frame counts as a heart-beat does."""
        session = connected(b"version:1.2\nheart-beat:5000,0\n", heart_beat_s=10.0)
        list(session.receive(b"MESS", 19.0))
        self.assertEqual(session.tick(38.0), b"")

    def test_a_broker_without(self):
        """1.0, or one that says 0,0: no beats, no deadlines."""
        self.assertEqual(connected(b"version:1.1\n").tick_s, 0.0)
        self.assertEqual(connected(b"version:1.1\nheart-beat:0,0\n").tick(1e9), b"")
