"""One connection to the broker: negotiation, receipts, errors, heart-beats, deadlines, limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel, globalLogPublisher

from tests.host.broker.wire import BrokerCase, Peer, VmBrokerCase
from vmcontroller.common.stomp.frames import CLIENT_COMMANDS, Frame, Version, encode
from vmcontroller.common.stomp.parser import Limits
from vmcontroller.host.broker.limits import BrokerLimits


class NegotiationTests(BrokerCase):
    def negotiated(self, *headers, command="CONNECT"):
        peer = self.peer()
        peer.say(command, *headers)
        [frame] = peer.hear()
        return frame

    def test_the_highest_common_version(self):
        """1.2, Protocol Negotiation; spaces in the list do no harm."""
        for accepted, version in (
            ("1.0", "1.0"),
            ("1.0,1.1", "1.1"),
            ("1.0,1.1,1.2", "1.2"),
            ("1.2, 1.1", "1.2"),
            ("1.1,2.0", "1.1"),
        ):
            connected = self.negotiated(("accept-version", accepted), ("host", "x"))
            self.assertEqual(connected.header("version"), version)

    def test_without_accept_version_it_is_1_0(self):
        """As a 1.0 client connects; it hears of a session, as MorbidQ's did."""
        connected = self.negotiated(("login", "x"), ("passcode", "y"))
        self.assertEqual(connected.command, "CONNECTED")
        self.assertEqual(connected.header("version"), "1.0")
        self.assertTrue(connected.header("session"))

    def test_no_common_version(self):
        """1.2, Protocol Negotiation: an ERROR that lists what the server has, and the end."""
        peer = self.peer()
        peer.say("CONNECT", ("accept-version", "2.1"))
        error = peer.error()
        self.assertEqual(error.header("version"), "1.0,1.1,1.2")
        self.assertIn(b"no common version", error.body)

    def test_sessions_differ(self):
        """Each connection has a session of its own."""
        sessions = {self.negotiated().header("session") for _ in range(3)}
        self.assertEqual(len(sessions), 3)

    def test_a_connect_with_cr_lf(self):
        """And the rest of the segment by the version agreed upon."""
        peer = self.peer()
        peer.raw(
            b"CONNECT\r\naccept-version:1.2\r\n\r\n\0\r\n"
            b"SUBSCRIBE\r\nid:a\\cb\r\ndestination:/topic/a\r\nreceipt:r\r\n\r\n\0"
        )
        self.assertEqual([f.command for f in peer.hear()], ["CONNECTED", "RECEIPT"])
        self.assertEqual(list(peer.connection.peer.subscriptions), ["a:b"])

    def test_connect_twice(self):
        """Is an ERROR."""
        peer = self.session()
        peer.say("CONNECT", ("accept-version", "1.2"))
        self.assertIn("CONNECT is not supported", peer.error().header("message"))

    def test_a_frame_before_connect(self):
        """Is an ERROR, and nothing of it is done."""
        listener, peer = self.session(), self.peer()
        listener.subscribe("/topic/a")
        peer.send("/topic/a", b"x")
        self.assertIn("first frame must be CONNECT", peer.error().header("message"))
        self.assertEqual(listener.hear(), [])

    def test_a_bad_heart_beat(self):
        """Is an ERROR, before any session."""
        peer = self.peer()
        peer.say("CONNECT", ("accept-version", "1.2"), ("heart-beat", "soon"))
        self.assertIn("heart-beat", peer.error().header("message"))


