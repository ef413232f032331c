"""A directory as it is read, sent in any pieces, and made again."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.common.copying_wire import open_files, sha256
from tests.common.tree_cases import (
    DIRECTORIES,
    PAGE,
    TreeCase,
    make,
    read_all,
    seen,
)
from vmcontroller.common.copying.descent import OPEN_MOST
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.source import BLOCK_BYTES, place_at
from vmcontroller.common.copying.tree_removal import remove_tree
from vmcontroller.common.copying.tree_source import TreeSource
from vmcontroller.common.errors import TransferFailed


class TestRoundTrip(TreeCase):
    @settings(max_examples=80, deadline=None)
    @given(DIRECTORIES, st.lists(st.integers(1, 3000), min_size=1, max_size=5), st.booleans())
    def test_any_tree(self, node, sizes, rests):
        """Names of any bytes, modes, times, links, holes: all is equal, however it was cut."""
        base = os.fsencode(self.mktemp())
        os.mkdir(base)
        try:
            make(base + b"/tree", node)
            source = TreeSource.open(place_at("tree", home=os.fsdecode(base)))
            data = read_all(source)
            digest = source.finish()
            source.close()
            self.assertEqual(digest, sha256(data))
            self.base = Path(os.fsdecode(base))
            with self.landing(source.facts) as new:
                at, lengths = 0, itertools.cycle(sizes)
                while at < len(data):
                    piece = data[at : at + next(lengths)]
                    new.write(memoryview(piece))
                    at += len(piece)
                    self.assertEqual(new.written_bytes, at)
                    if rests:
                        new.suspend()
                        new.resume()
                self.assertEqual(new.entries, source.entries)
                new.put_in_place(digest)
            self.assertEqual(seen(base + b"/copy"), seen(base + b"/tree"))
        finally:
            shutil.rmtree(base)

    def test_holes_stay_holes(self):
        """A file of a tebibyte with two bytes in it travels as two pages, and lands as such."""
        (self.base / "tree").mkdir()
        with open(self.base / "tree" / "f", "wb") as made:
            made.truncate(2**40)
            made.seek(2**39)
            made.write(b"x")
        with contextlib.closing(self.open()) as source:
            self.assertLess(source.facts.size_bytes, 2 * PAGE)
            self.land(read_all(source), source.facts)
        found = (self.base / "copy" / "f").stat()
        self.assertEqual(found.st_size, 2**40)
        self.assertLess(found.st_blocks * 512, 2 * PAGE)
        with open(self.base / "copy" / "f", "rb") as copied:
            copied.seek(2**39)
            self.assertEqual(copied.read(2), b"x\0")

    def test_larger_than_a_block(self):
        """Blocks are filled across the bounds of files."""
        (self.base / "tree").mkdir()
        content = os.urandom(3 * BLOCK_BYTES + 7)
        for name in "abc":
            (self.base / "tree" / name).write_bytes(content)
        with contextlib.closing(self.open()) as source:
            first = source.read()
            self.assertEqual(len(first), BLOCK_BYTES)
            self.land(first + self.rest(source, len(first)), source.facts)
        self.assertEqual((self.base / "copy" / "c").read_bytes(), content)

    def rest(self, source, done):
        data = b""
        while done + len(data) < source.facts.size_bytes:
            data += source.read()
        return data

    @settings(max_examples=30, deadline=None)
    @given(st.integers(0, 2 * BLOCK_BYTES))
    def test_skip(self, to_bytes):
        """A copy that broke off goes on from any byte, and its digest is that of the whole."""
        tree = self.base / "tree"
        if not tree.exists():
            tree.mkdir()
            for name in "ab":
                (tree / name).write_bytes(os.urandom(BLOCK_BYTES))
        with contextlib.closing(self.open()) as whole:
            data = read_all(whole)
        with contextlib.closing(self.open()) as source:
            self.assertEqual(source.skip(to_bytes), sha256(data[:to_bytes]))
            self.assertEqual(self.rest(source, to_bytes), data[to_bytes:])
            self.assertEqual(source.finish(), sha256(data))

    def test_deeper_than_files_may_be_open(self):
        """A tree as deep as may be is copied, though few of its directories are ever open."""
        fd = os.open(self.base, os.O_PATH)
        for name in ["tree", *["d"] * 999]:
            os.mkdir(name, dir_fd=fd)
            below_fd = os.open(name, os.O_PATH, dir_fd=fd)
            os.close(fd)
            fd = below_fd
        os.mkdir("last", dir_fd=fd)
        os.close(fd)
        source = self.open()
        with self.landing(source.facts) as new:
            while new.written_bytes < source.facts.size_bytes:
                new.write(source.read())
                self.assertLess(len(open_files()), len(self.before) + 3 * OPEN_MOST)
            digest = source.finish()
            source.close()
            new.put_in_place(digest)
        self.assertEqual(source.entries, 1000)
        with contextlib.closing(self.open("copy")) as again:
            self.assertEqual(again.facts.size_bytes, source.facts.size_bytes)
        fd = os.open(self.base, os.O_PATH)
        remove_tree(b"tree", fd)
        remove_tree(b"copy", fd)
        remove_tree(b"copy", fd)
        os.close(fd)
        self.assertEqual(self.names(), [])


class TestSource(TreeCase):
    def setUp(self):
        super().setUp()
        self.tree = self.base / "tree"
        self.tree.mkdir()

    def assert_open_fails(self, reason, word, name="tree"):
        with self.failing(reason) as caught:
            self.open(name)
        self.assertIn(word, caught.exception.detail)
        del caught
        self.assertEqual(open_files(), self.before)

    def test_refused(self):
        """FIFOs, sockets and links that may lead out are refused by name, before any byte."""
        (self.tree / "d").mkdir()
        os.mkfifo(self.tree / "d" / "fifo")
        self.assert_open_fails(Reason.NOT_A_FILE, "'tree/d/fifo'")
        (self.tree / "d" / "fifo").unlink()
        with contextlib.closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(os.path.relpath(self.tree / "d" / "socket"))
        self.assert_open_fails(Reason.NOT_A_FILE, "'tree/d/socket'")
        (self.tree / "d" / "socket").unlink()
        (self.tree / "d" / "link").symlink_to("/etc")
        self.assert_open_fails(Reason.ESCAPES_TREE, "'d/link'")

    def test_no_directory(self):
        """What is no directory is not read as one."""
        (self.base / "f").write_bytes(b"x")
        for name in ("f", "none", "none/none"):
            self.assert_open_fails(Reason.NO_SUCH_FILE, name, name)

    def test_links_are_not_followed(self):
        """What a link in the tree names is not read, though it be a directory."""
        (self.tree / "d").mkdir()
        (self.tree / "d" / "f").write_bytes(b"secret")
        (self.tree / "link").symlink_to("d")
        with contextlib.closing(self.open()) as source:
            self.assertEqual(read_all(source).count(b"secret"), 1)
            self.assertEqual(source.entries, 3)

    def test_hard_links(self):
        """Two names of one file become two files."""
        (self.tree / "a").write_bytes(b"abc")
        os.link(self.tree / "a", self.tree / "b")
        with contextlib.closing(self.open()) as source:
            self.land(read_all(source), source.facts)
        self.assertEqual((self.base / "copy" / "b").read_bytes(), b"abc")
        self.assertEqual((self.base / "copy" / "b").stat().st_nlink, 1)

    def test_owner_names(self):
        """Owners are told by name where they are wanted, and only there."""
        (self.tree / "a").touch()
        names = (self.tree.owner(), self.tree.group())
        with contextlib.closing(self.open(owner=True)) as source:
            self.assertEqual((source.facts.owner, source.facts.group), names)
            self.assertIn(f'"owner":"{names[0]}","group":"{names[1]}"'.encode(), source.read())
        with contextlib.closing(self.open()) as source:
            self.assertEqual((source.facts.owner, source.facts.group), ("", ""))
            self.assertNotIn(b"owner", source.read())

    def test_before_1970(self):
        """A time that heads can't carry becomes the nearest that they can."""
        (self.tree / "a").touch()
        os.utime(self.tree / "a", ns=(-5, -5))
        with contextlib.closing(self.open()) as source:
            self.assertIn(b'"mtime":0', read_all(source))
            source.finish()

    def changes(self):
        yield "added", (self.tree / "new").touch
        yield "added below", (self.tree / "d" / "new").touch
        yield "grown", lambda: (self.tree / "f").write_bytes(b"longer than before")
        yield "cut", lambda: (self.tree / "f").write_bytes(b"")
        yield "same size", lambda: (self.tree / "f").write_bytes(b"ABC")
        yield "removed", (self.tree / "f").unlink
        yield "mode", lambda: (self.tree / "d").chmod(0o700)
        yield "a directory is a link", self.replace_directory

    def replace_directory(self):
        (self.tree / "d").rmdir()
        (self.tree / "d").symlink_to("f")

    def test_changed_before_it_was_read(self):
        """A tree that is not the one that was counted is no copy."""
        for what, change in self.changes():
            shutil.rmtree(self.tree)
            self.tree.mkdir()
            (self.tree / "d").mkdir(mode=0o755)
            (self.tree / "f").write_bytes(b"abc")
            os.utime(self.tree / "f", ns=(1, 1))
            with contextlib.closing(self.open()) as source:
                change()
                with self.assertRaises(TransferFailed, msg=what) as caught:
                    read_all(source)
                    source.finish()
                self.assertEqual(caught.exception.reason, Reason.CHANGED, what)

    def test_changed_while_it_was_read(self):
        """A file that is written to or cut while it is read is not sent as if it were one."""
        for content in (b"x" * 3 * BLOCK_BYTES, b"", b"x" * 2 * BLOCK_BYTES):
            (self.tree / "f").write_bytes(b"y" * 3 * BLOCK_BYTES)
            os.utime(self.tree / "f", ns=(1, 1))
            with contextlib.closing(self.open()) as source:
                source.read()
                (self.tree / "f").write_bytes(content)
                with self.failing(Reason.CHANGED) as caught:
                    read_all_after(source, BLOCK_BYTES)
                self.assertIn("'tree/f'", caught.exception.detail)
                del caught

    def test_unread(self):
        """A digest is told only of what was read to the end."""
        with contextlib.closing(self.open()) as source, self.failing(Reason.CHANGED):
            source.finish()

    def test_too_many(self):
        """More files than one copy may have are refused before any byte, wherever they lie."""
        for name in "abc":
            (self.tree / name).mkdir()
        with mock.patch("vmcontroller.common.copying.tree_walk.ENTRIES_MOST", 3):
            self.open().close()
            (self.tree / "a" / "f").touch()
            self.assert_open_fails(Reason.TOO_LARGE, "more than 3")
        with mock.patch("vmcontroller.common.copying.tree_walk.ENTRIES_MOST", 2):
            self.assert_open_fails(Reason.TOO_LARGE, "more than 2")


def read_all_after(source, done):
    while done < source.facts.size_bytes:
        done += len(source.read())
    source.finish()
