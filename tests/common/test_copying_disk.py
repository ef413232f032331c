"""What is opened, created, kept and refused on the disk, without any transfer around it."""

from __future__ import annotations

import os
import socket
import stat
import uuid
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.common.copying_wire import facts, open_files, sha256
from vmcontroller.common.copying.ends import Hole
from vmcontroller.common.copying.holding import HOLE_MOST_BYTES
from vmcontroller.common.copying.landing import NewFile, Terms
from vmcontroller.common.copying.leftovers import is_temporary, sweep, temporary_name
from vmcontroller.common.copying.reasons import DETAIL_CHARS, Reason, explained, reported
from vmcontroller.common.copying.source import SourceFile, place_at
from vmcontroller.common.errors import TransferFailed


class DiskCase(SynchronousTestCase):
    def setUp(self):
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir()
        self.before = open_files()

    def names(self):
        return sorted(path.name for path in self.directory.iterdir())

    def assert_fails(self, reason, work, *args):
        with self.assertRaises(TransferFailed) as caught:
            work(*args)
        self.assertEqual(caught.exception.reason, reason)
        self.assertEqual(open_files(), self.before)


class TestOpening(DiskCase):
    def open(self, name):
        source = SourceFile.open(place_at(name, home=str(self.directory)))
        source.close()
        return source

    def test_facts(self):
        """Size, the twelve bits of mode, and the time to the nanosecond are told."""
        path = self.directory / "f"
        path.write_bytes(b"abc")
        path.chmod(0o4750)
        os.utime(path, ns=(1, 1_234_567_890_123_456_789))
        self.assertEqual(self.open("f").facts, facts(3, 0o4750, 1_234_567_890_123_456_789))

    def test_before_1970(self):
        """A time that words can't carry becomes the nearest that they can."""
        path = self.directory / "f"
        path.touch()
        os.utime(path, ns=(-5, -5))
        self.assertEqual(self.open("f").facts.mtime_ns, 0)

    def test_link(self):
        """A symbolic link stands for the file that it names."""
        (self.directory / "f").write_bytes(b"abc")
        (self.directory / "link").symlink_to("f")
        self.assertEqual(self.open("link").facts.size_bytes, 3)

    def test_not_files(self):
        """FIFO, device, socket, directory and what is missing each have their reason, at once."""
        os.mkfifo(self.directory / "fifo")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        # Relative, because a socket's path is short.
        listener.bind(os.path.relpath(self.directory / "socket"))
        (self.directory / "loop").symlink_to("loop")
        for name, reason in {
            "fifo": Reason.NOT_A_FILE,
            "socket": Reason.NOT_A_FILE,
            "/dev/zero": Reason.NOT_A_FILE,
            ".": Reason.IS_A_DIRECTORY,
            "/": Reason.IS_A_DIRECTORY,
            "fifo/": Reason.IS_A_DIRECTORY,
            "": Reason.NO_SUCH_FILE,
            "none": Reason.NO_SUCH_FILE,
            "none/none": Reason.NO_SUCH_FILE,
            "fifo/none": Reason.NO_SUCH_FILE,
            "loop": Reason.NOT_A_FILE,
            "a\0b": Reason.NO_SUCH_FILE,
            "\ud800": Reason.NO_SUCH_FILE,
            "n" * 300: Reason.NO_SUCH_FILE,
        }.items():
            self.assert_fails(reason, self.open, name)


