"""Copies by the API of a daemon, to and from a guest that is a process: holes, trees, records."""

from __future__ import annotations

import os
import threading
import xmlrpc.client
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.attacks.scene import home
from tests.integration.daemon import DEADLINE_S, Daemon, until

VM = "vmctest copies"
MIB = 2**20


class LocalCopyTests(SynchronousTestCase):
    """One daemon and one guest for each test."""

    def setUp(self) -> None:
        self.daemon = Daemon("local", config="files: {resume_grace: 60}\n").start()
        self.addCleanup(self.daemon.stop)
        self.api = self.daemon.api
        self.api.createVM(VM, "")
        self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)
        self.exchange = self.daemon.exchange
        self.there = home(self.daemon, VM) / "there"
        self.there.mkdir()

    def fault(self, method: str, *arguments: Any) -> str:
        with self.assertRaises(xmlrpc.client.Fault) as caught:
            getattr(self.api, method)(*arguments)
        return str(caught.exception.faultString)

    def nothing_half_done(self) -> None:
        for directory in (self.exchange, self.there):
            self.assertEqual(list(directory.rglob(".*vmcontroller-*")), [])

    def test_holes(self) -> None:
        """A file of a GiB that holds a few bytes takes a few bytes in the guest, and back."""
        source = self.exchange / "sparse"
        with source.open("wb") as file:
            file.truncate(2**30)
            os.pwrite(file.fileno(), b"here", 2**29)
        self.api.cpFileToVM(VM, "sparse", str(self.there / "copy"))
        self.api.cpFileFromVM(VM, str(self.there / "copy"), "back")
        for path in (self.there / "copy", self.exchange / "back"):
            found = path.stat()
            self.assertEqual(found.st_size, 2**30)
            self.assertLess(found.st_blocks * 512, MIB)
            with path.open("rb") as file:
                self.assertEqual(os.pread(file.fileno(), 6, 2**29 - 1), b"\0here\0")

    def test_directory(self) -> None:
        """A directory goes in and comes out as it is, owners too where they are asked for."""
        source = self.exchange / "d"
        (source / "sub").mkdir(parents=True)
        (source / "sub" / "f").write_bytes(b"content")
        (source / "sub" / "f").chmod(0o640)
        if os.geteuid() == 0:
            os.chown(source / "sub" / "f", 1, 1)
        (source / "link").symlink_to("sub/f")
        self.assertIn("recursive", self.fault("cpFileToVM", VM, "d", str(self.there / "d")))
        recursive = {"recursive": True}
        self.api.cpFileToVM(VM, "d", str(self.there), recursive)
        self.api.cpFileFromVM(VM, str(self.there / "d"), "back", {**recursive, "owner": True})
        for path in (self.there / "d", self.exchange / "back"):
            self.assertEqual((path / "link").readlink(), Path("sub/f"))
            self.assertEqual((path / "sub" / "f").read_bytes(), b"content")
            found = (path / "sub" / "f").stat()
            self.assertEqual(found.st_mode & 0o777, 0o640)
            self.assertEqual(found.st_uid, (source / "sub" / "f").stat().st_uid)
        self.assertIn("EXISTS", self.fault("cpFileToVM", VM, "d", str(self.there), recursive))
        self.assertEqual(self.api.listTransfers(VM)[1]["entries"], 3)
        self.nothing_half_done()

    def test_progress_and_cancel(self) -> None:
        """A copy is seen while it goes on; cancelled, it leaves nothing on either side."""
        with (self.exchange / "big").open("wb") as file:
            for _ in range(2048):
                file.write(os.urandom(MIB))
        outcome: list[object] = []

        def copy() -> None:
            with self.daemon.new_client() as client:
                try:
                    outcome.append(client.cpFileToVM(VM, "big", str(self.there / "copy")))
                except xmlrpc.client.Fault as fault:
                    outcome.append(fault.faultString)

        copying = threading.Thread(target=copy)
        copying.start()
        seen: list[dict[str, Any]] = []

        def under_way() -> bool:
            seen[:] = [
                each
                for each in self.api.listTransfers(VM)
                if each["bytes"] and each["estimate"] > 0
            ]
            return bool(seen)

        until(under_way, "it is under way")
        (record,) = seen
        self.assertEqual((record["state"], record["size"]), ("running", 2048 * MIB))
        self.assertGreater(record["rate"], 0)
        self.assertTrue(self.api.cancelTransfer(record["id"]))
        copying.join(DEADLINE_S)
        self.assertIn("CANCELLED", str(outcome[0]))
        self.assertEqual(self.api.getTransfer(record["id"])["state"], "cancelled")
        self.assertFalse(self.api.cancelTransfer(record["id"]))
        until(lambda: list(self.there.iterdir()) == [], "the guest has nothing of it")
        self.nothing_half_done()

    def test_strange_arguments(self) -> None:
        """An option or an id that is none says what is allowed."""
        self.assertIn("recursive", self.fault("cpFileToVM", VM, "f", "f", {"recurse": True}))
        self.assertIn("boolean", self.fault("cpFileToVM", VM, "f", "f", {"owner": "me"}))
        self.assertIn("NO_SUCH_TRANSFER", self.fault("getTransfer", "none"))
        self.assertIn("NO_SUCH_TRANSFER", self.fault("cancelTransfer", "none"))
        self.assertIn("NO_SUCH_VM", self.fault("listTransfers", "none"))
