"""Output on the disk: limits, losses, and names that are no file names."""

from __future__ import annotations

import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.guest.commands.spool import (
    Room,
    StreamSpool,
    folder_name,
    open_folder,
    remove_folder,
    sweep,
)


class StreamSpoolTests(SynchronousTestCase):
    """One stream."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp())
        open_folder(self.root)
        self.room = Room(1000)

    def spool(self, limit_bytes: int = 100) -> StreamSpool:
        return StreamSpool(f"{self.root}/id", "stdout", limit_bytes, self.room)

    def test_append_and_read(self) -> None:
        """Bytes come back from any offset, at most as many as are there."""
        spool = self.spool()
        spool.append(b"hello ")
        spool.append(b"world")
        self.assertEqual(spool.read(3, 4), b"lo w")
        self.assertEqual(spool.read(6, 100), b"world")
        self.assertEqual((spool.size_bytes, spool.truncated), (11, False))

    def test_limit(self) -> None:
        """Exactly the limit is whole; one byte more is dropped, and said to be."""
        spool = self.spool(limit_bytes=4)
        spool.append(b"1234")
        self.assertFalse(spool.truncated)
        spool.append(b"5")
        self.assertTrue(spool.truncated)
        self.assertEqual(spool.read(0, 10), b"1234")

    def test_only_the_agent_may_read(self) -> None:
        """Output may hold secrets."""
        self.spool().append(b"x")
        for path, mode in ((self.root, 0o700), (self.root / "id", 0o700)):
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), mode)
        self.assertEqual(stat.S_IMODE((self.root / "id" / "stdout").stat().st_mode), 0o600)

    def test_disk_refuses(self) -> None:
        """What can't be written is dropped without a gap: nothing after it is kept either."""
        spool = self.spool()
        (self.root / "id").write_text("in the way")
        spool.append(b"lost")
        (self.root / "id").unlink()
        spool.append(b"too late")
        self.assertEqual((spool.size_bytes, spool.truncated), (0, True))

    def test_disk_loses(self) -> None:
        """Bytes that somebody removed end the stream there, so that the rest can be told."""
        spool = self.spool()
        spool.append(b"0123456789")
        (self.root / "id" / "stdout").write_bytes(b"0123")
        self.assertEqual(spool.read(2, 100), b"23")
        self.assertEqual(spool.read(4, 100), b"")
        self.assertEqual((spool.size_bytes, spool.truncated), (4, True))

    def test_release(self) -> None:
        """Who gives up its output makes room for others, and has none any more."""
        spool = self.spool()
        spool.append(b"0123456789")
        self.assertEqual(self.room.free_bytes, 990)
        spool.release()
        self.assertEqual((self.room.free_bytes, spool.size_bytes), (1000, 0))

    def test_room_of_all(self) -> None:
        """Streams share what the disk may give; what is beyond it is dropped, and said to be."""
        self.room = Room(8)
        one, other = self.spool(), StreamSpool(f"{self.root}/other", "stdout", 100, self.room)
        one.append(b"12345")
        other.append(b"12345")
        self.assertEqual((one.size_bytes, one.truncated), (5, False))
        self.assertEqual((other.read(0, 10), other.truncated), (b"123", True))
        one.release()
        other.append(b"not after a gap")
        self.assertEqual(other.size_bytes, 3)

    def test_taken_up(self) -> None:
        """After a restart of the agent the bytes are there, at most those that were counted."""
        self.spool().append(b"0123456789")
        for counted_bytes, expected in ((None, 10), (10, 10), (4, 4)):
            spool = self.spool(limit_bytes=0)
            spool.take_up(counted_bytes)
            self.assertEqual((spool.size_bytes, spool.truncated), (expected, False))
            self.assertEqual(spool.read(2, 100), b"0123456789"[2:expected])

    def test_taken_up_after_a_power_cut(self) -> None:
        """What the disk has lost is said to be cut; a link in its place is not followed."""
        self.spool().append(b"0123")
        spool = self.spool(limit_bytes=0)
        spool.take_up(10)
        self.assertEqual((spool.size_bytes, spool.truncated), (4, True))
        path = self.root / "id" / "stdout"
        path.unlink()
        path.symlink_to("/etc/passwd")
        spool = self.spool(limit_bytes=0)
        spool.take_up(10)
        self.assertEqual((spool.size_bytes, spool.truncated), (0, True))


class FolderTests(SynchronousTestCase):
    """The folders they lie in."""

    def test_swept(self) -> None:
        """What no command of an earlier run needs is removed; parents are made."""
        root = Path(self.mktemp()) / "state" / "commands"
        open_folder(root)
        for name in ("old", "kept"):
            (root / name).mkdir()
            (root / name / "stdout").write_text("x")
        (root / "link").symlink_to("/etc")
        open_folder(root)
        sweep(root, {"kept"})
        self.assertEqual([path.name for path in root.iterdir()], ["kept"])
        remove_folder(f"{root}/kept")
        remove_folder(f"{root}/never was")
        self.assertEqual(list(root.iterdir()), [])

    def test_a_link_is_not_followed(self) -> None:
        """A symbolic link in its place is replaced, and what it names is left alone."""
        other = Path(self.mktemp())
        other.mkdir()
        (other / "precious").write_text("x")
        root = Path(self.mktemp())
        root.symlink_to(other.resolve())
        open_folder(root)
        self.assertTrue((other / "precious").exists())
        self.assertFalse(root.is_symlink())

    def test_uuid_is_its_own_name(self) -> None:
        """People who look for a command's output find it."""
        name = "0b7e2c0e-6f6b-4a62-9d8c-7f5c7d0b1f11"
        self.assertEqual(folder_name(name), name)

    @given(st.text(st.characters(), max_size=200), st.text(max_size=200))
    def test_any_id(self, one: str, other: str) -> None:
        """No id leads out of the folder, and two ids never share a name."""
        for name in (folder_name(one), folder_name(other)):
            self.assertNotIn("/", name)
            self.assertFalse(name.startswith("."))
            self.assertLessEqual(len(name.encode()), 255)
        if one != other:
            self.assertNotEqual(folder_name(one), folder_name(other))
