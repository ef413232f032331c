"""What MorbidQ 0.8 did wrong and this broker does right, each as it was seen there, A to J."""

from __future__ import annotations

import os

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock

from tests.host.broker.wire import BrokerCase, Peer
from vmcontroller.host.broker import morbid
from vmcontroller.host.broker.limits import BrokerLimits


class MorbidFaultTests(BrokerCase):
    def test_a_rights_are_not_overwritten(self):
        """A factory replaced the rights that it was given by allow-all."""
        mqm = morbid.MessageQueueManager()
        mqm.set_queue_rights(lambda groups, queue: set())
        factory = morbid.StompFactory(mqm, reactor=Clock())
        one, two = (Peer(factory.buildProtocol(IPv4Address("TCP", "x", n))) for n in (1, 2))
        one.connect("1.0")
        two.connect("1.0")
        one.send("/topic/a")
        two.say("SUBSCRIBE", ("destination", "/topic/a"))
        self.assertIn("may not send", one.error().header("message"))
        self.assertIn("may not subscribe", two.error().header("message"))

    def test_b_one_frame_breaks_no_disconnect(self):
        """SUBSCRIBE to /pubsub/x left dead subscribers that swallowed other clients' jobs."""
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

    def test_c_a_chunk_that_begins_with_a_line_feed(self):
        """A heart-beat made the next frame vanish."""
        peer = self.session()
        peer.subscribe("/topic/a")
        peer.raw(b"\nSEND\ndestination:/topic/a\n\n1\0")
        peer.raw(b"\n")
        peer.raw(b"\n\nSEND\ndestination:/topic/a\n\n2\0\n")
        self.assertEqual(peer.bodies(), [b"1", b"2"])

    def test_d_nul_in_a_body(self):
        """It grew to NUL LF, or cut the body."""
        peer = self.session()
        peer.subscribe("/topic/a")
        body = b"\0\0\n\0" + bytes(range(256))
        peer.send("/topic/a", body)
        self.assertEqual(peer.bodies(), [body])

    def test_e_ack_nack_and_transactions(self):
        """Each raised AttributeError and dropped the connection without a word."""
        peer = self.session()
        peer.subscribe("/queue/a", ack="client-individual")
        peer.send("/queue/a", b"1")
        peer.send("/queue/a", b"2")
        first, second = peer.hear()
        peer.say("ACK", ("id", first.header("ack")))
        peer.say("BEGIN", ("transaction", "t"))
        peer.say("COMMIT", ("transaction", "t"))
        peer.say("BEGIN", ("transaction", "t"))
        peer.say("ABORT", ("transaction", "t"))
        peer.say("NACK", ("id", second.header("ack")), ("receipt", "r"))
        self.assertEqual([f.command for f in peer.hear()], ["MESSAGE", "RECEIPT"])
        stranger = self.session()
        stranger.say("ACK", ("id", "x"))
        stranger.error()

    def test_f_the_stomp_command(self):
        """It was discarded, and clients of 1.1 and 1.2 waited for ever."""
        peer = self.peer()
        peer.say("STOMP", ("accept-version", "1.1,1.2"), ("host", "x"))
        self.assertEqual([f.command for f in peer.hear()], ["CONNECTED"])

    def test_g_receipts_and_unsubscribe_by_id(self):
        """The first was ignored, the second raised KeyError."""
        peer = self.session()
        peer.subscribe("/topic/a", "x", receipt="1")
        peer.say("UNSUBSCRIBE", ("id", "x"), ("receipt", "2"))
        self.assertEqual([f.header("receipt-id") for f in peer.hear()], ["1", "2"])

    def test_g_silence_is_no_answer(self):
        """Unknown commands were passed over, and version 2.0 was answered with CONNECTED."""
        peer = self.session()
        peer.raw(b"HELLO\n\n\0")
        self.assertIn("HELLO", peer.error().header("message"))
        peer = self.peer()
        peer.say("CONNECT", ("accept-version", "2.0"))
        peer.error()

    def test_g_heart_beats(self):
        """They were ignored: a client that is gone stayed subscribed."""
        peer = self.session(heart_beat="1000,1000")
        peer.subscribe("/queue/a")
        self.clock.pump([0.25] * 8)
        self.assertTrue(peer.is_closing)
        other = self.session()
        other.send("/queue/a", b"x")
        other.subscribe("/queue/a")
        self.assertEqual(other.bodies(), [b"x"])

    def test_h_odd_headers_of_connect(self):
        """`self:` was passed on as a Python argument."""
        peer = self.peer()
        peer.say("CONNECT", ("self", "x"), ("peer", "y"))
        self.assertEqual([f.command for f in peer.hear()], ["CONNECTED"])

    def test_h_a_frame_before_connect(self):
        """An assertion dropped the connection; now an ERROR says what is wrong."""
        peer = self.peer()
        peer.send("/topic/a")
        self.assertIn("first frame must be CONNECT", peer.error().header("message"))

    def test_h_a_configuration_with_port_and_verbose(self):
        """Made it crash."""
        path = os.path.abspath(self.mktemp())
        with open(path, "w", encoding="utf-8") as file:
            file.write("port=61613\nverbose=true\n")
        self.assertTrue(morbid.get_stomp_factory(path).verbose)

    def test_i_input_is_bounded(self):
        """A line that never ended was kept whole."""
        endless = self.session()
        for _ in range(20):
            endless.raw(b"x" * 1000)
        self.assertTrue(endless.is_closing)

    def test_i_queues_are_bounded(self):
        """They grew as long as somebody sent."""
        self.start(BrokerLimits(queue_messages=10))
        filler = self.session()
        for _ in range(20):
            filler.send("/queue/a")
        self.assertTrue(filler.is_closing)
        self.assertEqual(len(self.factory._router.queues.by_name["/queue/a"]), 10)

    def test_i_destinations_are_forgotten(self):
        """They were kept for ever."""
        peer = self.session()
        for number in range(1000):
            peer.subscribe(f"/topic/{number}")
            peer.say("UNSUBSCRIBE", ("id", "0"))
            peer.send(f"/queue/{number}", b"x")
            peer.subscribe(f"/queue/{number}")
            peer.say("UNSUBSCRIBE", ("id", "0"))
        router = self.factory._router
        self.assertEqual((router.topics, router.queues.by_name), ({}, {}))

    def test_i_what_a_reader_leaves_is_bounded(self):
        """It was kept for as long as the reader stayed."""
        self.start(BrokerLimits(outbox_bytes=100_000))
        reader, sender = self.session(), self.session()
        reader.subscribe("/topic/a")
        reader.wire.stuck = True
        for _ in range(20):
            sender.send("/topic/a", b"x" * 20_000)
        self.assertTrue(reader.is_closing)

    def test_j_a_large_frame_in_pieces(self):
        """Each piece moved all before it again; tests.common.stomp counts the octets looked at."""
        peer = self.session()
        peer.subscribe("/topic/a")
        body = b"x" * (1 << 20)
        octets = b"SEND\ndestination:/topic/a\ncontent-length:%d\n\n%b\0" % (len(body), body)
        for start in range(0, len(octets), 1000):
            peer.raw(octets[start : start + 1000])
        self.assertEqual(peer.bodies(), [body])
