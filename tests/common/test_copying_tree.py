"""A directory as it is read, sent in any pieces, and made again; and what hostile streams reach."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import socket
import stat
from pathlib import Path
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.common.copying_wire import open_files, sha256
from tests.common.test_copying_tree_stream import (
    END,
    NAMES,
    directory,
    file,
    line,
    link,
    stream,
)
from vmcontroller.common.copying.descent import OPEN_MOST
from vmcontroller.common.copying.landing import Terms
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.source import BLOCK_BYTES, place_at
from vmcontroller.common.copying.tree_landing import TreeLanding
from vmcontroller.common.copying.tree_removal import remove_tree
from vmcontroller.common.copying.tree_source import TreeSource
from vmcontroller.common.copying.tree_stream import stretch_head
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.words.files import FileFacts

PAGE = 64 * 1024
TIMES = st.integers(0, 2**33 * 10**9)
# Whoever is not root can only read what its owner may read.
FILE_MODES = st.integers(0, 0o777).map(lambda mode: mode | 0o400)
DIRECTORY_MODES = st.integers(0, 0o777).map(lambda mode: mode | 0o500)
LONG_NAMES = st.sampled_from([b"n" * 255, b"\xff" * 255, "é".encode() * 127])
FILES = st.fixed_dictionaries(
    {
        "pieces": st.one_of(
            st.dictionaries(st.just(0), st.binary(max_size=40), max_size=1),
            st.dictionaries(st.integers(0, 20).map(lambda n: n * PAGE), st.binary(max_size=40)),
        ),
        "tail_bytes": st.sampled_from([0, 0, 1, 10 * PAGE]),
        "mode": FILE_MODES,
        "mtime_ns": TIMES,
    }
)
LINKS = st.fixed_dictionaries(
    {"target": st.lists(NAMES, min_size=1, max_size=3).map(b"/".join), "mtime_ns": TIMES}
)
DIRECTORIES = st.deferred(
    lambda: st.fixed_dictionaries(
        {"inside": TREES, "mode": DIRECTORY_MODES, "mtime_ns": TIMES},
    )
)
TREES = st.dictionaries(NAMES | LONG_NAMES, st.one_of(FILES, FILES, LINKS, DIRECTORIES), max_size=4)


def make(path, node):
    """Make a file, link or directory of a strategy."""
    times = (node["mtime_ns"], node["mtime_ns"])
    if "target" in node:
        os.symlink(node["target"], path)
        os.utime(path, ns=times, follow_symlinks=False)
        return
    if "inside" in node:
        os.mkdir(path)
        for name, inner in node["inside"].items():
            make(path + b"/" + name, inner)
    else:
        with open(path, "wb") as made:
            for offset, piece in node["pieces"].items():
                made.seek(offset)
                made.write(piece)
            made.seek(0, os.SEEK_END)
            made.truncate(made.tell() + node["tail_bytes"])
    os.chmod(path, node["mode"])
    os.utime(path, ns=times)


def seen(path):
    """Return all that a copy keeps of what lies there, and all below it."""
    found = os.lstat(path)
    facts = (stat.S_IMODE(found.st_mode), found.st_mtime_ns)
    if stat.S_ISLNK(found.st_mode):
        return ("link", found.st_mtime_ns, os.readlink(path))
    if stat.S_ISDIR(found.st_mode):
        return ("dir", *facts, {name: seen(path + b"/" + name) for name in os.listdir(path)})
    return ("file", *facts, Path(os.fsdecode(path)).read_bytes())


def tree_facts(data, mode=0o755, **more):
    return FileFacts(size_bytes=len(data), mode=mode, mtime_ns=5, tree=True, **more)


def read_all(source):
    data = b""
    while len(data) < source.facts.size_bytes:
        block = source.read()
        assert 0 < len(block) <= BLOCK_BYTES
        data += block
    return data


class TreeCase(SynchronousTestCase):
    def setUp(self):
        self.base = Path(self.mktemp()).absolute()
        self.base.mkdir()
        self.before = open_files()

    def names(self):
        return sorted(path.name for path in self.base.iterdir())

    def open(self, name="tree", **options):
        return TreeSource.open(place_at(name, home=str(self.base)), **options)

    @contextlib.contextmanager
    def landing(self, facts, name="copy", terms=None):
        """Give a landing, and see that it leaves nothing open, and nothing half-done."""
        before = open_files()
        place = place_at(name, home=str(self.base))
        try:
            new = TreeLanding(place, "t1", facts, *([terms] if terms else []))
            try:
                yield new
            finally:
                new.discard()
        finally:
            place.close()
        self.assertLessEqual(open_files(), before)
        self.assertNotIn(".copy.vmcontroller-t1", self.names())

    def land(self, data, facts=None, name="copy", terms=None):
        with self.landing(facts or tree_facts(data), name, terms) as new:
            new.write(data)
            new.put_in_place(sha256(data))

    @contextlib.contextmanager
    def failing(self, reason):
        with self.assertRaises(TransferFailed) as caught:
            yield caught
        self.assertEqual(caught.exception.reason, reason)


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
        """More files than one copy may have are refused before any byte."""
        for name in "abc":
            (self.tree / name).touch()
        with mock.patch("vmcontroller.common.copying.tree_source.ENTRIES_MOST", 2):
            self.assert_open_fails(Reason.TOO_LARGE, "more than 2")


def read_all_after(source, done):
    while done < source.facts.size_bytes:
        done += len(source.read())
    source.finish()


class TestLanding(TreeCase):
    def test_out_of_sight(self):
        """Until all is verified there is only a directory that nobody else may enter."""
        data = stream(directory("d", mode=0), file("d/f", 3, mode=0o6755), b"abc", END)
        with self.landing(tree_facts(data, 0o7551)) as new:
            new.write(data)
            (temporary,) = self.base.iterdir()
            self.assertEqual(temporary.name, ".copy.vmcontroller-t1")
            self.assertEqual(stat.S_IMODE(temporary.stat().st_mode), 0o700)
            new.put_in_place(sha256(data))
        self.assertEqual(self.names(), ["copy"])
        self.assertEqual(stat.S_IMODE((self.base / "copy").stat().st_mode), 0o551)
        self.assertEqual((self.base / "copy").stat().st_mtime_ns, 5)
        self.assertEqual(stat.S_IMODE((self.base / "copy" / "d").stat().st_mode), 0)
        (self.base / "copy" / "d").chmod(0o755)
        # Set-user-ID and set-group-ID never reach the copy.
        self.assertEqual(stat.S_IMODE((self.base / "copy/d/f").stat().st_mode), 0o755)

    def test_place_that_is_taken(self):
        """A directory never replaces anything, and the error says what to do."""
        (self.base / "f").write_bytes(b"x")
        (self.base / "d").mkdir()
        (self.base / "link").symlink_to("gone")
        for name in ("f", "d"):
            with self.failing(Reason.EXISTS) as caught:
                self.land(stream(END), name=name)
            self.assertIn("remove it first", caught.exception.detail)
        self.assertEqual(self.names(), ["d", "f", "link"])

    def test_place_taken_meanwhile(self):
        """Also what came there while the copy ran stays as it is."""
        data = stream(END)
        with self.landing(tree_facts(data)) as new:
            new.write(data)
            (self.base / "copy").mkdir()
            with self.failing(Reason.EXISTS):
                new.put_in_place(sha256(data))
        self.assertEqual(self.names(), ["copy"])

    def test_taken_temporary_name(self):
        """A link that lies under the temporary name is not entered."""
        (self.base / "outside").mkdir()
        (self.base / ".copy.vmcontroller-t1").symlink_to("outside")
        place = place_at("copy", home=str(self.base))
        self.addCleanup(place.close)
        with self.failing(Reason.EXISTS):
            TreeLanding(place, "t1", tree_facts(b""))
        self.assertEqual(os.listdir(self.base / "outside"), [])

    def test_leftover(self):
        """What a killed process left of the same copy is removed, and the copy made anew."""
        left = self.base / ".copy.vmcontroller-t1" / "d"
        left.mkdir(parents=True)
        (left / "f").write_bytes(b"half")
        left.chmod(0)
        self.land(stream(END))
        self.assertEqual(os.listdir(self.base / "copy"), [])

    def test_other_digest(self):
        """Bytes that are not those meant don't come into place."""
        data = stream(file("f"), END)
        with self.landing(tree_facts(data)) as new:
            new.write(data)
            with self.failing(Reason.DIGEST_MISMATCH):
                new.put_in_place(sha256(b"other"))
        self.assertEqual(self.names(), [])

    def test_cut_off(self):
        """A stream without its end is no tree, though its digest be right."""
        data = stream(directory("d"), file("d/f", 3), b"ab")
        with self.landing(tree_facts(data + b"more")) as new:
            new.write(data)
            self.assertEqual(new.prefix(), sha256(data))
            with self.failing(Reason.PROTOCOL):
                new.put_in_place(sha256(data))
        self.assertEqual(self.names(), [])

    def test_nothing_after_an_error(self):
        """What failed once is only good to be discarded."""
        data = stream(file("../f"), END)
        with self.landing(tree_facts(data)) as new:
            for work in (
                lambda: new.write(data),
                lambda: new.write(data),
                lambda: new.put_in_place(new.prefix()),
                new.suspend,
                new.resume,
                lambda: new.hole(5),
            ):
                self.assertRaises(TransferFailed, work)
        self.assertEqual(self.names(), [])

    def test_removed_while_suspended(self):
        """What someone removed meanwhile can't be gone on with."""
        data = stream(directory("d"), file("d/f"), END)
        with self.landing(tree_facts(data)) as new:
            new.write(data[:-5])
            new.suspend()
            shutil.rmtree(self.base / ".copy.vmcontroller-t1")
            with self.failing(Reason.NO_SUCH_FILE):
                new.resume()
            (self.base / ".copy.vmcontroller-t1").mkdir()
            with self.failing(Reason.NO_SUCH_FILE):
                new.resume()

    def test_more_than_the_disk(self):
        """A tree that can't fit is refused before its first byte, and nothing remains."""
        for size_bytes in (2**60, 2**63 - 1):
            facts = FileFacts(size_bytes=size_bytes, mode=0, mtime_ns=0, tree=True)
            with self.failing(Reason.DISK_FULL), self.landing(facts):
                pass
        self.assertEqual(self.names(), [])

    def test_reserve(self):
        """What would use up the reserve of bytes or of files ends the copy as it comes."""
        data = stream(*[file(f"{n:03}") for n in range(200)], END)
        for full in ({"f_bavail": 10, "f_bfree": 10}, {"f_favail": 5, "f_ffree": 5}):
            real, calls = os.fstatvfs, itertools.count()

            def fstatvfs(fd, real=real, calls=calls, full=full):
                found = real(fd)
                if next(calls) < 2:
                    return found
                fields = {name: getattr(found, name) for name in dir(found) if name[:2] == "f_"}
                return mock.Mock(**{**fields, "f_files": 1000, **full})

            with (
                mock.patch("os.fstatvfs", fstatvfs),
                self.failing(Reason.DISK_FULL),
            ):
                self.land(data, terms=Terms(keep_reserve=True))
            self.assertEqual(self.names(), [])

    def test_names_that_the_disk_takes_for_one(self):
        """Where two names are one to the disk, the second is an error, not a way in."""
        data = stream(file("A"), file("a", 3), b"abc", END)
        real = os.open

        def caseless(path, *args, **options):
            return real(path.lower() if path == b"A" else path, *args, **options)

        with mock.patch("os.open", caseless), self.failing(Reason.EXISTS) as caught:
            self.land(data)
        self.assertIn("'copy/a'", caught.exception.detail)

    def test_unknown_owner(self):
        """An owner that is not known here, or is nobody's name, changes nothing."""
        names = {"owner": "no\0body", "group": "no such group"}
        data = stream(directory("d", **names), link("l", "d", **names), END)
        self.land(data, tree_facts(data, **names))
        self.assertEqual((self.base / "copy" / "d").stat().st_uid, os.geteuid())