class TestLanding(DiskCase):
    def create(self, name="new", size_bytes=3, mode=0o644, **terms):
        place = place_at(name, home=str(self.directory))
        self.addCleanup(place.close)
        self.before = sorted([*self.before, str(self.directory)])
        return NewFile(place, "t1", facts(size_bytes, mode), Terms(**terms))

    def test_in_place_with_mode_and_time(self):
        """The copy gets mode and time of the original; it was nobody else's to read before."""
        new = self.create(mode=0o751)
        (temporary,) = self.directory.iterdir()
        self.assertEqual(temporary.name, ".new.vmcontroller-t1")
        self.assertEqual(stat.S_IMODE(temporary.stat().st_mode), 0o600)
        new.write(b"ab")
        new.write(bytearray(b"c"))
        new.put_in_place(sha256(b"abc"))
        new.discard()
        found = (self.directory / "new").stat()
        self.assertEqual(stat.S_IMODE(found.st_mode), 0o751)
        self.assertEqual(found.st_mtime_ns, facts(3).mtime_ns)
        self.assertEqual(self.names(), ["new"])
        self.assertEqual(open_files(), self.before)

    def test_rights_are_not_handed_out(self):
        """Set-user-ID, set-group-ID and sticky never reach the copy."""
        new = self.create(size_bytes=0, mode=0o7755)
        new.put_in_place(sha256(b""))
        self.assertEqual(stat.S_IMODE((self.directory / "new").stat().st_mode), 0o755)

    def test_link_is_kept(self):
        """What a link names is replaced, not the link; as cp does."""
        (self.directory / "real").write_bytes(b"old")
        (self.directory / "link").symlink_to("real")
        new = self.create("link")
        new.write(b"abc")
        new.put_in_place(sha256(b"abc"))
        self.assertTrue((self.directory / "link").is_symlink())
        self.assertEqual((self.directory / "real").read_bytes(), b"abc")

    def test_longest_name(self):
        """A name as long as names may be needs no longer temporary name."""
        name = "é" * 127
        new = self.create(name, size_bytes=0)
        new.put_in_place(sha256(b""))
        self.assertEqual(self.names(), [name])

    @given(st.text(min_size=1, max_size=255), st.uuids())
    def test_temporary_names_fit(self, name, transfer_id):
        """Every temporary name is within the 255 bytes of a name, whatever the characters."""
        try:
            os.fsencode(name)
        except UnicodeEncodeError:
            return
        made = temporary_name(name, transfer_id.hex)
        self.assertLessEqual(len(os.fsencode(made)), 255)
        self.assertTrue(is_temporary(made, transfer_id.hex))
        self.assertFalse(is_temporary(name, transfer_id.hex))
        self.assertFalse(is_temporary(made, transfer_id.hex[1:]))

    def test_refused_targets(self):
        """A directory is not replaced, nor a FIFO, nor anything else that is no file."""
        (self.directory / "d").mkdir()
        os.mkfifo(self.directory / "fifo")
        for name, reason in {
            "d": Reason.IS_A_DIRECTORY,
            "fifo": Reason.NOT_A_FILE,
            "n" * 256: Reason.NO_SUCH_FILE,
        }.items():
            with self.assertRaises(TransferFailed) as caught:
                self.create(name)
            self.assertEqual(caught.exception.reason, reason)
        self.assertEqual(self.names(), ["d", "fifo"])

    def test_more_than_the_disk(self):
        """A file that can't fit is refused before its first byte, and nothing remains."""
        for size_bytes in (2**60, 2**63 - 1):
            with self.assertRaises(TransferFailed) as caught:
                self.create(size_bytes=size_bytes)
            self.assertEqual(caught.exception.reason, Reason.DISK_FULL)
        self.assertEqual(self.names(), [])

    def test_taken_temporary_name(self):
        """A link or file that lies under the temporary name is not written through."""
        (self.directory / "target").write_bytes(b"keep")
        (self.directory / ".new.vmcontroller-t1").symlink_to("target")
        with self.assertRaises(TransferFailed):
            self.create()
        self.assertEqual((self.directory / "target").read_bytes(), b"keep")

    def test_space_is_held(self):
        """What was announced is taken from the disk at once, so that it can't run out."""
        size_bytes = 2**20
        new = self.create(size_bytes=size_bytes)
        (temporary,) = self.directory.iterdir()
        self.assertGreaterEqual(temporary.stat().st_blocks * 512, size_bytes)
        new.discard()
        new.discard()
        self.assertEqual(self.names(), [])

    def test_space_is_held_ahead(self):
        """On such terms only the next stretch is taken, and the file still gets its length."""
        content = bytes(3 * 2**20)
        new = self.create(size_bytes=len(content), ahead_bytes=2**20)
        (temporary,) = self.directory.iterdir()
        for done in range(0, len(content), 2**18):
            self.assertLessEqual(temporary.stat().st_blocks * 512, done + 2**20 + 4096)
            new.write(content[done : done + 2**18])
            self.assertGreaterEqual(temporary.stat().st_blocks * 512, done + 2**18)
        new.put_in_place(sha256(content))
        new.discard()
        self.assertEqual((self.directory / "new").read_bytes(), content)

    def test_other_digest(self):
        """Bytes that are not those meant do not replace what was there."""
        (self.directory / "new").write_bytes(b"old")
        new = self.create()
        new.write(b"abd")
        with self.assertRaises(TransferFailed) as caught:
            new.put_in_place(sha256(b"abc"))
        self.assertEqual(caught.exception.reason, Reason.DIGEST_MISMATCH)
        new.discard()
        self.assertEqual(self.names(), ["new"])
        self.assertEqual((self.directory / "new").read_bytes(), b"old")