class ReceiptTests(BrokerCase):
    def test_on_any_frame(self):
        """1.2, Standard Headers: SEND, SUBSCRIBE, UNSUBSCRIBE, ACK and DISCONNECT."""
        peer = self.session()
        peer.say("SUBSCRIBE", ("destination", "/queue/a"), ("id", "0"), ("receipt", "r:1"))
        self.assertEqual(peer.hear(), [Frame("RECEIPT", (("receipt-id", "r:1"),))])
        peer.subscribe("/queue/b", "1", ack="client", receipt="r2")
        peer.send("/queue/b", b"", receipt="r3")
        receipt, message, after = peer.hear()
        self.assertEqual([receipt.header("receipt-id"), after.header("receipt-id")], ["r2", "r3"])
        peer.say("ACK", ("id", message.header("ack")), ("receipt", "r4"))
        peer.say("UNSUBSCRIBE", ("id", "1"), ("receipt", "r5"))
        peer.say("DISCONNECT", ("receipt", "r6"))
        self.assertEqual([f.header("receipt-id") for f in peer.hear()], ["r4", "r5", "r6"])

    def test_none_unless_asked_for(self):
        """Silence otherwise."""
        peer = self.session()
        peer.subscribe("/topic/a")
        peer.send("/topic/b")
        self.assertEqual(peer.hear(), [])

    def test_disconnect(self):
        """Its receipt, then the end; what is sent after it is not done."""
        listener, peer = self.session(), self.session()
        listener.subscribe("/topic/a")
        peer.raw(
            b"SEND\ndestination:/topic/a\n\n1\0DISCONNECT\nreceipt:x\n\n\0"
            b"SEND\ndestination:/topic/a\n\n2\0"
        )
        peer.raw(b"SEND\ndestination:/topic/a\n\n3\0")
        self.assertEqual([f.command for f in peer.hear()], ["RECEIPT"])
        self.assertTrue(peer.is_closing)
        self.assertEqual(listener.bodies(), [b"1"])


