"""The stream that stands for a directory, and what its parser believes of it."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.common.tree_cases import END, NAMES, directory, file, line, link, stream
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.tree_names import (
    DEPTH_MOST,
    ENTRIES_MOST,
    check_names,
    check_target,
)
from vmcontroller.common.copying.tree_stream import (
    HEAD_BYTES,
    Data,
    DirectoryEntry,
    End,
    FileEntry,
    LinkEntry,
    TreeParser,
    end_head,
    head_of,
    stretch_head,
)
from vmcontroller.common.errors import TransferFailed

TIMES = st.integers(0, 2**63 - 1)
MODES = st.integers(0, 0o7777)
OWNERS = st.text(max_size=64)


def parse(data, size_bytes=None, cuts=()):
    """Return the events; bytes that came in pieces are joined."""
    parser = TreeParser(len(data) if size_bytes is None else size_bytes)
    events = []
    bounds = [0, *sorted({min(cut, len(data)) for cut in cuts}), len(data)]
    for start, end in itertools.pairwise(bounds):
        for event in parser.feed(data[start:end]):
            before = events[-1] if events else None
            if isinstance(event, Data):
                piece = bytes(event.data)
                if isinstance(before, tuple) and before[0] + len(before[1]) == event.offset:
                    events[-1] = (before[0], before[1] + piece)
                else:
                    events.append((event.offset, piece))
            else:
                events.append(event)
    return parser, events


class TestEntries(SynchronousTestCase):
    def both_ways(self, entry, after=b""):
        parser, events = parse(head_of(entry) + after, 2**62)
        self.assertEqual(events[0], entry)
        self.assertEqual(parser.entries, 1)

    @given(NAMES, MODES, TIMES, OWNERS, OWNERS)
    def test_directory(self, name, mode, mtime_ns, owner, group):
        """A directory's name of any bytes, its mode, time and owners arrive as they were."""
        self.both_ways(
            DirectoryEntry(names=(name,), mode=mode, mtime_ns=mtime_ns, owner=owner, group=group)
        )

    @given(NAMES, MODES, TIMES, st.integers(0, 2**61), st.integers(0, 2**63 - 1))
    def test_file(self, name, mode, mtime_ns, data_bytes, size_bytes):
        """So do a file's, and both its sizes."""
        entry = FileEntry(
            names=(name,),
            mode=mode,
            mtime_ns=mtime_ns,
            size_bytes=size_bytes,
            data_bytes=min(data_bytes, size_bytes),
        )
        self.both_ways(entry)

    @given(NAMES, st.lists(NAMES, min_size=1), TIMES)
    def test_link(self, name, target, mtime_ns):
        """So does the target of a link."""
        self.both_ways(LinkEntry(names=(name,), target=b"/".join(target), mtime_ns=mtime_ns))

    def test_longest(self):
        """The longest path and target of bytes that all must be escaped fit into a head."""
        names = (b"\xff" * 255,) * 15 + (b"\xff" * 254,)
        parser = TreeParser(2**62)
        for depth in range(1, 16):
            entry = DirectoryEntry(names=names[:depth], mode=0, mtime_ns=0)
            self.assertEqual(list(parser.feed(head_of(entry))), [entry])
        entry = LinkEntry(
            names=names, target=b"\xff" * 4095, mtime_ns=2**63 - 1, owner="é" * 64, group="é" * 64
        )
        head = head_of(entry)
        self.assertLess(len(head), HEAD_BYTES)
        self.assertEqual(list(parser.feed(head)), [entry])

    @given(st.lists(st.integers(0, 1000), max_size=20))
    def test_any_cutting(self, cuts):
        """However the stream is cut, the same comes out of it."""
        data = stream(
            directory("a"),
            file("a/b", 5),
            b"\n\n{}\n",
            file("a/c", 100, 6),
            stretch_head(10, 4),
            b"abcd",
            stretch_head(98, 2),
            b"ef",
            directory("a/d"),
            file("b"),
            link("c", "a/d"),
            END,
        )
        parser, events = parse(data, cuts=cuts)
        self.assertTrue(parser.ended)
        kinds = [event if isinstance(event, tuple) else type(event).__name__ for event in events]
        self.assertEqual(
            kinds,
            [
                "DirectoryEntry",
                "FileEntry",
                (0, b"\n\n{}\n"),
                "FileEntry",
                (10, b"abcd"),
                (98, b"ef"),
                "DirectoryEntry",
                "FileEntry",
                "LinkEntry",
                "End",
            ],
        )

    def test_unfinished(self):
        """A stream that breaks off at an entry has not ended, and that shows."""
        for data in (b"", directory("a"), directory("a")[:-1], file("a", 3) + b"ab"):
            parser, _ = parse(data, 1000)
            self.assertFalse(parser.ended)

    def test_empty_tree(self):
        """A directory with nothing in it is nothing but an end."""
        parser, events = parse(stream(END))
        self.assertEqual(events, [End()])
        self.assertTrue(parser.ended)


