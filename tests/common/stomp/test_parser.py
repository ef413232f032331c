"""Octets to frames: any split gives the same, each version by its own text."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.common.stomp.test_frames import frames
from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import Frame, Version, encode
from vmcontroller.common.stomp.parser import Limits, Parser


def outcome(chunks, version, limits=None):
    """Feed the chunks; return the frames, and whether a fault ended it."""
    parser = Parser(version=version, limits=limits)
    got = []
    try:
        for chunk in chunks:
            parser.push(chunk)
            while (frame := parser.next_frame()) is not None:
                got.append(frame)
    except ProtocolError:
        return got, True
    return got, False


def split(octets, cuts):
    """Cut octets at the given places."""
    places = sorted({0, *(cut % (len(octets) + 1) for cut in cuts), len(octets)})
    return [octets[a:b] for a, b in pairwise(places)]


class SplitTests(SynchronousTestCase):
    @given(
        st.data(),
        st.sampled_from(list(Version)),
        st.lists(st.sampled_from([b"", b"\n", b"\r\n", b"\n\n"]), min_size=4, max_size=4),
        st.lists(st.integers(min_value=0, max_value=10_000), max_size=12),
    )
    def test_any_split_gives_the_same_frames(self, data, version, eols, cuts):
        """Frames, with end-of-lines between them, do not depend on how TCP cuts the stream."""
        sent = data.draw(st.lists(frames(version), max_size=4))
        octets = b"".join(
            eol + encode(frame, version) for eol, frame in zip(eols, sent, strict=False)
        )
        whole = outcome([octets], version)
        self.assertEqual([f.body for f in whole[0]], [f.body for f in sent])
        self.assertEqual(outcome(split(octets, cuts), version), whole)
        self.assertEqual(outcome([octets[i : i + 1] for i in range(len(octets))], version), whole)

    garbage = st.lists(
        st.sampled_from(
            (
                *(
                    b"SEND",
                    b"MESSAGE",
                    b"\n",
                    b"\r\n",
                    b"\0",
                    b":",
                    b"a:b",
                    b"\\t",
                    b"\\n",
                    b"\xff",
                ),
                *(b"content-length:3", b"content-length:-1", b"\n\n", b"x", b"CONNECT"),
                b"version:1.2",
            )
        ),
        max_size=30,
    ).map(b"".join)

    @given(
        st.binary(max_size=200) | garbage,
        st.sampled_from(list(Version)),
        st.lists(st.integers(min_value=0, max_value=1000), max_size=8),
    )
    def test_garbage_raises_nothing_but_protocol_errors(self, octets, version, cuts):
        """And the same garbage is a fault, after the same frames, however it is cut."""
        limits = Limits(line_bytes=20, header_count=3, body_bytes=10)
        whole = outcome([octets], version, limits)
        self.assertEqual(outcome(split(octets, cuts), version, limits), whole)


class GoldenFrameTests(SynchronousTestCase):
    """Frames as the texts of the specifications print them."""

    def one(self, octets, version=Version.V1_2):
        [frame] = Parser(version=version).feed(octets)
        return frame

    def test_connect(self):
        """1.2, Connecting."""
        frame = self.one(b"CONNECT\naccept-version:1.0,1.1,2.0\nhost:stomp.github.org\n\n\0")
        self.assertEqual(frame.command, "CONNECT")
        self.assertEqual(frame.header("host"), "stomp.github.org")

    def test_connected(self):
        """1.2, Connecting: what the server answers."""
        self.assertEqual(
            self.one(b"CONNECTED\nversion:1.1\n\n\0"), Frame("CONNECTED", (("version", "1.1"),))
        )

    def test_error_of_negotiation(self):
        """1.2, Protocol Negotiation: the ERROR that names the versions."""
        frame = self.one(
            b"ERROR\nversion:1.2,2.1\ncontent-type:text/plain\n\n"
            b"Supported protocol versions are 1.2 2.1\0"
        )
        self.assertEqual(frame.body, b"Supported protocol versions are 1.2 2.1")

    def test_send(self):
        """1.2, SEND."""
        frame = self.one(
            b"SEND\ndestination:/queue/a\ncontent-type:text/plain\n\nhello queue a\n\0"
        )
        self.assertEqual(frame.header("destination"), "/queue/a")
        self.assertEqual(frame.body, b"hello queue a\n")

    def test_message(self):
        """1.2, MESSAGE; also with a NUL in the body, by content-length."""
        frame = self.one(
            b"MESSAGE\nsubscription:0\nmessage-id:007\ndestination:/queue/a\n"
            b"content-type:text/plain\ncontent-length:4\n\na\0b\n\0"
        )
        self.assertEqual(frame.body, b"a\0b\n")

    def test_error_with_a_body(self):
        """1.2, ERROR: the example of a malformed frame, with its receipt-id and length."""
        body = b"The message:\n-----\nMESSAGE\ndestined:/queue/a\nreceipt:message-12345\n\nHello\n"
        body += b"-----\nDid not contain a destination header, which is REQUIRED\nfor routing.\n"
        frame = self.one(
            b"ERROR\nreceipt-id:message-12345\ncontent-type:text/plain\ncontent-length:%d\n"
            b"message: malformed frame received\n\n%b\0" % (len(body), body)
        )
        self.assertEqual(frame.header("message"), " malformed frame received")
        self.assertEqual(frame.body, body)

    def test_repeated_headers(self):
        """1.2, Repeated Header Entries: the first is the value; all are kept in order."""
        frame = self.one(b"MESSAGE\nfoo:World\nfoo:Hello\n\n\0")
        self.assertEqual(frame.header("foo"), "World")
        self.assertEqual(frame.headers, (("foo", "World"), ("foo", "Hello")))


class VersionTests(SynchronousTestCase):
    def test_1_0_trims(self):
        """1.0 (and stomper, which writes `destination: x`): spaces around a value do not count."""
        [frame] = Parser(version=Version.V1_0).feed(b"SEND\ndestination: /queue/a \n\n\0")
        self.assertEqual(frame.headers, (("destination", "/queue/a"),))

    def test_1_1_and_1_2_do_not_trim(self):
        """1.2, Value Encoding: headers must not be trimmed or padded."""
        for version in (Version.V1_1, Version.V1_2):
            [frame] = Parser(version=version).feed(b"SEND\na: b \n\n\0")
            self.assertEqual(frame.headers, (("a", " b "),))

    def test_a_negotiating_frame_tells_whether_to_trim(self):
        """A passcode of 1.1 keeps its spaces though the version is not agreed upon yet."""
        [new] = Parser().feed(b"CONNECT\naccept-version:1.1\npasscode: x \n\n\0")
        [old] = Parser().feed(b"CONNECT\npasscode: x \n\n\0")
        self.assertEqual(new.header("passcode"), " x ")
        self.assertEqual(old.header("passcode"), "x")

    def test_cr_lf_of_1_2(self):
        """1.2: the end of a line may be CR LF, in each line by itself."""
        [frame] = Parser(version=Version.V1_2).feed(b"SEND\r\na:b\nc:d\r\n\r\nbody\r\n\0")
        self.assertEqual(frame, Frame("SEND", (("a", "b"), ("c", "d")), b"body\r\n"))

    def test_cr_lf_before_the_version_is_known(self):
        """A 1.2 client may write its CONNECT that way already."""
        [frame] = Parser().feed(b"CONNECT\r\naccept-version:1.2\r\n\r\n\0")
        self.assertEqual(frame.header("accept-version"), "1.2")

    def test_a_carriage_return_in_1_1_belongs_to_the_value(self):
        """1.1 has neither CR LF nor an escape for it."""
        [frame] = Parser(version=Version.V1_1).feed(b"SEND\na:b\r\n\n\0")
        self.assertEqual(frame.header("a"), "b\r")

    def test_a_bare_carriage_return_in_1_2(self):
        """1.2, Augmented BNF: no carriage return inside a header."""
        with self.assertRaises(ProtocolError):
            Parser(version=Version.V1_2).feed(b"SEND\na:b\rc\n\n\0")

    def test_negotiating_frames_are_not_unescaped(self):
        """Backslashes of a CONNECTED are literal in every version."""
        [frame] = Parser(version=Version.V1_2).feed(b"CONNECTED\nversion:1.2\nserver:a\\tb\n\n\0")
        self.assertEqual(frame.header("server"), "a\\tb")

    def test_the_version_may_change_between_two_frames(self):
        """What follows a CONNECT in the same segment is read by the version it brought about."""
        parser = Parser()
        parser.push(b"CONNECT\naccept-version:1.2\n\n\0SEND\na:b\\cc\n\n\0")
        self.assertEqual(parser.next_frame().command, "CONNECT")
        parser.version = Version.V1_2
        self.assertEqual(parser.next_frame().header("a"), "b:c")

    def test_escaped_names(self):
        """1.1 and 1.2: names are escaped as values are."""
        [frame] = Parser(version=Version.V1_1).feed(b"SEND\na\\cb:c\n\n\0")
        self.assertEqual(frame.headers, (("a:b", "c"),))

    def test_an_unescaped_colon_in_a_value(self):
        """Many clients write MAC addresses so; the first colon ends the name."""
        [frame] = Parser(version=Version.V1_2).feed(b"SEND\nto:52:54:00:00:00:01\n\n\0")
        self.assertEqual(frame.header("to"), "52:54:00:00:00:01")


class StreamTests(SynchronousTestCase):
    def test_end_of_lines_between_frames(self):
        """Heart-beats, CR LF and what stomper puts behind a NUL are no part of any frame."""
        octets = b"\n\r\n\nSEND\n\na\0\n\n\nSEND\n\nb\0SEND\n\nc\0\r\n"
        self.assertEqual([f.body for f in Parser().feed(octets)], [b"a", b"b", b"c"])

    def test_content_length_may_be_the_last_header(self):
        """The body may hold any octet, NUL included."""
        body = bytes(range(256))
        [frame] = Parser().feed(b"SEND\na:b\ncontent-length:256\n\n" + body + b"\0")
        self.assertEqual(frame.body, body)

    def test_the_first_content_length_counts(self):
        """As of any repeated header."""
        [frame] = Parser().feed(b"SEND\ncontent-length:3\ncontent-length:1\n\na\0b\0")
        self.assertEqual(frame.body, b"a\0b")

    def test_content_length_with_leading_zeros(self):
        """Digits are digits."""
        [frame] = Parser().feed(b"SEND\ncontent-length:0003\n\na\0b\0")
        self.assertEqual(frame.body, b"a\0b")

    def test_frames_before_a_fault_are_not_lost(self):
        """`feed` returns them and raises at the next call, and for ever after."""
        parser = Parser()
        self.assertEqual([f.body for f in parser.feed(b"SEND\n\na\0nonsense\n\n")], [b"a"])
        for _ in range(2):
            error = self.assertRaises(ProtocolError, parser.feed, b"SEND\n\nb\0")
            self.assertIn("nonsense", str(error))

    def test_nothing_is_kept_of_frames_that_were_read(self):
        """The buffer does not grow with the connection's age."""
        parser = Parser()
        for _ in range(1000):
            parser.feed(b"SEND\ncontent-length:1000\n\n" + b"x" * 1000 + b"\0\n")
        self.assertLess(len(parser._buffer), 2000)