class ErrorTests(BrokerCase):
    def refused(self, octets, version="1.2"):
        peer = self.session(version)
        peer.raw(octets)
        return peer.error()

    def test_an_error_names_the_receipt(self):
        """1.2, ERROR: receipt-id of the frame that failed, a short message, and a body."""
        error = self.refused(b"SEND\nreceipt:m\\c1\n\nx\0")
        self.assertEqual(error.header("receipt-id"), "m:1")
        self.assertIn("SEND needs the header destination", error.header("message"))
        self.assertEqual(error.header("content-type"), "text/plain")
        self.assertIn(b"destination", error.body)

    def test_selectors(self):
        """Are refused: to ignore one would deliver everything to everybody."""
        octets = b"SUBSCRIBE\nid:0\ndestination:/topic/a\nselector:a=1\n\n\0"
        self.assertIn("selectors", self.refused(octets).header("message"))

    def test_missing_headers(self):
        """Are named."""
        for octets, name in (
            (b"SUBSCRIBE\nid:0\n\n\0", "destination"),
            (b"SUBSCRIBE\ndestination:/topic/a\n\n\0", "id"),
            (b"SUBSCRIBE\nid:0\ndestination:\n\n\0", "destination"),
            (b"UNSUBSCRIBE\n\n\0", "id"),
            (b"ACK\n\n\0", "id"),
        ):
            self.assertIn(name, self.refused(octets).header("message"))
        self.assertIn("message-id", self.refused(b"ACK\n\n\0", "1.1").header("message"))
        octets = b"ACK\nmessage-id:1\n\n\0"
        self.assertIn("subscription", self.refused(octets, "1.1").header("message"))

    def test_bad_values(self):
        """Say what is allowed, or that it is not there."""
        octets = b"SUBSCRIBE\nid:0\ndestination:/topic/a\nack:maybe\n\n\0"
        self.assertIn("client-individual", self.refused(octets).header("message"))
        octets = b"UNSUBSCRIBE\nid:nine\n\n\0"
        self.assertIn("'nine'", self.refused(octets).header("message"))
        octets = b"SUBSCRIBE\nid:0\ndestination:/topic/a\n\n\0"
        self.assertIn("exists already", self.refused(octets * 2).header("message"))

    def test_frames_of_servers(self):
        """A client may not send MESSAGE and its like."""
        self.assertIn("not supported", self.refused(b"MESSAGE\n\n\0").header("message"))

    def test_malformed_octets(self):
        """An ERROR, too; the frames before them are done."""
        listener, peer = self.session(), self.session()
        listener.subscribe("/topic/a")
        peer.raw(b"SEND\ndestination:/topic/a\n\n1\0GET / HTTP/1.1\r\n\r\n")
        self.assertIn("GET / HTTP/1.1", peer.error().header("message"))
        self.assertEqual(listener.bodies(), [b"1"])

    def test_after_an_error_the_peer_may_read_it(self):
        """1.2, Connection Lingering: half-closed, still read, cut only after a while."""
        peer = self.session()
        peer.raw(b"NACK\nid:1\n\n\0")
        peer.raw(b"SEND\n" * 1000)
        self.assertFalse(peer.wire.aborted)
        self.clock.advance(BrokerLimits().linger_s)
        self.assertTrue(peer.wire.aborted)

    def test_a_peer_that_closes_leaves_no_timer(self):
        """Whether after an ERROR, in a session with heart-beats, or before CONNECT."""
        failed, beating, silent = self.session(), self.session(heart_beat="1000,1000"), self.peer()
        failed.raw(b"NACK\nid:1\n\n\0")
        for peer in (failed, beating, silent):
            peer.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    commands = st.sampled_from(sorted(CLIENT_COMMANDS))
    some_headers = st.lists(
        st.tuples(
            st.sampled_from(["destination", "id", "ack", "receipt", "message-id", "transaction"]),
            st.sampled_from(["/queue/a", "/topic/a", "x", "0", "client", "auto", "", "1-x", "-"]),
        ),
        max_size=4,
    )

    @given(st.lists(st.tuples(commands, some_headers), max_size=12), st.sampled_from(list(Version)))
    def test_any_frames(self, frames, version):
        """Whatever a client says, it is answered or refused; nothing is raised or left behind."""
        self.start(self.limits)
        peer = self.session(version.value)
        for command, headers in frames:
            if command not in {"CONNECT", "STOMP"}:
                peer.raw(encode(Frame(command, tuple(headers)), version))
        self.assertEqual(any(f.command == "ERROR" for f in peer.hear()), self.failed(peer))
        peer.lose()
        router = self.factory._router
        self.assertEqual((router.topics, len(router.transactions)), ({}, 0))
        waiting = sum(m.cost_bytes for q in router.queues.by_name.values() for m in q._messages)
        self.assertEqual(router.queues.queued_bytes, waiting)

    def failed(self, peer):
        return peer.is_closing and peer.connection._reason != "disconnected"


class HeartBeatTests(BrokerCase):
    def test_negotiated_in_connected(self):
        """1.2, Heart-beating: what the broker can do and wants; the client's wish decides."""
        connected = self.peer().connect(heart_beat="10000,10000")
        self.assertEqual(connected.header("heart-beat"), "1000,1000")

    def test_the_broker_beats(self):
        """An idle client hears an end of line in time, every time."""
        peer = self.session(heart_beat="0,10000")
        for _ in range(10):
            self.clock.pump([2.5] * 4)
            self.assertIn(b"\n", peer.wire.value())
            peer.wire.clear()

    def test_messages_count_as_beats(self):
        """While messages flow there are none between them."""
        peer, sender = self.session(heart_beat="0,10000"), self.session()
        peer.subscribe("/topic/a")
        for _ in range(20):
            self.clock.advance(2.5)
            sender.send("/topic/a", b"x")
            octets = peer.wire.value()
            self.assertTrue(octets.startswith(b"MESSAGE"), octets[:20])
            peer.wire.clear()

    def test_a_silent_client(self):
        """Is told and dropped after twice its interval, not before."""
        peer = self.session(heart_beat="10000,0")
        self.clock.pump([2.5] * 7)
        self.assertFalse(peer.is_closing)
        self.clock.advance(2.5)
        self.assertIn("20.0 s", peer.error().header("message"))

    def test_a_beating_client(self):
        """Stays for as long as it beats."""
        peer = self.session(heart_beat="10000,0")
        for _ in range(20):
            self.clock.pump([2.5] * 4)
            peer.raw(b"\n")
        self.assertFalse(peer.is_closing)

    def test_without(self):
        """A client that offers and wants none is left alone."""
        peer = self.session()
        self.clock.advance(1e6)
        self.assertEqual(peer.wire.value(), b"")
        self.assertFalse(peer.is_closing)


