"""Frames on a serial port: whatever was cut, lost or left behind, what follows is understood."""

from __future__ import annotations

import itertools
import time

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.channel import (
    MOST_PAYLOAD_BYTES,
    MOST_SESSION,
    PADDING,
    Deframer,
    Frame,
    Kind,
    Numbering,
)

sessions = st.integers(0, MOST_SESSION)
frames = st.builds(
    Frame,
    kind=st.sampled_from(Kind),
    session=sessions,
    number=sessions,
    payload=st.binary(max_size=300),
)
# Much of what looks like a beginning, so that the parser has something to be mistaken about.
garbage = st.lists(
    st.one_of(st.binary(max_size=40), st.sampled_from([bytes([kind]) * 20 for kind in Kind])),
    max_size=6,
).map(b"".join)


def parsed(*pieces: bytes) -> list[Frame]:
    """Return the frames that come out of pieces pushed one by one."""
    deframer = Deframer()
    found = []
    for piece in pieces:
        deframer.push(piece)
        while (frame := deframer.next_frame()) is not None:
            found.append(frame)
    return found


class DeframerTests(SynchronousTestCase):
    @given(said=st.lists(frames, max_size=5), cuts=st.lists(st.integers(0, 2000), max_size=8))
    def test_any_split(self, said: list[Frame], cuts: list[int]) -> None:
        """Frames come out as they went in, however the octets are cut."""
        octets = b"\0".join(frame.encode() for frame in said)
        edges = [0, *sorted(cuts), len(octets)]
        pieces = [octets[a:b] for a, b in itertools.pairwise(edges)]
        self.assertEqual(parsed(*pieces), said)

    @given(left=garbage, frame=frames)
    def test_padding_ends_any_garbage(self, left: bytes, frame: Frame) -> None:
        """After whatever was left in the port, the first frame behind padding is understood."""
        self.assertEqual(parsed(left, PADDING + frame.encode())[-1:], [frame])

    @given(old=frames, cut=st.integers(0, 400), frame=frames)
    def test_half_a_frame_is_never_delivered(self, old: Frame, cut: int, frame: Frame) -> None:
        """A frame whose writer died is completed by padding, and dropped for it."""
        half = old.encode()[:cut]
        whole = [old] if len(half) == len(old.encode()) else []
        missing = old.encode()[cut:]
        if not missing.strip(b"\0"):  # what is missing of it is what padding is made of
            whole = [old]
        self.assertEqual(parsed(half + PADDING + frame.encode()), [*whole, frame])

    @given(old=frames, begin=st.integers(0, 400), frame=frames)
    def test_reading_that_begins_in_a_frame(self, old: Frame, begin: int, frame: Frame) -> None:
        """Who opens the port in the middle of something understands what begins after it."""
        rest = old.encode()[begin:]
        self.assertEqual(parsed(rest + PADDING + frame.encode())[-1:], [frame])

    @given(octets=st.binary(max_size=600), flip=st.integers(1, 255), at=st.integers(0, 10_000))
    def test_damage_is_noticed(self, octets: bytes, flip: int, at: int) -> None:
        """A frame with one octet changed is no frame."""
        good = bytearray(Frame(kind=Kind.DATA, session=7, payload=octets).encode())
        good[at % len(good)] ^= flip
        self.assertEqual(parsed(bytes(good) + PADDING), [])

    @given(octets=garbage)
    def test_garbage_is_never_kept(self, octets: bytes) -> None:
        """Nothing that comes in raises, or is kept beyond one frame."""
        deframer = Deframer()
        for _ in range(2000 // (len(octets) + 1)):
            deframer.push(octets)
            while deframer.next_frame() is not None:
                pass
        deframer.push(b"")
        self.assertLessEqual(len(deframer._buffer), len(PADDING) + len(octets))

    def test_beginnings_cost_linear_time(self) -> None:
        """Eight megabytes that look like a beginning everywhere take no longer than copying them.

        Quadratic would be hours.
        """
        nasty = bytes([Kind.DATA, 0, 0, 0, 1, 0, 0, 0, 0, 0x3F, 0xFF]) * (1 << 16)
        begun = time.process_time()
        for _ in range(12):
            self.assertEqual(parsed(nasty), [])
        self.assertLess(time.process_time() - begun, 10)

    def test_longest(self) -> None:
        """The longest payload is the longest, and padding is as long as its frame."""
        frame = Frame(kind=Kind.DATA, session=1, payload=b"x" * MOST_PAYLOAD_BYTES)
        self.assertEqual(len(frame.encode()), len(PADDING))
        self.assertEqual(parsed(frame.encode()), [frame])


class NumberingTests(SynchronousTestCase):
    @given(
        pieces=st.lists(st.binary(max_size=3 * MOST_PAYLOAD_BYTES), max_size=4), session=sessions
    )
    def test_a_stream_arrives_whole(self, pieces: list[bytes], session: int) -> None:
        """What one side cuts into frames is, in order, what the other puts together."""
        sender, receiver = Numbering(session), Numbering(session)
        octets = b"".join(frame for piece in pieces for frame in sender.frames(piece))
        found = parsed(octets)
        self.assertTrue(all(receiver.follows(frame) for frame in found))
        self.assertEqual(b"".join(frame.payload for frame in found), b"".join(pieces))

    def test_a_loss_or_a_repetition_is_noticed(self) -> None:
        """A frame that is missing, or comes twice, is told from the one that is due."""
        first, second, third = parsed(*Numbering(5).frames(b"x" * (3 * MOST_PAYLOAD_BYTES)))
        receiver = Numbering(5)
        self.assertTrue(receiver.follows(first))
        self.assertFalse(receiver.follows(third))
        self.assertFalse(receiver.follows(first))
        self.assertTrue(receiver.follows(second))