SMALL_NAMES = st.sampled_from(["a", "b", "c", "..", ".", "", "a\0", "/", "~"])
SMALL_PATHS = st.lists(SMALL_NAMES, min_size=1, max_size=4).map("/".join)
GOOD_PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)
HEADS = st.one_of(
    st.builds(directory, GOOD_PATHS, mode=st.integers(0, 0o7777)),
    st.builds(file, GOOD_PATHS),
    st.builds(link, GOOD_PATHS, SMALL_PATHS),
    st.builds(lambda path, data: file(path, len(data)) + data, GOOD_PATHS, st.binary(max_size=9)),
    st.builds(directory, SMALL_PATHS),
    st.builds(file, SMALL_PATHS, st.integers(0, 2**63), st.integers(0, 30)),
    st.builds(lambda at, length: line(at=at, length=length), st.integers(-1, 9), st.integers(0, 9)),
    st.binary(max_size=20),
)
WHOLE = stream(
    directory("a", mode=0),
    file("a/b", 5),
    b"12345",
    link("a/c", "../e/f"),
    directory("a/d"),
    file("b", 200_000, 3),
    stretch_head(65536, 2),
    b"xy",
    stretch_head(199_999, 1),
    b"z",
    directory("e"),
    link("e/f", "."),
    END,
)