class TestHoles(DiskCase):
    def source(self, size_bytes, *stretches, **options):
        with (self.directory / "f").open("wb") as file:
            file.truncate(size_bytes)
            for offset, content in stretches:
                os.pwrite(file.fileno(), content, offset)
        place = place_at("f", home=str(self.directory))
        source = SourceFile.open(place, holes=True, **options)
        self.addCleanup(source.close)
        return source

    def read_all(self, source):
        at, pieces = 0, []
        while at < source.facts.size_bytes:
            piece = source.read()
            at += piece.length_bytes if isinstance(piece, Hole) else len(piece)
            pieces.append(piece)
        return pieces

    @settings(max_examples=40, deadline=None)
    @given(
        size=st.integers(0, 3 * 2**20),
        stretches=st.lists(
            st.tuples(st.integers(0, 3 * 2**20), st.integers(1, 70_000)), max_size=6
        ),
        part=st.integers(0, 3 * 2**20),
    )
    def test_any_holes(self, size, stretches, part):
        """Bytes and holes together are the file, and so is any part that is skipped."""
        source = self.source(size, *((at, os.urandom(n)) for at, n in stretches if at + n < size))
        content = (self.directory / "f").read_bytes()
        part = min(part, size)
        self.assertEqual(source.skip(part), sha256(content[:part]))
        found = b""
        while part + len(found) < size:
            piece = source.read()
            found += bytes(piece.length_bytes) if isinstance(piece, Hole) else piece
        self.assertEqual(found, content[part:])
        self.assertEqual(source.finish(), sha256(content))

    def test_long_and_short(self):
        """A long hole comes in pieces that take no time; one of a block is read as zeros."""
        source = self.source(2**28 + 4096, (0, b"x"), (8192, b"y"), (2**28, b"z"))
        pieces = self.read_all(source)
        holes = [piece for piece in pieces if isinstance(piece, Hole)]
        self.assertGreater(len(holes), 3)
        self.assertTrue(all(hole.length_bytes <= HOLE_MOST_BYTES for hole in holes))
        self.assertLess(source.facts.data_bytes, 2**20)

    def test_a_hole_and_no_data(self):
        """A file that is one hole takes no byte."""
        source = self.source(10**6)
        self.assertEqual(self.read_all(source), [Hole(10**6)])
        self.assertEqual(source.finish(), sha256(bytes(10**6)))

    def test_a_hole_in_the_copy(self):
        """The copy gets the hole, its space is given back, and what follows lies right."""
        place = place_at("new", home=str(self.directory))
        self.addCleanup(place.close)
        size = 2**26
        new = NewFile(place, "t1", replace(facts(size), data_bytes=8))
        new.write(b"head")
        new.hole(size - 8)
        new.write(b"tail")
        content = b"head" + bytes(size - 8) + b"tail"
        new.put_in_place(sha256(content))
        self.assertEqual((self.directory / "new").read_bytes(), content)
        self.assertLess((self.directory / "new").stat().st_blocks * 512, 2**20)


