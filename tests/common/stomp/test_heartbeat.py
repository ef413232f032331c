"""Heart-beats: what is agreed upon, when one is due, when silence is too long."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.heartbeat import HeartBeats, agree, parse_heart_beat


class NegotiationTests(SynchronousTestCase):
    def test_the_larger_interval_is_agreed(self):
        """1.2, Heart-beating: every MAX(cx, sy) milliseconds."""
        self.assertEqual(agree(1.0, 10.0), 10.0)
        self.assertEqual(agree(10.0, 1.0), 10.0)

    def test_none_if_either_has_none(self):
        """0 is: cannot, or does not want."""
        self.assertEqual(agree(0.0, 10.0), 0.0)
        self.assertEqual(agree(10.0, 0.0), 0.0)

    def test_the_header_is_milliseconds(self):
        """Two numbers of them."""
        self.assertEqual(parse_heart_beat("1500,0"), (1.5, 0.0))

    def test_malformed_headers(self):
        """Are a ProtocolError that quotes them."""
        for text in ("", "1", "1,2,3", "-1,5", "a,b", "1.5,1", " 1,1", "9" * 5000 + ",1"):
            with self.assertRaises(ProtocolError) as caught:
                parse_heart_beat(text)
            self.assertIn("heart-beat", str(caught.exception))


class BeatTests(SynchronousTestCase):
    @given(
        st.floats(min_value=0.5, max_value=60),
        st.floats(min_value=0.0, max_value=60),
        st.lists(st.floats(min_value=0, max_value=300), max_size=30),
    )
    def test_never_silent_for_longer_than_promised(self, send_s, receive_s, others):
        """Whatever else is sent and whenever, octets leave at least every `send_s`."""
        receive_s = receive_s if receive_s >= 0.5 else 0.0
        beats = HeartBeats(send_s=send_s, receive_s=receive_s, now=0.0)
        ticks = int(300 / beats.tick_s)
        sent = [0.0]
        happenings = sorted(
            [(at, False) for at in others]
            + [(number * beats.tick_s, True) for number in range(1, ticks + 1)]
        )
        for now, is_tick in happenings:
            if not is_tick:
                beats.spoke()
            if not is_tick or beats.is_due(now):
                sent.append(now)
        gaps = [later - earlier for earlier, later in pairwise(sent)]
        self.assertLessEqual(max(gaps, default=0.0), send_s * 1.000001)

    def test_not_many_more_than_needed(self):
        """An idle connection sends at most twice as many as promised."""
        beats = HeartBeats(send_s=10, receive_s=10, now=0)
        sent = sum(beats.is_due(n * beats.tick_s) for n in range(1, 400))
        self.assertLessEqual(sent, 200)
        self.assertGreaterEqual(sent, 100)

    def test_silence(self):
        """Twice the interval is tolerated; anything heard begins it anew."""
        beats = HeartBeats(send_s=0, receive_s=10, now=0)
        self.assertEqual(beats.silent_s(19.9), 0.0)
        self.assertEqual(beats.silent_s(20.0), 20.0)
        beats.heard(15.0)
        self.assertEqual(beats.silent_s(34.9), 0.0)
        self.assertEqual(beats.silent_s(35.0), 20.0)

    def test_none_agreed(self):
        """Then there is nothing to do, ever."""
        beats = HeartBeats(send_s=0, receive_s=0, now=0)
        self.assertEqual(beats.tick_s, 0.0)
        self.assertEqual(beats.silent_s(1e9), 0.0)
        self.assertFalse(beats.is_due(1e9))
