"""What the parser refuses, and that its work grows with the number of octets only."""

from __future__ import annotations

import os
import tracemalloc

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import Frame, Version, encode
from vmcontroller.common.stomp.parser import Limits, Parser

SMALL = Limits(line_bytes=20, header_count=3, body_bytes=10)


class CountingParser(Parser):
    """Counts the octets that its searches look at."""

    scanned_bytes = 0

    def _find(self, what, start):
        found = super()._find(what, start)
        self.scanned_bytes += (found.end() if found else len(self._buffer)) - start
        return found


class MalformedTests(SynchronousTestCase):
    def assert_fault(self, octets, naming, version=Version.V1_2, limits=None):
        for chunks in ([octets], [octets[i : i + 1] for i in range(len(octets))]):
            parser = Parser(version=version, limits=limits)
            with self.assertRaises(ProtocolError) as caught:
                for chunk in chunks:
                    parser.feed(chunk)
            self.assertIn(naming, str(caught.exception))

    def test_malformed_input_is_named(self):
        """Each way to be wrong is one ProtocolError that says which, however it is cut."""
        for octets, naming in (
            (b"HELLO\n\n\0", "not a command"),
            (b"send\n\n\0", "not a command"),
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not a command"),
            (b"SEND\nnocolon\n\n\0", "no colon"),
            (b"SEND\n:value\n\n\0", "no name"),
            (b"SEND\na:\xff\n\n\0", "UTF-8"),
            (b"SEND\na:\\t\n\n\0", "undefined escape"),
            (b"SEND\na:b\\\n\n\0", "undefined escape"),
            (b"SEND\na:b\0", "NUL octet before"),
            (b"\0", "NUL octet before"),
            (b"DISCONNECT\nreceipt:x\n\0\n", "NUL octet before"),
            (b"SEND\ncontent-length:-1\n\n\0", "content-length"),
            (b"SEND\ncontent-length:\n\n\0", "content-length"),
            (b"SEND\ncontent-length: 1\n\nx\0", "content-length"),
            (b"SEND\ncontent-length:1e3\n\n\0", "content-length"),
            (b"SEND\ncontent-length:\xd9\xa3\n\nabc\0", "content-length"),
            (b"SEND\ncontent-length:NaN\n\n\0", "content-length"),
            (b"SEND\ncontent-length:2\n\nabc\0", "no NUL octet after the 2"),
            (b"RECEIPT\nreceipt-id:1\n\nbody\0", "has a body"),
        ):
            self.assert_fault(octets, naming)

    def test_a_blank_name_in_1_0(self):
        """Trimming leaves nothing of it."""
        self.assert_fault(b"SEND\n :x\n\n\0", "blank name", version=Version.V1_0)

    def test_a_body_where_none_may_be_in_1_0(self):
        """1.0 does not forbid it, so it is taken."""
        [frame] = Parser(version=Version.V1_0).feed(b"RECEIPT\n\nbody\0")
        self.assertEqual(frame.body, b"body")

    def test_a_long_line(self):
        """The limit holds for the command, for a header, finished or not."""
        for octets in (
            b"S" * 21,
            b"SEND\na:" + b"x" * 19,
            b"SEND\na:" + b"x" * 19 + b"\n\n\0",
        ):
            self.assert_fault(octets, "longer than 20 bytes", limits=SMALL)

    def test_many_headers(self):
        """The limit holds before the head is finished, too."""
        self.assert_fault(b"SEND\n" + b"a:b\n" * 4, "more than 3 headers", limits=SMALL)
        self.assert_fault(b"SEND\n" + b"a:b\n" * 4 + b"\n\0", "more than 3 headers", limits=SMALL)

    def test_a_large_body(self):
        """With content-length at once, without it when the limit is passed."""
        self.assert_fault(b"SEND\ncontent-length:11\n\n", "larger than 10 bytes", limits=SMALL)
        self.assert_fault(b"SEND\n\n" + b"x" * 11, "larger than 10 bytes", limits=SMALL)
        self.assert_fault(b"SEND\n\n" + b"x" * 11 + b"\0", "larger than 10 bytes", limits=SMALL)

    def test_an_absurd_content_length(self):
        """Thousands of digits are too large, not a ValueError of int()."""
        self.assert_fault(b"SEND\ncontent-length:" + b"9" * 5000 + b"\n\n", "larger than")

    def test_exactly_at_the_limits(self):
        """What is allowed is allowed to the last octet."""
        octets = b"SEND\n" + b"a:" + b"x" * 18 + b"\nb:\nc:\n\n" + b"y" * 10 + b"\0"
        [frame] = Parser(limits=SMALL).feed(octets)
        self.assertEqual(len(frame.body), 10)
        self.assertEqual(len(frame.headers), 3)


class UnfinishedHeadTests(SynchronousTestCase):
    def test_a_long_head_behind_other_frames(self):
        """Its lines are counted right though the buffer's front is dropped meanwhile."""
        head = b"SEND\n" + b"".join(b"h%d:%b\n" % (n, b"x" * 1000) for n in range(90)) + b"\n"
        octets = (b"SEND\n\n%b\0" % (b"y" * 3000) + head + b"\0") * 2
        for chunk_bytes in (997, 4096, 20_000):
            parser = Parser()
            frames = []
            for start in range(0, len(octets), chunk_bytes):
                frames += parser.feed(octets[start : start + chunk_bytes])
            self.assertEqual([len(frame.headers) for frame in frames], [0, 90, 0, 90])


