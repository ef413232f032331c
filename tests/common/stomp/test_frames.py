"""Frames to octets: STOMP 1.0, 1.1 and 1.2 clause by clause, and no way to inject a header."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import (
    COMMANDS,
    NEGOTIATING,
    WITH_BODY,
    Frame,
    Version,
    encode,
    escape,
    quoted,
    unescape,
)
from vmcontroller.common.stomp.parser import Parser

names = st.text(min_size=1, max_size=8).filter(lambda s: "\0" not in s and s != "content-length")
values = st.text(max_size=12).filter(lambda s: "\0" not in s)
bodies = st.binary(max_size=60)


@st.composite
def frames(draw, version):
    """Any frame that this version can carry."""
    command = draw(st.sampled_from(sorted(COMMANDS)))
    headers = draw(st.lists(st.tuples(names, values), max_size=5))
    if command in NEGOTIATING:
        plain = [(n, v) for n, v in headers if ":" not in n and not any(c in n + v for c in "\r\n")]
        headers = [("version", version.value), *plain]
    elif version is Version.V1_0:
        headers = [
            (n.strip(" \t\r"), v.strip(" \t\r"))
            for n, v in headers
            if "\n" not in n + v and ":" not in n and n.strip(" \t\r")
        ]
    body = draw(bodies) if command in WITH_BODY else b""
    return Frame(command, tuple(h for h in headers if h[0] != "content-length"), body)


class EncodeTests(SynchronousTestCase):
    def test_a_frame_of_the_specification(self):
        """The layout is the command, headers, an empty line, the body and a NUL."""
        frame = Frame("SEND", (("destination", "/queue/a"), ("content-type", "text/plain")), b"hi")
        self.assertEqual(
            encode(frame, Version.V1_2),
            b"SEND\ndestination:/queue/a\ncontent-type:text/plain\ncontent-length:2\n\nhi\0",
        )

    def test_content_length_where_a_body_may_be(self):
        """SEND and MESSAGE always say their length, others only when they have a body."""
        self.assertIn(b"content-length:0\n", encode(Frame("SEND"), Version.V1_2))
        self.assertIn(b"content-length:0\n", encode(Frame("MESSAGE"), Version.V1_0))
        self.assertNotIn(b"content-length", encode(Frame("DISCONNECT"), Version.V1_2))
        self.assertIn(b"content-length:1\n", encode(Frame("ERROR", (), b"x"), Version.V1_2))

    def test_content_length_of_the_caller_is_not_believed(self):
        """A wrong content-length among the headers never reaches the wire."""
        octets = encode(Frame("SEND", (("content-length", "99"),), b"abc"), Version.V1_2)
        self.assertEqual(octets.count(b"content-length"), 1)
        self.assertIn(b"content-length:3\n", octets)

    def test_content_length_counts_octets(self):
        """Not characters: a body of one letter with an umlaut is two octets."""
        self.assertIn(b"content-length:2\n", encode(Frame("SEND", (), "ü".encode()), Version.V1_2))

    def test_a_line_feed_behind_frames_of_1_0(self):
        """Old clients built on stomper wait for it; 1.1 and 1.2 need none."""
        ends = [encode(Frame("SEND", (), b"x"), version)[-2:] for version in Version]
        self.assertEqual(ends, [b"\0\n", b"x\0", b"x\0"])

    def test_escapes_of_1_2(self):
        """1.2, Value Encoding: carriage return, line feed, colon and backslash."""
        self.assertEqual(escape("a\r\n:\\z", Version.V1_2), "a\\r\\n\\c\\\\z")

    def test_escapes_of_1_1(self):
        """1.1 has no escape for a carriage return."""
        self.assertEqual(escape("a\r\n:\\z", Version.V1_1), "a\r\\n\\c\\\\z")

    def test_1_0_has_no_escapes(self):
        """A backslash stays; a line feed, which would begin another header, is refused."""
        self.assertEqual(escape("a\\nb:c", Version.V1_0), "a\\nb:c")
        error = self.assertRaises(ProtocolError, escape, "a\nb", Version.V1_0)
        self.assertIn("line feed", str(error))

    def test_no_header_injection(self):
        """A line feed in a value never makes a second header, in any version."""
        for version in (Version.V1_1, Version.V1_2):
            octets = encode(Frame("SEND", (("cmd", "ls\nto:everyone"),)), version)
            [frame] = Parser(version=version).feed(octets)
            self.assertEqual(frame.header("to"), None)
            self.assertEqual(frame.header("cmd"), "ls\nto:everyone")

    def test_negotiating_frames_do_not_escape(self):
        """1.2, Value Encoding: CONNECT and CONNECTED stay as 1.0 had them."""
        for command in sorted(NEGOTIATING):
            octets = encode(Frame(command, (("login", "a\\b:c"),)), Version.V1_2)
            self.assertEqual(octets, command.encode() + b"\nlogin:a\\b:c\n\n\0")

    def test_negotiating_frames_refuse_what_they_cannot_carry(self):
        """Without escapes, a line feed, or a colon in a name, would change the meaning."""
        for header in (
            ("login", "a\nb"),
            ("lo:gin", "a"),
            ("login", "a\r"),
            ("", "a"),
            ("a", "\0"),
        ):
            with self.assertRaises(ProtocolError):
                encode(Frame("CONNECT", (header,)), Version.V1_2)

    def test_refuses_nul_and_nameless_headers(self):
        """No version can carry a NUL in a header, or a header without a name."""
        for version in Version:
            for header in (("a", "b\0"), ("a\0", "b"), ("", "b")):
                with self.assertRaises(ProtocolError):
                    encode(Frame("SEND", (header,)), version)

    def test_refuses_a_colon_in_a_name_of_1_0(self):
        """The receiver would cut at the first colon."""
        with self.assertRaises(ProtocolError):
            encode(Frame("SEND", (("a:b", "c"),)), Version.V1_0)

    def test_refuses_unknown_commands(self):
        """A command that STOMP does not have is an error of the caller, named."""
        error = self.assertRaises(ProtocolError, encode, Frame("HELLO\nx:y"), Version.V1_2)
        self.assertIn("HELLO", str(error))
        self.assertNotIn("\n", str(error))

    def test_refuses_a_body_where_none_may_be(self):
        """1.1 and 1.2: only SEND, MESSAGE and ERROR may have one; 1.0 does not say so."""
        for version in (Version.V1_1, Version.V1_2):
            with self.assertRaises(ProtocolError):
                encode(Frame("RECEIPT", (("receipt-id", "1"),), b"x"), version)
        self.assertIn(b"x\0", encode(Frame("RECEIPT", (), b"x"), Version.V1_0))

    def test_refuses_lone_surrogates(self):
        """A str that is not Unicode text is a ProtocolError, not a UnicodeEncodeError."""
        for command in ("SEND", "CONNECT"):
            with self.assertRaises(ProtocolError):
                encode(Frame(command, (("a", "\ud800"),)), Version.V1_2)


class UnescapeTests(SynchronousTestCase):
    def test_undefined_escapes(self):
        r"""1.1 and 1.2: an undefined escape such as \t is a fatal error; in 1.1 so is \r."""
        for version, text in (
            (Version.V1_1, "\\t"),
            (Version.V1_1, "\\r"),
            (Version.V1_2, "\\t"),
            (Version.V1_2, "ends in \\"),
        ):
            error = self.assertRaises(ProtocolError, unescape, text, version)
            self.assertIn("undefined escape", str(error))

    def test_backslashes_are_read_from_the_left(self):
        """An escaped backslash followed by an n is not a line feed."""
        self.assertEqual(unescape("\\\\n", Version.V1_2), "\\n")
        self.assertEqual(unescape("\\\\\\n", Version.V1_1), "\\\n")

    def test_1_0_takes_it_literally(self):
        """1.0 knows no escapes, so none is undefined."""
        self.assertEqual(unescape("\\t\\n", Version.V1_0), "\\t\\n")

    @given(st.text().filter(lambda s: "\0" not in s), st.sampled_from(list(Version)[1:]))
    def test_unescape_undoes_escape(self, text, version):
        """Whatever a header says, the other side reads the same."""
        self.assertEqual(unescape(escape(text, version), version), text)


class RoundTripTests(SynchronousTestCase):
    @given(st.data(), st.sampled_from(list(Version)))
    def test_decode_undoes_encode(self, data, version):
        """Each version's parser reads what its encoder wrote, content-length aside."""
        frame = data.draw(frames(version))
        [got] = Parser(version=version).feed(encode(frame, version))
        kept = tuple(h for h in got.headers if h[0] != "content-length")
        self.assertEqual((got.command, kept, got.body), (frame.command, frame.headers, frame.body))


class FrameTests(SynchronousTestCase):
    def test_the_first_of_repeated_headers_counts(self):
        """1.1 and 1.2, Repeated Header Entries."""
        frame = Frame("MESSAGE", (("foo", "World"), ("foo", "Hello")))
        self.assertEqual(frame.header("foo"), "World")

    def test_a_missing_header(self):
        """Is None, or the default."""
        self.assertIsNone(Frame("SEND").header("x"))
        self.assertEqual(Frame("SEND").header("x", "y"), "y")

    def test_quoted_text_is_short_and_printable(self):
        """A message or a log line that quotes a peer can neither be forged nor flooded."""
        self.assertEqual(quoted("a\n\x1b[31m"), "'a\\n\\x1b[31m'")
        self.assertLess(len(quoted("x" * 10_000)), 70)
