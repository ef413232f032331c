"""Full disks, for real: small file systems that are filled. What doesn't fit is said to be cut."""

from __future__ import annotations

import contextlib
import subprocess
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, free_port
from tests.integration.faults.agents import OwnAgent

VM = "vmctest full"
MIB = 2**20


@contextlib.contextmanager
def small_disk(at: Path, size_mib: int) -> Iterator[None]:
    """Mount a file system of this size."""
    at.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=0711", "none", str(at)]
    subprocess.run(mount, check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def fill(directory: Path) -> Path:
    """Write a file until the disk is full; return it."""
    ballast = directory / "ballast"
    with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    return ballast


class HostDiskTests(SynchronousTestCase):
    """The disk with the daemon's state is full."""

    def setUp(self) -> None:
        self.daemon = Daemon("local", broker=f"{{port: {free_port()}}}")
        state = self.daemon.dir / "state"
        # What the guest keeps has a disk of its own, as it has in reality.
        for directory, size_mib in ((state, 48), (state / "local", 200)):
            disk = small_disk(directory, size_mib)
            disk.__enter__()
            self.addCleanup(disk.__exit__, None, None, None)
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        self.api = self.daemon.api
        self.api.createVM(VM, "")
        self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)

    def test_much_output(self) -> None:
        """What is stored is the beginning; the result says that it is cut, and how it ended."""
        result = self.daemon.run(VM, "sh", "-c", f"head -c {60 * MIB} /dev/zero; exit 7")
        self.assertEqual((result["exitCodeOrSignal"], result["truncated"]), (7, True), result)
        self.assertIn("OUTPUT_NOT_STORED", result["error"])
        self.assertLess(0, result["outBytes"])
        self.assertLess(result["outBytes"], 48 * MIB)
        self.api.forgetCmd(result["cmd-id"])
        self.assertEqual(self.daemon.run(VM, "echo", "well")["out"], "well\n")

    def test_copy(self) -> None:
        """A copy that doesn't fit is a Fault, and leaves nothing."""
        source = self.daemon.dir / "source"
        source.write_bytes(bytes(60 * MIB))
        with self.assertRaises(xmlrpc.client.Fault) as caught:
            self.api.cpFileFromVM(VM, str(source), "copy")
        self.assertIn("DISK_FULL", caught.exception.faultString)
        self.assertEqual(list(self.daemon.exchange.iterdir()), [])

    def test_no_octet_free(self) -> None:
        """A command is refused or done, never half; with space again all is as before."""
        ballast = fill(self.daemon.exchange)
        try:
            result = self.daemon.run(VM, "echo", "full")
        except xmlrpc.client.Fault as fault:
            self.assertRegex(fault.faultString, "NOT_STORED.*full")
        else:
            self.assertTrue(result["out"] == "full\n" or result["truncated"], result)
        ballast.unlink()
        self.assertEqual(self.daemon.run(VM, "echo", "well")["out"], "well\n")
        self.assertNotIn("Traceback", self.daemon.log.read_text())


class GuestDiskTests(SynchronousTestCase):
    """The disk with the agent's state is full."""

    def setUp(self) -> None:
        self.daemon = Daemon("local", broker=f"{{port: {free_port()}}}").start()
        self.addCleanup(self.daemon.stop)
        self.agent = OwnAgent(self.daemon, VM)
        disk = small_disk(self.agent.state, 8)
        disk.__enter__()
        self.addCleanup(disk.__exit__, None, None, None)
        self.agent.start()
        self.addCleanup(self.agent.close)
        self.agent.ready()

    def test_output(self) -> None:
        """Commands run on; what could not be kept is said to be cut; the agent lives."""
        ballast = fill(self.agent.state)
        script = f"head -c {20 * MIB} /dev/zero; exit 7"
        result = self.daemon.run(VM, "sh", "-c", script)
        self.assertEqual((result["state"], result["exitCodeOrSignal"]), ("ended", 7), result)
        self.assertTrue(result["truncated"] or result["outBytes"] == 20 * MIB, result)
        ballast.unlink()
        self.assertEqual(self.daemon.run(VM, "echo", "well")["out"], "well\n")

    def test_copy(self) -> None:
        """A copy that doesn't fit is a Fault, and leaves nothing in the guest."""
        source = self.daemon.exchange / "source"
        source.write_bytes(bytes(20 * MIB))
        room = self.agent.root / "room"
        with small_disk(room, 8):
            with self.assertRaises(xmlrpc.client.Fault) as caught:
                self.daemon.api.cpFileToVM(VM, str(source), str(room / "copy"))
            self.assertIn("DISK_FULL", caught.exception.faultString)
            self.assertEqual(list(room.iterdir()), [])