class LimitTests(BrokerCase):
    limits = BrokerLimits(
        frame=Limits(line_bytes=100, header_count=5, body_bytes=50), connections=2, subscriptions=2
    )

    def test_no_connect(self):
        """Ten seconds, heart-beats notwithstanding; and no limit once it has come."""
        late, early = self.peer(), self.session()
        self.clock.advance(9.9)
        late.raw(b"\n")
        self.assertFalse(late.is_closing)
        self.clock.advance(0.1)
        self.assertIn("no CONNECT within 10 s", late.error().header("message"))
        self.assertFalse(early.is_closing)

    def test_too_many_connections(self):
        """The one too many takes no descriptor even for a moment; when one goes there is room."""
        one, _ = self.session(), self.session()
        self.assertIsNone(self.accept())
        one.lose()
        self.assertEqual(self.peer().connect().command, "CONNECTED")

    def test_too_many_subscriptions(self):
        """Of one connection."""
        peer = self.session()
        peer.subscribe("/topic/a", "0")
        peer.subscribe("/topic/b", "1")
        peer.say("SUBSCRIBE", ("destination", "/topic/c"), ("id", "2"))
        self.assertIn("2 subscriptions", peer.error().header("message"))

    def test_frames_that_are_too_large(self):
        """Line, headers and body have their limits from the first octet on, login or not."""
        for octets, naming in (
            (b"x" * 101, "100 bytes"),
            (b"CONNECT\n" + b"a:b\n" * 6, "5 headers"),
            (b"CONNECT\ncontent-length:51\n\n", "50 bytes"),
            (b"CONNECT\n\n" + b"x" * 51, "50 bytes"),
        ):
            peer = self.peer()
            peer.raw(octets)
            self.assertIn(naming, peer.error().header("message"))
            peer.lose()


class LogTests(VmBrokerCase):
    def setUp(self):
        super().setUp()
        self.logged = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    def texts(self):
        return [
            event["log_format"].format(**event)
            for event in self.logged
            if event["log_level"] >= LogLevel.info
        ]

    def test_connections_are_logged_with_who_and_whence(self):
        """One line when it comes, one when it goes, none for each message."""
        guest = self.guest(7)
        for _ in range(10):
            guest.send("/topic/vmcontroller_connections", b"x")
        guest.lose()
        came, went = self.texts()
        self.assertIn("10.0.0.2:1000", came)
        self.assertIn("52:54:00:00:00:07", came)
        self.assertIn("52:54:00:00:00:07", went)

    def test_what_a_stranger_writes_cannot_forge_a_line(self):
        """Control characters of a login or a command come out escaped."""
        for octets in (
            b"CONNECT\nlogin:x\x1b[2J\x07\n\n\0",
            b"CONN\x1b[2J\n\n\0",
        ):
            peer = self.peer()
            peer.raw(octets)
            peer.lose()
        for text in self.texts():
            self.assertTrue(text.isprintable(), text)
        self.assertIn("\\x1b", "".join(self.texts()))

    def test_passcodes_are_not_logged(self):
        """Nor answered."""
        peer = Peer(self.factory.buildProtocol(None))
        peer.say("CONNECT", ("login", "x"), ("passcode", "hunter2"))
        self.assertNotIn(b"hunter2", peer.wire.value())
        peer.lose()
        self.assertNotIn("hunter2", "".join(self.texts()))
