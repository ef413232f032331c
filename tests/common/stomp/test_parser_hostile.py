"""Streams that were right once and have been damaged: frames or ProtocolError, in bounded work."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.common.stomp.test_frames import frames
from tests.common.stomp.test_parser import split
from tests.common.stomp.test_parser_limits import CountingParser
from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import Frame, Version, encode
from vmcontroller.common.stomp.parser import Limits

LIMITS = Limits(line_bytes=40, header_count=6, body_bytes=70)
MOST_BYTES = (LIMITS.header_count + 2) * (LIMITS.line_bytes + 2) + LIMITS.body_bytes

places = st.integers(min_value=0, max_value=10_000)
pieces = st.binary(max_size=6) | st.sampled_from(
    [b"\0", b"\n", b"\n\n", b"\r\n", b":", b"\\", b"content-length:9", b"SEND\n\n", b"\xff"]
)


@st.composite
def damaged(draw, version):
    """Some frames one after the other, with octets cut out, put in and said twice."""
    sent = draw(st.lists(frames(version), max_size=5))
    octets = b"".join(encode(frame, version) for frame in sent)
    for start, length, piece in draw(
        st.lists(st.tuples(places, st.integers(min_value=0, max_value=20), pieces), max_size=4)
    ):
        at = start % (len(octets) + 1)
        octets = octets[:at] + piece + octets[at + length :]
    again = draw(st.booleans())
    return octets * 2 if again else octets


class DamagedStreamTests(SynchronousTestCase):
    @given(st.data(), st.sampled_from(list(Version)), st.lists(places, max_size=20))
    def test_frames_nothing_or_a_fault(self, data, version, cuts):
        """The same at every cut; and no octet is looked at more than a few times.

        Where a head has two faults, which of them is named may depend on the cut.
        """
        octets = data.draw(damaged(version))
        whole, _ = self.outcome([octets], version)
        found, parser = self.outcome(split(octets, cuts), version)
        self.assertEqual(found, whole)
        # Each chunk may look at two octets again, and lines are counted beside being searched for.
        self.assertLessEqual(parser.scanned_bytes, 4 * len(octets) + 4 * (len(cuts) + 1))

    @given(st.data(), st.sampled_from(list(Version)))
    def test_no_more_is_kept_than_a_frame_may_have(self, data, version):
        """However little comes at a time."""
        octets = data.draw(damaged(version))
        parser = CountingParser(version=version, limits=LIMITS)
        try:
            for at in range(len(octets)):
                for frame in parser.feed(octets[at : at + 1]):
                    self.assertIsInstance(frame, Frame)
                self.assertLessEqual(len(parser._buffer), MOST_BYTES)
        except ProtocolError as fault:
            self.assertTrue(str(fault).isprintable())

    def outcome(self, chunks, version):
        parser = CountingParser(version=version, limits=LIMITS)
        found = []
        try:
            for chunk in chunks:
                parser.push(chunk)
                while (frame := parser.next_frame()) is not None:
                    found.append(frame)
        except ProtocolError as fault:
            self.assertTrue(str(fault).isprintable())
            found.append(ProtocolError)
        return found, parser
