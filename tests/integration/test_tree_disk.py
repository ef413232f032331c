"""Trees over real disks, real limits of the system, and beside real processes that interfere."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.common.copying_wire import open_files, sha256
from tests.common.tree_cases import END, directory, file, read_all, seen, stream, tree_facts
from tests.integration.test_copying import NOBODY, as_nobody
from vmcontroller.common.copying.landing import Terms
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.source import place_at
from vmcontroller.common.copying.tree_landing import TreeLanding
from vmcontroller.common.copying.tree_source import TreeSource
from vmcontroller.common.errors import TransferFailed

MIB = 2**20


class TreeDiskCase(SynchronousTestCase):
    def setUp(self):
        # Below /tmp, where someone without rights gets to.
        self.base = Path(tempfile.mkdtemp(prefix="trees-"))
        self.base.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.base)
        self.tree = self.base / "tree"
        self.tree.mkdir()
        self.target = self.base / "target"
        self.target.mkdir()

    def tearDown(self):
        self.assertEqual(open_files(self.base), [])

    def copy(self, *, owner=False, terms=None, each=lambda new: None):
        """Copy the tree block by block, as a transfer does."""
        with (
            contextlib.closing(
                TreeSource.open(place_at("tree", home=str(self.base)), owner=owner)
            ) as source,
            self.landing(source.facts, terms) as new,
        ):
            while new.written_bytes < source.facts.size_bytes:
                new.write(source.read())
                each(new)
            new.put_in_place(source.finish())

    @contextlib.contextmanager
    def landing(self, facts, terms=None):
        with contextlib.closing(place_at("copy", home=str(self.target))) as place:
            new = TreeLanding(place, "t1", facts, *([terms] if terms else []))
            try:
                yield new
            finally:
                new.discard()

    @contextlib.contextmanager
    def failing(self, reason, *words):
        """Expect this failure, and nothing left of the copy."""
        with self.assertRaises(TransferFailed) as caught:
            yield
        self.assertEqual(caught.exception.reason, reason)
        for word in words:
            self.assertIn(word, caught.exception.detail)
        self.assertEqual(os.listdir(self.target), [])
        # What the frames of the error hold is closed all the same.
        self.assertEqual(open_files(self.base), [])


class TestRights(TreeDiskCase):
    def setUp(self):
        super().setUp()
        if os.geteuid() == 0:
            for path in (self.tree, self.target):
                os.chown(path, NOBODY, NOBODY)

    def test_without_roots_rights(self):
        """Who is not root copies what he may read, also directories that nobody may write to."""
        with as_nobody():
            (self.tree / "closed" / "deeper").mkdir(parents=True)
            (self.tree / "closed" / "f").write_bytes(b"abc")
            (self.tree / "closed" / "f").chmod(0o400)
            (self.tree / "closed" / "deeper").chmod(0o500)
            (self.tree / "closed").chmod(0o555)
            self.copy(owner=True)
            copied, original = (
                seen(os.fsencode(path)) for path in (self.target / "copy", self.tree)
            )
            self.assertEqual(copied, original)
            for path in (self.tree, self.target / "copy"):
                (path / "closed").chmod(0o755)

    def test_directories_without_permissions(self):
        """A directory that its own mode closes is filled first; given up, it is removed."""
        data = stream(directory("d", mode=0), file("d/f", 3), b"abc", directory("e", mode=0), END)
        with as_nobody():
            with self.landing(tree_facts(data, mode=0)) as new:
                new.write(data)
                new.put_in_place(sha256(data))
            copy = self.target / "copy"
            self.assertEqual(stat.S_IMODE(copy.stat().st_mode), 0)
            copy.chmod(0o700)
            self.assertEqual(stat.S_IMODE((copy / "d").stat().st_mode), 0)
            (copy / "d").chmod(0o700)
            self.assertEqual((copy / "d" / "f").read_bytes(), b"abc")
            (copy / "e").chmod(0o700)
            shutil.rmtree(copy)
            with self.failing(Reason.DIGEST_MISMATCH), self.landing(tree_facts(data)) as new:
                new.write(data)
                new.put_in_place(sha256(b"other"))

    def test_unreadable(self):
        """What may not be read is named, and nothing is copied without it."""
        with as_nobody():
            (self.tree / "d").mkdir()
            (self.tree / "d" / "f").touch(mode=0)
            with self.failing(Reason.PERMISSION_DENIED, "'tree/d/f'"):
                self.copy()
            (self.tree / "d").chmod(0)
            with self.failing(Reason.PERMISSION_DENIED, "'tree/d'"):
                self.copy()

    def test_target_that_may_not_be_written(self):
        """A directory that may not be written to is named, too."""
        with as_nobody():
            self.target.chmod(0o500)
            with self.failing(Reason.PERMISSION_DENIED, "'copy'"):
                self.copy()

    def test_owners(self):
        """Root gives each its owner, by name, where that is wanted; else all is the copier's."""
        owner, group = pwd.getpwuid(NOBODY).pw_name, grp.getgrgid(NOBODY).gr_name
        names = {"owner": owner, "group": group}
        (self.tree / "f").write_bytes(b"abc")
        (self.tree / "link").symlink_to("f")
        for name in ("f", "link") if os.geteuid() == 0 else ():
            os.chown(self.tree / name, NOBODY, NOBODY, follow_symlinks=False)
        for wanted in (True, False):
            self.copy(owner=wanted)
            copy = self.target / "copy"
            ours = (os.geteuid(), os.getegid())
            expected = (NOBODY, NOBODY) if wanted and os.geteuid() == 0 else ours
            for path in (copy, copy / "f", copy / "link"):
                found = path.lstat()
                self.assertEqual((found.st_uid, found.st_gid), expected, names)
            shutil.rmtree(copy)