class TestAttacks(SynchronousTestCase):
    def assert_refused(self, *parts, reason=Reason.PROTOCOL, size_bytes=None):
        data = stream(*parts)
        with self.assertRaises(TransferFailed) as caught:
            parse(data, size_bytes)
        self.assertEqual(caught.exception.reason, reason, parts)

    def test_paths_out_of_the_tree(self):
        """No path has `..`, `.`, an empty name or a NUL, or begins at the root."""
        for path in ("..", ".", "", "/", "/etc", "../x", "a/../x", "a/..", "a//x", "a/", "a/."):
            self.assert_refused(directory("a"), file(path), END)
        for path in ("a\0b", "\ud800", "\udc2f", "n" * 256, "é" * 128, None, 5, ["a"], {}):
            self.assert_refused(file(path), END)

    def test_escaped_bytes_that_are_utf8(self):
        """A name written in two ways is one name, and comes once."""
        self.assert_refused(file("é"), file("\udcc3\udca9"), END)

    def test_through_a_link(self):
        """Nothing is put where a path leads through a link or a file, whatever it is later."""
        self.assert_refused(link("a", "b"), file("a/x"), END)
        self.assert_refused(file("a"), file("a/x"), END)
        self.assert_refused(link("a", "b"), directory("a"), END)
        self.assert_refused(link("a", "b"), directory("a"), file("a/x"), END)
        self.assert_refused(directory("a"), link("a", "b"), file("a/x"), END)
        self.assert_refused(directory("b"), file("a/x"), END)
        self.assert_refused(file("a/x"), END)
        self.assert_refused(directory("a"), file("a/b/x"), END)

    def test_twice_and_out_of_order(self):
        """No name comes twice, also not after others, nor in a directory that was left."""
        self.assert_refused(file("a"), file("a"), END)
        self.assert_refused(file("b"), file("a"), END)
        self.assert_refused(directory("a"), file("a/x"), file("b"), file("a/y"), END)
        self.assert_refused(directory("a"), file("a/x"), directory("a"), END)
        self.assert_refused(directory("a"), directory("a/b"), file("a/c"), file("a/b/x"), END)

    def test_links(self):
        """A link leads into the tree, or is refused."""
        for target in ("/", "/etc/passwd", "..", "../a", "./..", ".//../a", "a/..", "b/../c"):
            self.assert_refused(link("a", target), END, reason=Reason.ESCAPES_TREE)
        for target in ("../..", "../../a", "../x/..", "x/../..", "/x"):
            self.assert_refused(
                directory("d"), link("d/a", target), END, reason=Reason.ESCAPES_TREE
            )
        for target in ("", "a\0b", "a" * 4096, None, 1):
            self.assert_refused(link("a", target), END)
        for target in ("..", "../x", ".././x//y/", "x/y", ".", "a"):
            parse(stream(directory("d"), link("d/a", target), END))

    def test_depth(self):
        """Directories in directories come to an end, and so do paths."""
        heads = [directory("/".join("a" * depth)) for depth in range(1, DEPTH_MOST + 1)]
        parse(stream(*heads, END))
        heads.append(directory("/".join("a" * (DEPTH_MOST + 1))))
        self.assert_refused(*heads, END, reason=Reason.TOO_LARGE)
        names = [(b"n" * 255,) * depth for depth in range(1, 18)]
        heads = [head_of(DirectoryEntry(names=path, mode=0, mtime_ns=0)) for path in names]
        self.assert_refused(*heads, END)

    def test_endless_head(self):
        """A head that does not end is given up before it fills the memory."""
        self.assert_refused(b" " * (HEAD_BYTES + 1), size_bytes=2**40)
        parser = TreeParser(2**40)
        for _ in range(HEAD_BYTES // 1024):
            self.assertEqual(list(parser.feed(b" " * 1024)), [])
        with self.assertRaises(TransferFailed):
            list(parser.feed(b" "))

    def test_no_heads(self):
        """What is no JSON object, or not of this kind, is refused; so is a nest of brackets."""
        for head in (
            b"",
            b"\xff",
            b"null",
            b"[]",
            b"{}",
            b"{",
            b"NaN",
            b"[" * 60_000,
            b"9" * 60_000,
            b'{"x":' * 10_000,
            b'{"end":-1}',
            b'{"end":true}',
            b'{"end":1}',
            b'{"at":0,"length":1}',
            b'{"dir":"a","file":"a","mode":1,"mtime":1,"size":0,"data":0}',
        ):
            self.assert_refused(head + b"\n", size_bytes=2**40)

    def test_values(self):
        """Every value is of its type and within its bounds."""
        for fields in (
            {"mode": -1},
            {"mode": 0o10000},
            {"mode": "x"},
            {"mode": True},
            {"mode": None},
            {"mtime": -1},
            {"mtime": 2**63},
            {"mtime": 1.5},
            {"owner": 5},
            {"owner": "x" * 65},
            {"group": None},
        ):
            self.assert_refused(directory("a", **fields), END)
            self.assert_refused(file("a", **fields), END)

    def test_sizes(self):
        """A file can't have more bytes than it is long, or than are to come at all."""
        for fields in (
            {"size": 2**63},
            {"size": -1},
            {"size": 1, "data": 2},
            {"size": 2**62, "data": 2**61},
            {"size": 1, "data": -1},
            {"size": "1"},
        ):
            self.assert_refused(file("a", **fields), b"x", END)

    def test_more_than_announced(self):
        """The stream is as long as was announced, to the byte."""
        whole = stream(file("a", 3), b"abc", END)
        for size_bytes in (0, 1, len(whole) - 1, len(whole) + 1):
            self.assert_refused(whole, size_bytes=size_bytes)
        self.assert_refused(whole, b"x", size_bytes=len(whole))
        self.assert_refused(END, b"x")
        self.assert_refused(END, b"\n", size_bytes=1000)

    def test_stretches(self):
        """Stretches of a sparse file come in order, don't overlap, and lie in the file."""
        for stretches in (
            [(0, 0)],
            [(0, 11)],
            [(95, 10)],
            [(2**62, 10)],
            [(0, 5), (4, 5)],
            [(20, 5), (10, 5)],
            [(20, 5), (20, 5)],
            [(0, 5), (99, 2)],
            [(-1, 5)],
            [(0, -5)],
            [("0", 5)],
        ):
            parts = []
            for at, length in stretches:
                parts += [line(at=at, length=length), b"x" * min(max(0, int(length)), 100)]
            self.assert_refused(file("a", 100, 10), *parts, size_bytes=2**40)
        self.assert_refused(file("a", 100, 10), stretch_head(0, 5), b"12345", file("b"), END)
        self.assert_refused(file("a", 100, 10), stretch_head(0, 5), b"12345", END)
        self.assert_refused(file("a", 10), stretch_head(0, 10), b"x" * 10, END)

    def test_number_of_entries(self):
        """The end says how many there were."""
        self.assert_refused(file("a"), file("b"), end_head(1))
        self.assert_refused(file("a"), file("b"), end_head(3))

    def test_too_many(self):
        """There is an end to how many files one copy makes."""
        parser = TreeParser(2**40)
        parser.entries = ENTRIES_MOST
        with self.assertRaises(TransferFailed) as caught:
            list(parser.feed(file("a")))
        self.assertEqual(caught.exception.reason, Reason.TOO_LARGE)

    @given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=3))
    def test_noise(self, data, cuts):
        """Whatever comes, there is no other error than a published one."""
        for noise in (data, b'{"' + data, data + b"\n", directory("a") + data):
            try:
                parse(noise, 200, cuts)
            except TransferFailed as error:
                self.assertIn(error.reason, Reason.__members__)


