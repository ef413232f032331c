"""A guest that sends too much is made to wait, and nobody else."""

from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.host.broker.wire import BrokerCase, VmBrokerCase
from vmcontroller.common.destinations import CONNECTIONS
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.rates import Budget, Rates

RATES = Rates(frames_per_s=10, burst_frames=20, bytes_per_s=1000, burst_bytes=50_000)
LIMITS = BrokerLimits(rates=RATES, heart_beat_s=1.0)


class BudgetTests(SynchronousTestCase):
    """The budget alone."""

    @given(
        st.lists(
            st.tuples(st.floats(0, 5), st.integers(0, 50), st.integers(0, 100_000)), max_size=50
        )
    )
    def test_who_waits_as_told_keeps_to_the_rates(self, sendings):
        """Never more than the burst, the rate, and one sending beyond, by frames and by bytes."""
        now = 0.0
        budget = Budget(RATES, now)
        frames = octets = 0
        for idle_s, more_frames, more_octets in sendings:
            now += idle_s
            self.assertLessEqual(frames, RATES.burst_frames + now * RATES.frames_per_s + 0.01)
            self.assertLessEqual(octets, RATES.burst_bytes + now * RATES.bytes_per_s + 0.01)
            frames += more_frames
            octets += more_octets
            now += budget.spend(more_frames, more_octets, now)

    def test_within_the_rate_nobody_waits(self):
        """A guest that keeps to the rate is never held, however long it goes on."""
        budget = Budget(RATES, 0.0)
        self.assertEqual({budget.spend(10, 1000, float(now)) for now in range(1000)}, {0.0})

    def test_full_again(self):
        """After a pause all of it is there, and no more than that."""
        budget = Budget(RATES, 0.0)
        self.assertTrue(budget.is_full(0.0))
        budget.spend(20, 10, 0.0)
        self.assertFalse(budget.is_full(1.0))
        self.assertTrue(budget.is_full(1000.0))
        self.assertEqual(budget.spend(30, 0, 1000.0), 1.0)


class HeldTests(VmBrokerCase):
    """Guests of a broker."""

    limits = LIMITS

    def setUp(self):
        super().setUp()
        self.daemon = self.host()
        self.daemon.subscribe(CONNECTIONS)

    def flood(self, guest, frames):
        guest.raw(f"SEND\ndestination:{CONNECTIONS}\n\nx\0".encode() * frames)

    def test_it_is_not_read_for_as_long(self):
        """What came is delivered; then its transport is paused until the budget is even."""
        guest = self.guest()
        self.flood(guest, 39)  # and CONNECT
        self.assertEqual(len(self.daemon.bodies()), 39)
        self.assertEqual(guest.wire.producerState, "paused")
        self.assertEqual(self.factory.stats().held, 1)
        self.clock.advance(1.9)
        self.assertEqual(guest.wire.producerState, "paused")
        self.clock.advance(0.2)
        self.assertEqual(guest.wire.producerState, "producing")
        self.assertFalse(guest.is_closing)
        self.assertEqual(self.factory.stats().held, 0)
        self.assertEqual(self.factory.stats().drops, {"rate-held": 1})

    def test_others_have_their_turn(self):
        """Of very many frames in one piece some wait, in order, until others have been heard."""
        self.start(BrokerLimits())
        daemon, guest = self.host(), self.guest()
        daemon.subscribe(CONNECTIONS)
        guest.raw(
            b"".join(f"SEND\ndestination:{CONNECTIONS}\n\n{n}\0".encode() for n in range(200))
        )
        heard = daemon.bodies()
        self.assertEqual((len(heard), guest.wire.producerState), (64, "paused"))
        for _ in range(3):
            self.clock.advance(0)
            heard += daemon.bodies()
        self.assertEqual(heard, [b"%d" % n for n in range(200)])
        self.assertEqual(guest.wire.producerState, "producing")
        self.assertEqual(self.factory.stats().drops, {})

    def test_large_bodies_count(self):
        """Bytes are counted, too."""
        guest = self.guest()
        guest.send(CONNECTIONS, bytes(60_000))
        self.assertEqual(guest.wire.producerState, "paused")

    def test_others_go_on(self):
        """A second guest and the host itself are read all the time."""
        self.flood(self.guest(1), 100)
        other = self.guest(2)
        other.send(CONNECTIONS, b"hello")
        self.assertEqual(self.daemon.bodies()[-1], b"hello")
        self.assertEqual(other.wire.producerState, "producing")
        for _ in range(1000):
            self.daemon.send("/topic/vmcontroller_requests", b"x")
        self.assertEqual(self.daemon.wire.producerState, "producing")

    def test_its_silence_is_not_counted(self):
        """Whoever is held cannot be heard, and is not dropped for it."""
        guest = self.session(login="52:54:00:00:00:01", heart_beat="1000,0")
        self.flood(guest, 100)
        for _ in range(16):
            self.clock.advance(0.5)
        self.assertFalse(guest.is_closing)
        for _ in range(10):
            self.clock.advance(0.5)
        self.assertIn("nothing has come", guest.error().header("message"))

    def test_coming_again_does_not_help(self):
        """The budget is the guest's, not the connection's."""
        self.flood(self.guest(), 100)
        again = self.guest()
        again.send(CONNECTIONS, b"x")
        self.assertEqual(again.wire.producerState, "paused")

    def test_it_ends_while_it_waits(self):
        """Nothing is left of a guest that is gone, or that is dropped."""
        guest = self.guest()
        self.flood(guest, 100)
        guest.lose()
        self.clock.advance(60)
        self.assertEqual([call for call in self.clock.getDelayedCalls() if call.active()], [])

    def test_budgets_of_who_is_gone(self):
        """They are forgotten when there are many, but for those that are not full."""
        self.start(dataclasses.replace(LIMITS, connections=3))
        self.daemon = self.host()
        for number in range(1, 8):
            guest = self.guest(number)
            guest.lose()
            self.clock.advance(10)
        self.assertLessEqual(len(self.factory._guests._budgets), 3)


class NoRatesTests(BrokerCase):
    """A broker without rules."""

    limits = LIMITS

    def test_anyone_is_not_held(self):
        """Rates are for guests."""
        peer = self.session()
        for _ in range(200):
            peer.send("/topic/a", b"x")
        self.assertEqual(peer.wire.producerState, "producing")


class LingerTests(BrokerCase):
    """What comes behind a frame for which the peer is dropped."""

    def test_it_is_read_up_to_a_limit(self):
        """Enough that the peer sees the ERROR; one that sends on and on is not read any more."""
        peer = self.session()
        peer.raw(b"SEND\ndestination:/topic/a\ncontent-length:67108864\n\n")
        self.assertIn("larger", peer.error().header("message"))
        for _ in range(8):
            peer.raw(bytes(1 << 20))
        self.assertEqual(peer.wire.producerState, "producing")
        peer.raw(bytes(1 << 20))
        self.assertEqual(peer.wire.producerState, "paused")
        self.clock.advance(BrokerLimits().linger_s)
        self.assertTrue(peer.wire.aborted)