class TestFullDisk(TreeDiskCase):
    def setUp(self):
        super().setUp()
        options = "size=4m,nr_inodes=200"
        mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(self.target)]
        subprocess.run(mount, check=True)
        self.addCleanup(subprocess.run, ["umount", str(self.target)], check=True)

    def test_too_large(self):
        """A tree that does not fit is refused before its first byte."""
        (self.tree / "f").write_bytes(bytes(5 * MIB))
        with self.failing(Reason.DISK_FULL):
            self.copy()

    def test_full_meanwhile(self):
        """A disk that someone else fills ends the copy, and gets all its space back."""
        (self.tree / "f").write_bytes(bytes(3 * MIB))
        other = self.target / "other"

        def fill(new):
            if not other.exists():
                other.write_bytes(bytes(2 * MIB))

        with self.assertRaises(TransferFailed) as caught:
            self.copy(each=fill)
        self.assertEqual(caught.exception.reason, Reason.DISK_FULL)
        self.assertEqual(os.listdir(self.target), ["other"])

    def test_more_than_the_stream(self):
        """Small files take a block each; that the disk is full shows as they come."""
        for n in range(150):
            (self.tree / f"{n}").write_bytes(b"x" * 30)
        self.copy()
        shutil.rmtree(self.target / "copy")
        (self.target / "other").write_bytes(bytes(4 * MIB - 100 * 4096))
        with self.assertRaises(TransferFailed) as caught:
            self.copy()
        self.assertEqual(caught.exception.reason, Reason.DISK_FULL)
        self.assertEqual(os.listdir(self.target), ["other"])

    def test_no_more_files(self):
        """A disk may have bytes left, but no room for another file."""
        for n in range(300):
            (self.tree / f"{n}").touch()
        with self.failing(Reason.DISK_FULL):
            self.copy()

    def test_reserve(self):
        """On such terms the copy ends before the disk is full, of bytes or of files."""
        for n in range(192):
            (self.tree / f"{n:03}").touch()
        self.copy()
        shutil.rmtree(self.target / "copy")
        with self.failing(Reason.DISK_FULL, "stay free"):
            self.copy(terms=Terms(keep_reserve=True))
        shutil.rmtree(self.tree)
        self.tree.mkdir()
        (self.tree / "f").write_bytes(bytes(4 * MIB - 150_000))
        self.copy()
        shutil.rmtree(self.target / "copy")
        with self.failing(Reason.DISK_FULL, "stay free"):
            self.copy(terms=Terms(keep_reserve=True))


