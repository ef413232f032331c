"""Fast senders and slow readers: guests are dropped, the host's senders wait, queues wait."""

from __future__ import annotations

from tests.host.broker.wire import BrokerCase, VmBrokerCase
from vmcontroller.common.destinations import REQUESTS, RESPONSES
from vmcontroller.common.stomp.frames import Frame, Version
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.peers import Peer as BrokerPeer
from vmcontroller.host.broker.rights import OpenRights, Principal, Role
from vmcontroller.host.broker.router import Router

KIB = 1024
TCP_KEEPS_BYTES = 64 * KIB


class SlowGuestTests(VmBrokerCase):
    limits = BrokerLimits(outbox_bytes=100 * KIB)

    def test_is_told_and_dropped(self):
        """When more waits for it than may; others and the host are not touched."""
        host, slow, quick = self.host(), self.guest(1), self.guest(2)
        for guest in (slow, quick):
            guest.subscribe(REQUESTS)
        slow.wire.stuck = True
        sent = 0
        while not slow.is_closing:
            host.send(REQUESTS, b"x" * 10_000)
            sent += 1
        self.assertLessEqual(sent, 20)
        self.assertEqual(len(quick.bodies()), sent)
        self.assertFalse(host.is_closing or quick.is_closing)
        *messages, error = slow.hear()
        self.assertIn("too slow", error.header("message"))
        self.assertEqual({len(message.body) for message in messages}, {10_000})
        self.assertLess(len(messages) * 10_000, TCP_KEEPS_BYTES + 10_000)

    def test_is_cut_when_it_does_not_read_that_either(self):
        """After the linger time nothing of it is kept."""
        host, slow = self.host(), self.guest(1)
        slow.subscribe(REQUESTS)
        slow.wire.stuck = True
        for _ in range(30):
            host.send(REQUESTS, b"x" * 10_000)
        self.clock.advance(BrokerLimits().linger_s)
        self.assertTrue(slow.wire.aborted)
        slow.lose()
        self.assertEqual(slow.connection.outbox.size_bytes, 0)

    def test_what_waits_goes_out_as_the_transport_takes_it(self):
        """Not all at once into the transport, where nobody counts it."""
        host, guest = self.host(), self.guest(1)
        guest.subscribe(REQUESTS)
        guest.wire.stuck = True
        for _ in range(15):
            host.send(REQUESTS, b"x" * 10_000)
        guest.hear()
        guest.connection.outbox.resumeProducing()
        self.assertLess(len(guest.wire.value()), TCP_KEEPS_BYTES + 11_000)

    def test_slow_for_a_while(self):
        """Is no reason to drop it: it gets everything, in order and whole."""
        host, guest = self.host(), self.guest(1)
        guest.subscribe(REQUESTS)
        guest.wire.stuck = True
        bodies = [b"%d" % n * 5000 for n in range(15)]
        for body in bodies:
            host.send(REQUESTS, body)
        self.assertGreater(guest.connection.outbox.size_bytes, 0)
        self.assertEqual([frame.body for frame in guest.unstick()], bodies)
        host.send(REQUESTS, b"after")
        self.assertEqual(guest.bodies(), [b"after"])


