"""A directory as it is made: out of sight until it is whole, and by hostile streams, too."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import stat
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.common.copying_wire import sha256
from tests.common.tree_cases import (
    END,
    TreeCase,
    directory,
    file,
    line,
    link,
    seen,
    stream,
    tree_facts,
)
from vmcontroller.common.copying.descent import OPEN_MOST
from vmcontroller.common.copying.landing import Terms
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.source import place_at
from vmcontroller.common.copying.tree_landing import TreeLanding
from vmcontroller.common.copying.tree_removal import remove_tree
from vmcontroller.common.copying.tree_stream import stretch_head
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.words.files import FileFacts


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
            try:
                self.assertEqual(self.names(), ["copy", "outside"])
                self.assert_links_stay_inside(copy)
            finally:
                fd = os.open(self.base, os.O_PATH)
                remove_tree(b"copy", fd)
                os.close(fd)
        self.assertEqual(seen(os.fsencode(self.outside)), self.untouched)

    def assert_links_stay_inside(self, copy):
        for where, directories, files in os.walk(copy):
            for name in directories + files:
                path = os.path.join(where, name)
                try:
                    os.stat(path)
                except OSError as error:
                    if error.errno == errno.ELOOP:  # leads nowhere, and realpath errs about it
                        continue
                real = os.path.realpath(path)
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

    def test_directory_replaced(self):
        """Who swaps a directory of the copy for a link or another gets nothing written there."""
        deep = ["d/" * depth + "d" for depth in range(OPEN_MOST + 2)]
        begin = stream(*map(directory, deep))
        end = stream(file("d/e", 3), b"abc")
        for swap, reason in {
            lambda place: place.symlink_to(self.outside): Reason.NO_SUCH_FILE,
            lambda place: (place / "d").mkdir(parents=True): Reason.IO_ERROR,
        }.items():
            with self.landing(tree_facts(begin + end)) as new:
                new.write(begin)
                temporary = self.base / ".copy.vmcontroller-t1"
                (temporary / "d").rename(temporary / "moved")
                swap(temporary / "d")
                with self.failing(reason):
                    new.write(end)
                self.assertFalse((temporary / "d" / "e").exists())
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
