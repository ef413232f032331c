"""Stdin that stays open: offsets, room, and what is said of them."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.words.running import CmdStdin, CmdStdinRoom
from vmcontroller.guest.commands.feed import ROOM_BYTES, SAY_AFTER_BYTES, StdinFeed


class FeedTests(SynchronousTestCase):
    """A pipe whose reading end is here."""

    def make(self, first: bytes = b"") -> StdinFeed:
        self.reactor = MemoryReactorClock()
        self.reader, writer = os.pipe()
        os.set_blocking(self.reader, False)
        os.set_blocking(writer, False)
        self.rooms: list[CmdStdinRoom] = []
        feed = StdinFeed(self.reactor, cmd_id="a", fd=writer, first=first, say=self.rooms.append)
        self.feed = feed
        return feed

    def put_away(self) -> None:
        """Close both ends."""
        self.feed.close()
        self.reactor.advance(0)
        if self.reader >= 0:
            os.close(self.reader)
            self.reader = -1

    def send(self, offset: int, data: bytes, *, end: bool = False) -> None:
        self.feed.heard(CmdStdin(cmd_id="a", offset=offset, data=data, end=end))

    def read(self) -> bytes:
        """Return what can be read until the writer has no more, and let it write in between."""
        pieces = []
        while True:
            try:
                piece = os.read(self.reader, 65536)
            except BlockingIOError:
                piece = b""
            if not piece and self.feed not in self.reactor.getWriters():
                return b"".join(pieces)
            pieces.append(piece)
            if self.feed in self.reactor.getWriters():
                self.feed.doWrite()
            self.reactor.advance(0)

    @settings(deadline=None)
    @given(
        st.binary(max_size=300),
        st.lists(st.tuples(st.integers(-40, 40), st.integers(0, 60)), max_size=40),
    )
    def test_offsets(self, whole: bytes, words: list[tuple[int, int]]) -> None:
        """However words overlap, repeat or leave gaps: what is read is the stream, each byte once,
        as far as it has come without a gap; and the host learns how far that is.
        """
        self.make()
        taken = 0
        for shift, length in words:
            offset = max(0, taken + shift)
            self.send(offset, whole[offset : offset + length])
            if offset <= taken:
                taken = max(taken, min(len(whole), offset + length))
        self.send(taken, whole[taken:], end=True)
        self.assertEqual(self.read(), whole)
        self.assertEqual((self.rooms[-1].taken_bytes, self.rooms[-1].closed), (len(whole), True))
        self.put_away()

    @settings(deadline=None, max_examples=20)
    @given(st.lists(st.integers(1, ROOM_BYTES), min_size=1, max_size=8), st.binary(max_size=9))
    def test_room(self, lengths: list[int], first: bytes) -> None:
        """A host that keeps to the room it was told of gets all bytes through, and none is kept
        beyond the room.
        """
        self.make(first)
        room = self.feed.room()
        whole = os.urandom(sum(lengths))
        got, sent = bytearray(), 0
        while sent < len(whole):
            length = lengths[sent % len(lengths)]
            piece = whole[sent : min(sent + length, room.room_bytes)]
            self.send(sent, piece)
            sent += len(piece)
            self.assertLessEqual(len(self.feed._waiting), ROOM_BYTES + len(first))
            if sent == room.room_bytes:
                got += self.read()
            room = self.rooms[-1] if self.rooms else room
        self.send(sent, b"", end=True)
        got += self.read()
        self.assertEqual(bytes(got), first + whole)
        self.put_away()

    def test_beyond_the_room(self) -> None:
        """What does not fit is not taken, and an end behind it is none yet."""
        self.make()
        self.send(0, bytes(ROOM_BYTES + 100_000), end=True)
        last = self.rooms[-1]
        self.assertEqual((last.taken_bytes, last.closed), (ROOM_BYTES, False))
        self.assertEqual(len(self.read()), ROOM_BYTES)
        self.send(ROOM_BYTES, bytes(100_000), end=True)
        self.assertTrue(self.rooms[-1].closed)
        self.assertEqual(len(self.read()), 100_000)
        self.assertFalse(self.feed.open)
        self.put_away()

    def test_told_by_the_quarter(self) -> None:
        """Little words are not answered one by one."""
        self.make()
        self.feed.room()
        for number in range(SAY_AFTER_BYTES // 1000 + 1):
            self.send(number * 1000, bytes(1000))
            self.read()
        self.assertEqual(len(self.rooms), 1)
        self.put_away()

    def test_reader_goes(self) -> None:
        """Who closes its stdin is sent nothing more, and the host is told."""
        self.make()
        os.close(self.reader)
        self.reader = -1
        self.send(0, b"x")
        self.assertTrue(self.rooms[-1].closed)
        self.send(1, b"y")
        self.assertTrue(self.rooms[-1].closed)
        self.put_away()

    def test_reader_goes_while_bytes_wait(self) -> None:
        """The reactor's news of it closes the pipe; news of another's pipe does not."""
        self.make()
        self.send(0, bytes(ROOM_BYTES))
        self.feed.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.feed.open)
        os.close(self.reader)
        self.reader = -1
        self.feed.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.feed.open, self.rooms[-1].closed), (False, True))
        self.put_away()

    def test_reactor_stops(self) -> None:
        """When the reactor gives it up, it is closed."""
        self.make()
        self.send(0, bytes(ROOM_BYTES))
        self.feed.connectionLost(Failure(ConnectionLost()))
        self.assertFalse(self.feed.open)
        self.put_away()