class LinearWorkTests(SynchronousTestCase):
    def scanned(self, octets, chunk_bytes):
        parser = CountingParser()
        frames = []
        for start in range(0, len(octets), chunk_bytes):
            frames += parser.feed(octets[start : start + chunk_bytes])
        return parser.scanned_bytes, frames

    def test_a_body_in_pieces(self):
        """A body of 1 MiB without content-length is searched once, though it comes in pieces."""
        octets = b"SEND\n\n" + b"x" * (1 << 20) + b"\0"
        scanned, [frame] = self.scanned(octets, 1024)
        self.assertEqual(len(frame.body), 1 << 20)
        self.assertLess(scanned, 1.1 * len(octets))

    def test_a_body_with_a_length_is_not_searched(self):
        """Only the head is."""
        octets = b"SEND\ncontent-length:1048576\n\n" + b"x" * (1 << 20) + b"\0"
        scanned, [frame] = self.scanned(octets, 1024)
        self.assertEqual(len(frame.body), 1 << 20)
        self.assertLess(scanned, 100)

    def test_many_frames_in_one_chunk(self):
        """5000 frames that come together are searched as much as one by one."""
        octets = b"SEND\r\na:b\r\n\r\nbody\0\r\n" * 5000
        scanned, frames = self.scanned(octets, len(octets))
        self.assertEqual(len(frames), 5000)
        self.assertLess(scanned, 1.1 * len(octets))

    def test_a_head_byte_by_byte(self):
        """Each octet of an unfinished head is looked at a fixed number of times."""
        octets = b"SEND\n" + b"".join(b"h%d:%b\n" % (n, b"x" * 100) for n in range(90)) + b"\n\0"
        scanned, [frame] = self.scanned(octets, 1)
        self.assertEqual(len(frame.headers), 90)
        self.assertLess(scanned, 6 * len(octets))

    def test_one_endless_line(self):
        """A line that does not end costs no more than its limit, byte by byte as well."""
        parser = CountingParser()
        with self.assertRaises(ProtocolError):
            for _ in range(20_000):
                parser.feed(b"x")
        self.assertLess(parser.scanned_bytes, 6 * 16 * 1024)

    def test_memory_of_a_large_body(self):
        """Room for the body in the buffer and for the copy that is handed out, not more."""
        body = b"x" * (1 << 20)
        octets = b"SEND\ncontent-length:%d\n\n%b\0" % (len(body), body)
        parser = Parser()
        tracemalloc.start()
        try:
            for start in range(0, len(octets), 1 << 14):
                parser.feed(octets[start : start + (1 << 14)])
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        self.assertLess(peak, 3.5 * len(body))


class LargeBodyTests(SynchronousTestCase):
    """Bodies that are kept apart while they come."""

    def frames(self, data, piece_bytes):
        parser = Parser(version=Version.V1_2, limits=Limits())
        frames = []
        for start in range(0, len(data), piece_bytes):
            frames += parser.feed(data[start : start + piece_bytes])
        return parser, frames

    def test_any_pieces(self):
        """However it is cut, the body is whole, and what follows it is read."""
        body = os.urandom(1 << 20)
        frame = Frame("SEND", (("destination", "/topic/a"),), body)
        data = encode(frame, Version.V1_2) + b"\n" + encode(frame, Version.V1_2)
        for piece_bytes in (100, 4095, 4096, 10_000, 1 << 16, (1 << 20) - 1, 3 << 20):
            _, frames = self.frames(data, piece_bytes)
            self.assertEqual([f.body == body for f in frames], [True, True], piece_bytes)

    def test_small_pieces_are_joined(self):
        """A peer that sends single octets makes the parser keep few objects."""
        data = b"SEND\ndestination:/topic/a\ncontent-length:1000000\n\n" + bytes(20_000)
        parser, _ = self.frames(data, 1)
        self.assertLess(len(parser._pieces), 20)

    def test_what_ends_too_late(self):
        """No NUL after a body that was kept apart is a fault, and nothing of it stays."""
        data = b"SEND\ndestination:/topic/a\ncontent-length:100000\n\n" + b"x" * 100_001
        with self.assertRaisesRegex(ProtocolError, "no NUL octet after the 100000"):
            self.frames(data, 1 << 14)


class RepeatedHeadTests(SynchronousTestCase):
    """A head that is the same as the last one is not read anew."""

    def test_by_the_version(self):
        """A new version reads the same head its own way."""
        head = b"SEND\ndestination: /topic/a\n\n\0"
        parser = Parser(version=Version.V1_0)
        self.assertEqual([f.header("destination") for f in parser.feed(head * 2)], ["/topic/a"] * 2)
        parser.version = Version.V1_2
        self.assertEqual([f.header("destination") for f in parser.feed(head)], [" /topic/a"])

    def test_others_between(self):
        """Other frames between two with the same head change nothing."""
        send = b"SEND\ndestination:/topic/a\ncontent-length:1\n\nx\0"
        parser = Parser(version=Version.V1_2)
        frames = parser.feed(
            send + b"BEGIN\ntransaction:t\n\n\0" + send + b"SEND\nb:c\n\ny\0" + send
        )
        self.assertEqual([f.command for f in frames], ["SEND", "BEGIN", "SEND", "SEND", "SEND"])
        self.assertEqual([f.header("b") for f in frames], [None, None, None, "c", None])
        self.assertEqual([f.body for f in frames], [b"x", b"", b"x", b"y", b"x"])