class TestLimits(TreeDiskCase):
    def limit(self, which, most):
        soft, hard = resource.getrlimit(which)
        resource.setrlimit(which, (most, hard))
        self.addCleanup(resource.setrlimit, which, (soft, hard))

    def test_few_descriptors(self):
        """A deep tree needs no more open files than a flat one."""
        here = os.open(self.tree, os.O_PATH)
        for _ in range(300):
            os.mkdir("d", dir_fd=here)
            below = os.open("d", os.O_PATH, dir_fd=here)
            os.close(here)
            here = below
        os.close(here)
        self.limit(resource.RLIMIT_NOFILE, len(os.listdir("/proc/self/fd")) + 45)
        self.copy()
        self.assertEqual(seen(os.fsencode(self.target / "copy")), seen(os.fsencode(self.tree)))

    def test_larger_than_files_may_be(self):
        """A file that the system lets nobody write is TOO_LARGE, and the tree goes."""
        (self.tree / "f").write_bytes(bytes(5 * MIB))
        self.limit(resource.RLIMIT_FSIZE, 4 * MIB)
        with self.failing(Reason.TOO_LARGE, "'copy/f'"):
            self.copy()

    def test_memory(self):
        """Neither many files nor large ones take memory by their number or size."""
        for n in range(40):
            (self.tree / f"{n}").mkdir()
            for m in range(100):
                (self.tree / f"{n}" / f"{m}").touch()
        with open(self.tree / "large", "wb") as large:
            large.truncate(64 * MIB)
            os.posix_fallocate(large.fileno(), 0, 64 * MIB)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.copy()
        _, peak_bytes = tracemalloc.get_traced_memory()
        self.assertLess(peak_bytes, 5 * MIB)


KILLED = """
import sys
from vmcontroller.common.copying.source import place_at
from vmcontroller.common.copying.tree_landing import TreeLanding
from vmcontroller.common.copying.tree_stream import DirectoryEntry, head_of
from vmcontroller.common.words.files import FileFacts
facts = FileFacts(size_bytes=10_000, mode=0o755, mtime_ns=0, tree=True)
new = TreeLanding(place_at("copy", home=sys.argv[1]), "t1", facts)
new.write(head_of(DirectoryEntry(names=(b"a",), mode=0, mtime_ns=0)))
new.write(head_of(DirectoryEntry(names=(b"b",), mode=0, mtime_ns=0)))
print("half", flush=True)
sys.stdin.read()
"""


class TestOthers(TreeDiskCase):
    def test_killed(self):
        """What a killed process left is no obstacle to the same copy, and goes with it."""
        command = [sys.executable, "-c", KILLED, str(self.target)]
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]
        ) as process:
            self.assertEqual(process.stdout.readline(), b"half\n")
            process.send_signal(signal.SIGKILL)
        self.assertEqual(os.listdir(self.target), [".copy.vmcontroller-t1"])
        (self.tree / "f").write_bytes(b"abc")
        self.copy()
        self.assertEqual(seen(os.fsencode(self.target / "copy")), seen(os.fsencode(self.tree)))
        self.assertEqual(os.listdir(self.target), ["copy"])

    def test_swapped_for_a_link(self):
        """Whoever swaps directories for links while they are read gets nothing else read."""
        secret = b"what is read by nobody"
        outside = self.base / "outside"
        outside.mkdir()
        (outside / "f").write_bytes(secret)
        (self.tree / "d").mkdir()
        (self.tree / "d" / "f").write_bytes(b"harmless, of any length")
        (self.base / "link").symlink_to(outside)
        done = threading.Event()

        def swap():
            while not done.is_set():
                (self.tree / "d").rename(self.base / "d")
                (self.base / "link").rename(self.tree / "d")
                (self.tree / "d").rename(self.base / "link")
                (self.base / "d").rename(self.tree / "d")

        swapper = threading.Thread(target=swap)
        swapper.start()
        try:
            for _ in range(300):
                with (
                    contextlib.suppress(TransferFailed),
                    contextlib.closing(
                        TreeSource.open(place_at("tree", home=str(self.base)))
                    ) as source,
                ):
                    self.assertNotIn(secret, read_all(source))
        finally:
            done.set()
            swapper.join()