class TestNames(SynchronousTestCase):
    @given(st.lists(NAMES, min_size=1, max_size=20))
    def test_good(self, names):
        """Every path that Linux can have below a directory is good."""
        check_names(tuple(names))

    def test_bad(self):
        """The directory itself is no entry, and paths have an end, whoever makes them."""
        for names, reason in {
            (): Reason.PROTOCOL,
            (b"",): Reason.PROTOCOL,
            (b"a/b",): Reason.PROTOCOL,
            (b"n" * 256,): Reason.PROTOCOL,
            (b"n" * 240,) * 17 + (b"n",): Reason.TOO_LARGE,
            (b"n",) * (DEPTH_MOST + 1): Reason.TOO_LARGE,
        }.items():
            with self.assertRaises(TransferFailed) as caught:
                check_names(names)
            self.assertEqual(caught.exception.reason, reason)
        check_names((b"n" * 240,) * 17)

    @given(st.integers(0, 5), st.lists(NAMES, max_size=5), st.integers(0, 5))
    def test_targets(self, ups, names, depth):
        """A target may go up as far as the root of the tree, then only down."""
        target = b"/".join([b".."] * ups + names)
        path = (b"d",) * depth + (b"link",)
        good = bool(target) and ups <= depth
        try:
            check_target(path, target)
        except TransferFailed:
            self.assertFalse(good)
        else:
            self.assertTrue(good)