class TestHostile(TreeCase):
    def setUp(self):
        super().setUp()
        self.outside = self.base / "outside"
        self.outside.mkdir()
        (self.outside / "f").write_bytes(b"keep")
        self.untouched = seen(os.fsencode(self.outside))

    def attack(self, data, announced=None):
        """Land a stream with a right digest; nothing else than its own tree may come of it."""
        facts = FileFacts(
            size_bytes=len(data) if announced is None else announced,
            mode=0o755,
            mtime_ns=5,
            tree=True,
        )
        copy = self.base / "copy"
        try:
            self.land(data, facts)
        except TransferFailed as error:
            self.assertIn(error.reason, Reason.__members__)
            self.assertEqual(self.names(), ["outside"])
        else:
            self.assertEqual(self.names(), ["copy", "outside"])
            self.assert_links_stay_inside(copy)
            fd = os.open(self.base, os.O_PATH)
            remove_tree(b"copy", fd)
            os.close(fd)
        self.assertEqual(seen(os.fsencode(self.outside)), self.untouched)

    def assert_links_stay_inside(self, copy):
        for where, directories, files in os.walk(copy):
            for name in directories + files:
                real = os.path.realpath(os.path.join(where, name))
                self.assertTrue(real == str(copy) or real.startswith(f"{copy}/"), real)

    @settings(max_examples=200, deadline=None)
    @given(st.lists(HEADS, max_size=8), st.booleans())
    def test_any_heads(self, heads, ends):
        """Whatever entries come in whatever order, they reach nothing but their own tree."""
        self.attack(stream(*heads, *([END] if ends else [])))

    @settings(max_examples=150, deadline=None)
    @given(
        st.lists(
            st.tuples(st.integers(0, len(WHOLE)), st.integers(0, 40), st.binary(max_size=5)),
            min_size=1,
            max_size=3,
        ),
        st.integers(-3, 3),
    )
    def test_any_damage(self, cuts, difference):
        """A good stream with bytes replaced, lost or put in does no more harm."""
        data = WHOLE
        for at, length, bytes_instead in cuts:
            data = data[:at] + bytes_instead + data[at + length :]
        self.attack(data, max(0, len(data) + difference))

    @settings(max_examples=150, deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from("abcd"),
            st.lists(st.sampled_from(["..", ".", "", "a", "b", "c", "d", "d/a", "d/x"]))
            .map("/".join)
            .filter(bool),
        ),
        st.dictionaries(
            st.sampled_from("abx"),
            st.lists(st.sampled_from(["..", ".", "a", "b", "c", "d", "x"]))
            .map("/".join)
            .filter(bool),
        ),
    )
    def test_links_to_links(self, outer, inner):
        """However links lead to links, none that is let in leads out of the tree."""
        heads = [link(name, target) for name, target in sorted(outer.items()) if name != "d"]
        heads.append(directory("d"))
        heads += [link(f"d/{name}", target) for name, target in sorted(inner.items())]
        self.attack(stream(*heads, END))

    def test_the_whole_one(self):
        """The stream that is damaged above is a good one."""
        self.land(WHOLE)
        self.assertEqual((self.base / "copy" / "b").stat().st_size, 200_000)

    def test_huge_file(self):
        """A file that says to be larger than files may be is refused by the disk."""
        data = stream(file("f", 2**63 - 1, 0), END)
        with self.failing(Reason.TOO_LARGE):
            self.land(data)
        self.assertEqual(self.names(), ["outside"])

    def test_directory_replaced_by_a_link(self):
        """Who swaps a directory of the copy for a link gets nothing written through it."""
        deep = ["d/" * depth + "d" for depth in range(OPEN_MOST + 2)]
        begin = stream(*map(directory, deep))
        end = stream(file("d/e", 3), b"abc")
        with self.landing(tree_facts(begin + end)) as new:
            new.write(begin)
            temporary = self.base / ".copy.vmcontroller-t1"
            (temporary / "d").rename(temporary / "moved")
            (temporary / "d").symlink_to(self.outside)
            with self.failing(Reason.NO_SUCH_FILE):
                new.write(end)
        self.assertEqual(self.names(), ["outside"])
        self.assertEqual(seen(os.fsencode(self.outside)), self.untouched)


class TestRemoval(TreeCase):
    def test_links_and_closed_directories(self):
        """Links are removed, not followed; a directory without permissions is no obstacle."""
        (self.base / "outside").mkdir()
        (self.base / "outside" / "f").touch()
        tree = self.base / "tree"
        (tree / "a" / "b").mkdir(parents=True)
        (tree / "a" / "b" / "link").symlink_to(self.base / "outside")
        os.mkfifo(tree / "fifo")
        for path in (tree / "a" / "b", tree / "a", tree):
            path.chmod(0)
        fd = os.open(self.base, os.O_PATH)
        self.addCleanup(os.close, fd)
        remove_tree(b"tree", fd)
        self.assertEqual(self.names(), ["outside"])
        self.assertEqual(os.listdir(self.base / "outside"), ["f"])

    def test_no_directory(self):
        """A file or link in its place is not removed."""
        (self.base / "f").touch()
        (self.base / "link").symlink_to("f")
        fd = os.open(self.base, os.O_PATH)
        self.addCleanup(os.close, fd)
        for name in (b"f", b"link"):
            self.assertRaises(NotADirectoryError, remove_tree, name, fd)
        self.assertEqual(self.names(), ["f", "link"])