class TestKept(DiskCase):
    def create(self, **options):
        place = place_at("new", home=str(self.directory))
        self.addCleanup(place.close)
        return NewFile(place, "t1", facts(2**20), **options)

    def test_suspended(self):
        """What is kept holds no space that it does not fill, and goes on."""
        new = self.create()
        new.write(b"abc")
        (temporary,) = self.directory.iterdir()
        self.assertGreaterEqual(temporary.stat().st_blocks * 512, 2**20)
        self.assertEqual(temporary.stat().st_size, 3)
        new.suspend()
        self.assertLess(temporary.stat().st_blocks * 512, 2**16)
        new.resume()
        self.assertEqual(new.prefix(), sha256(b"abc"))
        rest = os.urandom(2**20 - 3)
        new.write(rest)
        new.put_in_place(sha256(b"abc" + rest))
        self.assertEqual(self.names(), ["new"])

    def test_gone_meanwhile(self):
        """What somebody has removed or cut meanwhile is not gone on with."""
        for spoil in (os.unlink, lambda path: os.truncate(path, 1)):
            new = self.create()
            new.write(b"abc")
            new.suspend()
            (temporary,) = self.directory.iterdir()
            spoil(temporary)
            self.assertRaises(TransferFailed, new.resume)
            new.discard()
            self.assertEqual(self.names(), [])

    def test_found(self):
        """Another process finds what was written, whatever was held, and knows its digest."""
        new = self.create()
        new.write(b"abc")
        new.close()
        again = self.create(find=True)
        self.assertEqual(again.written_bytes, 0)
        while again.recall():
            pass
        self.assertEqual((again.written_bytes, again.prefix()), (3, sha256(b"abc")))
        again.discard()

    def test_not_ours(self):
        """A link, another's file or one that is too long under that name is not taken for it."""
        (self.directory / "secret").write_bytes(b"keep")
        temporary = self.directory / ".new.vmcontroller-t1"
        for make in (
            lambda: os.link(self.directory / "secret", temporary),
            lambda: temporary.write_bytes(bytes(2**20 + 1)),
        ):
            make()
            new = self.create(find=True)
            self.assertFalse(new.recall())
            self.assertEqual(new.written_bytes, 0)
            new.write(b"xyz")
            new.discard()
        temporary.symlink_to("secret")
        self.assertRaises(TransferFailed, self.create, find=True)
        self.assertEqual((self.directory / "secret").read_bytes(), b"keep")


class TestSweep(DiskCase):
    def test_leftovers(self):
        """What a killed process left is removed; whatever else lies there stays."""
        transfer_id = uuid.uuid4().hex
        for name in ("f", "é" * 127, "a\nb", ".hidden"):
            (self.directory / temporary_name(name, transfer_id)).write_bytes(b"half")
        (self.directory / "outside").write_bytes(b"keep")
        linked, folder = (temporary_name(name, transfer_id) for name in ("link", "folder"))
        (self.directory / linked).symlink_to("outside")
        (self.directory / folder).mkdir()
        kept = [
            f"f.vmcontroller-{transfer_id}",
            f".vmcontroller-{transfer_id}",
            f".f.vmcontroller-{transfer_id[1:]}",
            f".f.vmcontroller-{transfer_id}~",
            f".f.vmcontroller-{transfer_id.upper()}x",
            f".fvmcontroller-{transfer_id}",
        ]
        for name in kept:
            (self.directory / name).write_bytes(b"keep")
        sweep(str(self.directory))
        self.assertEqual(self.names(), sorted([*kept, "outside", linked]))
        self.assertEqual(open_files(), self.before)

    def test_no_directory(self):
        """It is the caller's to say what is wrong with the directory."""
        self.assertRaises(OSError, sweep, str(self.directory / "none"))


class TestReasons(SynchronousTestCase):
    def test_errors_of_the_system(self):
        """Each error of the system becomes the published reason that a caller can act on."""
        for error, reason in {
            FileNotFoundError(2, "x"): Reason.NO_SUCH_FILE,
            PermissionError(13, "x"): Reason.PERMISSION_DENIED,
            PermissionError(1, "x"): Reason.PERMISSION_DENIED,
            OSError(30, "read-only"): Reason.PERMISSION_DENIED,
            OSError(28, "full"): Reason.DISK_FULL,
            OSError(122, "quota"): Reason.DISK_FULL,
            OSError(27, "too large"): Reason.TOO_LARGE,
            OSError(5, "bad disk"): Reason.IO_ERROR,
            OSError("no number"): Reason.IO_ERROR,
        }.items():
            with self.assertRaises(TransferFailed) as caught, explained("/some/path"):
                raise error
            self.assertEqual(caught.exception.reason, reason)
            self.assertIn("/some/path", caught.exception.detail)

    @given(st.text(), st.text())
    def test_what_peers_report(self, reason, detail):
        """A peer's reason is one of the published ones, and its detail is harmless to print."""
        error = reported(reason, detail)
        self.assertIn(error.reason, Reason.__members__)
        self.assertTrue(error.detail.isprintable())
        error = reported("DISK_FULL", detail)
        self.assertEqual(error.reason, "DISK_FULL")
        self.assertTrue(error.detail.isprintable())
        self.assertLessEqual(len(error.detail), DETAIL_CHARS)