class SlowHostTests(VmBrokerCase):
    limits = BrokerLimits(outbox_bytes=200 * KIB)

    def setUp(self):
        super().setUp()
        self.daemon = self.host()
        self.daemon.subscribe(RESPONSES)
        self.daemon.wire.stuck = True

    def pour(self, guest, bodies):
        """Send as TCP would: not while the broker does not read."""
        bodies = list(bodies)
        while bodies and guest.wire.producerState == "producing":
            guest.send(RESPONSES, bodies.pop(0))
        return bodies

    def test_ten_megabytes_are_neither_lost_nor_piled_up(self):
        """The guest is not read while the host's outbox is over its mark, and goes on after."""
        guest = self.guest(1)
        bodies = [b"%04d" % n + b"x" * 65_532 for n in range(160)]
        left, got, most = bodies, [], 0
        while left:
            left = self.pour(guest, left)
            most = max(most, self.daemon.connection.outbox.size_bytes)
            self.daemon.wire.stuck = False
            got += [frame.body for frame in self.daemon.hear()]
            self.daemon.connection.outbox.resumeProducing()
            self.daemon.wire.stuck = True
        got += [frame.body for frame in self.daemon.unstick()]
        self.assertEqual(got, bodies)
        self.assertLess(most, 200 * KIB + 2 * 66 * KIB)
        self.assertFalse(guest.is_closing or self.daemon.is_closing)

    def test_frames_of_one_segment_wait_too(self):
        """What was read already is not routed while the mark is passed."""
        guest = self.guest(1)
        one = b"SEND\ndestination:%b\ncontent-length:50000\n\n%b\0" % (
            RESPONSES.encode(),
            b"x" * 50_000,
        )
        guest.raw(one * 20)
        self.assertLess(self.daemon.connection.outbox.size_bytes, 300 * KIB)
        self.assertEqual(len(self.daemon.unstick()), 20)

    def test_many_senders(self):
        """Each adds at most one frame over the mark; all of them go on, in order of each."""
        guests = [self.guest(n, host=f"10.0.1.{n}") for n in range(1, 21)]
        pending = {guest: [b"%d" % n * 10_000 for n in range(9)] for guest in guests}
        got = []
        while any(pending.values()):
            for guest in guests:
                pending[guest] = self.pour(guest, pending[guest])
            self.assertLess(self.daemon.connection.outbox.size_bytes, (200 + 20 * 11) * KIB)
            got += self.daemon.unstick()
            self.daemon.wire.stuck = True
        got += self.daemon.unstick()
        for number in range(1, 21):
            sender = f"52:54:00:00:00:{number:02X}"
            self.assertEqual(
                [frame.body[:1] for frame in got if frame.header("from") == sender],
                [b"%d" % n for n in range(9)],
            )

    def test_silent_guests_are_read(self):
        """Only who sends is held: heart-beats of others are still heard."""
        guest, other = self.guest(1), self.guest(2)
        self.pour(guest, [b"x" * 50_000] * 20)
        self.assertEqual(guest.wire.producerState, "paused")
        self.assertEqual(other.wire.producerState, "producing")

    def test_a_held_guest_is_not_dropped_for_silence(self):
        """Its heart-beats cannot be heard while it is not read; they count anew after that."""
        guest = self.session(login="52:54:00:00:00:01", heart_beat="10000,0")
        self.pour(guest, [b"x" * 50_000] * 20)
        self.clock.pump([2.5] * 40)
        self.assertFalse(guest.is_closing)
        self.daemon.unstick()
        self.clock.pump([2.5] * 7)
        self.assertFalse(guest.is_closing)
        self.clock.advance(2.5)
        self.assertTrue(guest.is_closing)

    def test_the_end_of_the_host_releases_the_guests(self):
        """They are read again; a topic without the host drops what they say."""
        guest = self.guest(1)
        self.pour(guest, [b"x" * 50_000] * 20)
        self.daemon.lose()
        self.assertEqual(guest.wire.producerState, "producing")
        guest.send(RESPONSES, b"x")
        self.assertFalse(guest.is_closing)

    def test_a_held_guest_may_go(self):
        """And is not resumed after that."""
        guest = self.guest(1)
        self.pour(guest, [b"x" * 50_000] * 20)
        guest.lose()
        self.daemon.unstick()
        self.assertEqual(guest.wire.producerState, "paused")
        self.assertEqual(self.factory._held, {})

    def test_the_host_may_speak_meanwhile(self):
        """It is itself never held, so it can always go on reading and answering."""
        guest = self.guest(1)
        guest.subscribe(REQUESTS)
        self.pour(guest, [b"x" * 50_000] * 20)
        self.daemon.send(REQUESTS, b"stop")
        self.assertEqual(guest.bodies(), [b"stop"])
        self.assertEqual(self.daemon.wire.producerState, "producing")


class SlowConsumerOfAQueueTests(BrokerCase):
    limits = BrokerLimits(outbox_bytes=1024 * KIB, burst_bytes=64 * KIB)

    def test_a_long_queue_does_not_drown_a_consumer(self):
        """It gets as much as it reads; the rest stays in the queue and is not lost with it."""
        sender, slow = self.session(), self.session()
        bodies = [b"%03d" % n + b"x" * 20_000 for n in range(300)]
        for body in bodies:
            sender.send("/queue/a", body)
        slow.wire.stuck = True
        slow.subscribe("/queue/a")
        self.assertFalse(slow.is_closing)
        self.assertLess(slow.connection.outbox.size_bytes, 200 * KIB)
        slow.lose()
        other = self.session()
        other.subscribe("/queue/a")
        got = other.bodies()
        self.assertEqual(got, bodies[-len(got) :])
        self.assertGreater(len(got), 280)

    def test_it_gets_all_when_it_reads(self):
        """In order, however slowly."""
        sender, slow = self.session(), self.session()
        bodies = [b"%03d" % n + b"x" * 20_000 for n in range(100)]
        for body in bodies:
            sender.send("/queue/a", body)
        slow.wire.stuck = True
        slow.subscribe("/queue/a")
        self.assertEqual([frame.body for frame in slow.unstick()], bodies)

    def test_each_turn_is_a_whole_burst(self):
        """Who keeps up gets a burst at a time, not a message at a time."""
        router = Router(rights=OpenRights(), limits=self.limits)
        principal = Principal(role=Role.ANYONE)
        peer = BrokerPeer(principal=principal, version=Version.V1_2, address="")
        for _ in range(100):
            send = Frame("SEND", (("destination", "/queue/a"),), b"x" * 15_000)
            router.receive(peer, send)
        subscribe = Frame("SUBSCRIBE", (("destination", "/queue/a"), ("id", "0")))
        self.assertEqual(len(router.receive(peer, subscribe)), 5)
        self.assertEqual(router.throttled, {peer})
        self.assertEqual(len(router.resume(peer)), 5)

    def test_a_slow_consumer_loses_its_turn(self):
        """Another takes what it does not."""
        sender, slow, quick = self.session(), self.session(), self.session()
        slow.wire.stuck = True
        for peer in (slow, quick):
            peer.subscribe("/queue/a")
        for _ in range(100):
            sender.send("/queue/a", b"x" * 20_000)
        self.assertFalse(slow.is_closing)
        self.assertGreater(len(quick.bodies()), 85)
