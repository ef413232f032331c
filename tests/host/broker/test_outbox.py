"""Large frames go to the transport in slices, and always as a whole."""

from __future__ import annotations

from tests.host.broker.wire import BrokerCase
from vmcontroller.host.broker.limits import BrokerLimits

MIB = 1 << 20


class LargeFrameTests(BrokerCase):
    """A subscriber that reads slowly, or not at all."""

    limits = BrokerLimits(outbox_bytes=3 * MIB)

    def setUp(self):
        super().setUp()
        self.sender, self.slow = self.session(), self.session()
        self.slow.subscribe("/topic/a")
        self.slow.wire.stuck = True

    def test_the_transport_gets_little_at_once(self):
        """The rest waits here, where it is counted, and comes out as it was."""
        body = bytes(range(256)) * 4096
        self.sender.send("/topic/a", body)
        self.assertLess(len(self.slow.wire.value()), MIB // 4)
        self.assertGreater(self.slow.connection.outbox.size_bytes, MIB // 2)
        self.sender.send("/topic/a", b"next")
        bodies = [frame.body for frame in self.slow.unstick()]
        self.assertEqual(bodies, [body, b"next"])
        self.assertEqual(self.slow.connection.outbox.size_bytes, 0)

    def test_a_frame_that_has_begun_is_ended(self):
        """Who is dropped in the middle of a frame still gets its end, then the ERROR alone."""
        for _ in range(4):
            self.sender.send("/topic/a", b"x" * MIB)
        self.assertTrue(self.slow.is_closing)
        self.slow.wire.stuck = False
        first, error = self.slow.hear()
        self.assertEqual(first.body, b"x" * MIB)
        self.assertIn("too slow", error.header("message"))

    def test_many_share_one(self):
        """What waits for several peers is there once."""
        other = self.session()
        other.subscribe("/topic/a")
        other.wire.stuck = True
        self.sender.send("/topic/a", b"x" * MIB)
        rests = [peer.connection.outbox._rest.obj for peer in (self.slow, other)]
        self.assertIs(rests[0], rests[1])
