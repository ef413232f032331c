"""Snapshots of local VMs on disk: what comes back, and what a crash or a full disk leaves."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import HypervisorError, NoSuchSnapshot, SnapshotExists
from vmcontroller.host.hypervisor.local import snapshots
from vmcontroller.host.hypervisor.local.store import LocalVm


class LocalSnapshotTests(SynchronousTestCase):
    def setUp(self) -> None:
        home = Path(self.mktemp()).absolute()
        self.vm = LocalVm(uuid="u", name="vm", mac="", home=home)
        self.vm.root.mkdir(parents=True)
        (home / "state").mkdir()

    def take(self, name: str) -> None:
        snapshots.take(self.vm, name, "", 1.0)

    def restore(self, name: str) -> None:
        snapshots.prepare(self.vm, name)
        snapshots.restore(self.vm, name)

    def names(self) -> list[str]:
        return [each.name for each in snapshots.listed(self.vm)]

    def test_all_of_it_comes_back(self) -> None:
        """Content, modes, times, links as links, empty directories, and the agent's state."""
        root = self.vm.root
        (root / "empty").mkdir(mode=0o700)
        (root / "file").write_bytes(b"before")
        (root / "file").chmod(0o640)
        os.utime(root / "file", (1_000_000_000, 1_000_000_000))
        (root / "link").symlink_to("/etc/passwd")
        (self.vm.home / "state" / "journal").write_text("then")
        self.take("a")
        shutil.rmtree(root / "empty")
        (root / "file").write_bytes(b"after")
        (root / "link").unlink()
        (root / "new").touch()
        (self.vm.home / "state" / "journal").write_text("now")
        self.restore("a")
        self.assertEqual(sorted(path.name for path in root.iterdir()), ["empty", "file", "link"])
        self.assertEqual((root / "file").read_bytes(), b"before")
        status = (root / "file").stat()
        self.assertEqual((status.st_mode & 0o7777, status.st_mtime), (0o640, 1_000_000_000))
        self.assertEqual(os.readlink(root / "link"), "/etc/passwd")
        self.assertEqual((root / "empty").stat().st_mode & 0o7777, 0o700)
        self.assertEqual((self.vm.home / "state" / "journal").read_text(), "then")
        self.restore("a")
        self.assertEqual((root / "file").read_bytes(), b"before")

    def test_pipes_and_sockets_are_left_out(self) -> None:
        """They would hold up a copy for ever, and mean nothing without their processes."""
        os.mkfifo(self.vm.root / "pipe")
        (self.vm.root / "file").touch()
        self.take("a")
        self.restore("a")
        self.assertEqual([path.name for path in self.vm.root.iterdir()], ["file"])

    def test_names(self) -> None:
        """Names are no paths; each is there once."""
        for name in ("..", "a/b", "虚拟机", "\udc80"):
            self.take(name)
            self.assertRaises(SnapshotExists, self.take, name)
        self.assertEqual(len(self.names()), 4)
        self.assertRaises(NoSuchSnapshot, snapshots.prepare, self.vm, "x")
        self.assertRaises(NoSuchSnapshot, snapshots.delete, self.vm, "x")
        self.assertRaises(NoSuchSnapshot, snapshots.check_there, self.vm, "x")

    def test_full_disk(self) -> None:
        """A copy that can't be made leaves nothing, and the VM as it is."""
        (self.vm.root / "file").write_bytes(b"x")
        self.take("a")
        before = sorted(self.vm.home.rglob("*"))

        def full(*_arguments: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(snapshots, "_copy_file", full)
        error = self.assertRaises(HypervisorError, self.take, "b")
        self.assertIn("No space left", str(error))
        self.assertRaises(HypervisorError, snapshots.prepare, self.vm, "a")
        self.assertEqual(sorted(self.vm.home.rglob("*")), before)
        self.assertEqual(self.names(), ["a"])

    def test_crash_while_it_is_taken(self) -> None:
        """What was half copied goes with the next one."""
        self.take("a")
        half = self.vm.home / "snapshots" / ("0" * 32)
        (half / "root").mkdir(parents=True)
        self.assertEqual(self.names(), ["a"])
        self.take("b")
        self.assertFalse(half.exists())

    def test_crash_while_it_is_restored(self) -> None:
        """The VM's directory is there at the next start, whole, as it was."""
        (self.vm.root / "file").write_bytes(b"now")
        self.take("a")
        snapshots.prepare(self.vm, "a")
        self.vm.root.rename(self.vm.home / "root.old")
        snapshots.mend(self.vm)
        self.assertEqual((self.vm.root / "file").read_bytes(), b"now")
        self.assertEqual(
            sorted(path.name for path in self.vm.home.iterdir()), ["root", "snapshots", "state"]
        )

    def test_damaged_index(self) -> None:
        """It is an error that names the VM, never an empty list."""
        self.take("a")
        for text in ("{", "[]", '{"current": "", "snapshots": [{"x": 1}]}'):
            (self.vm.home / "snapshots" / "index.json").write_text(text)
            error = self.assertRaises(HypervisorError, snapshots.listed, self.vm)
            self.assertIn("'vm'", str(error))
