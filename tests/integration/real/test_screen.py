"""The screen and the console of a real Debian guest in QEMU.

The guest's image is that of scripts/guest-image; scripts/test names it in VMCONTROLLER_TEST_IMAGE.
"""

from __future__ import annotations

import atexit
import io
import os
import re
import shutil
import socket
import stat
import xmlrpc.client
from pathlib import Path
from typing import Any

import libvirt
from PIL import Image
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, until

VM = "vmctest-E screen"
BOUND_BYTES = 16 * 2**20
"""virtlogd keeps four files of 2 MiB unless it is told otherwise."""

_running: list[Daemon] = []


def running() -> Daemon:
    """Return one daemon with one guest that is up, for all tests of this module."""
    if not _running:
        daemon = Daemon("libvirt", config="guests: {gc_grace: 60, stop_timeout: 120}\n").start()
        atexit.register(daemon.stop)
        _running.append(daemon)
        disk = daemon.dir / "guest.qcow2"
        image = Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "disk.qcow2"
        shutil.copyfile(image, disk)
        daemon.api.createVM(VM, str(disk))
        daemon.api.start(VM)
        daemon.api.ping(VM, DEADLINE_S)
    return _running[0]


class RealScreenTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.daemon = running()
        self.api = self.daemon.api

    def log(self, offset: float = 0) -> dict[str, Any]:
        """Return all of the console's log from an offset on, as one piece."""
        first = piece = self.api.getConsoleLog(VM, offset, 2**20)
        data = first["data"].data
        while piece["data"].data:
            piece = self.api.getConsoleLog(VM, piece["next"], 2**20)
            data += piece["data"].data
        return {**first, "data": data, "next": piece["next"]}

    def print(self, script: str) -> None:
        self.daemon.run(VM, "sh", "-c", script)

    def test_display(self) -> None:
        """A VNC server answers on the socket, which nobody but root and QEMU's user reaches."""
        display = self.api.getDisplay(VM)
        self.assertEqual(
            (display["kind"], display["port"], display["host"], display["open"]),
            ("vnc", 0, "", False),
        )
        path = Path(display["socket"])
        for directory in (path.parent, path.parent.parent):
            self.assertEqual(stat.S_IMODE(directory.stat().st_mode) & 0o007, 0, directory)
        with socket.socket(socket.AF_UNIX) as vnc:
            vnc.settimeout(DEADLINE_S)
            vnc.connect(str(path))
            self.assertEqual(vnc.recv(4), b"RFB ")

    def test_screenshot(self) -> None:
        """It is a picture of a plausible size with something on it."""
        png = self.api.takeScreenshot(VM).data
        with Image.open(io.BytesIO(png), formats=("PNG",)) as image:
            self.assertGreaterEqual(image.width, 640)
            self.assertGreaterEqual(image.height, 400)
            colours = image.convert("RGB").getcolors(2**24)
        assert colours is not None
        self.assertGreater(len(colours), 1)

    def test_open_display_of_others(self) -> None:
        """A VM that others gave a display on a network, without a password, is told to be open."""
        connection = libvirt.open("qemu:///system")
        self.addCleanup(connection.close)
        networks = connection.networkLookupByName("default").XMLDesc(0)
        address = re.search(r"<ip address='([\d.]+)'", networks).group(1)
        for password, is_open in (("", True), ("passwd='secret'", False)):
            domain = connection.createXML(
                f"<domain type='qemu'><name>{VM} of others</name>"
                "<memory unit='MiB'>16</memory><os><type arch='x86_64'>hvm</type></os><devices>"
                f"<graphics type='vnc' autoport='yes' {password}>"
                f"<listen type='address' address='{address}'/></graphics></devices></domain>"
            )
            try:
                display = self.api.getDisplay(domain.UUIDString())
            finally:
                domain.destroy()
            self.assertEqual((display["host"], display["open"]), (address, is_open))
            self.assertEqual(bool(display["password"]), not is_open)
            self.assertGreaterEqual(display["port"], 5900)

    def test_console(self) -> None:
        """The agent's lines are in it and the kernel's; what is written now comes next."""
        until(lambda: b"the host has answered" in self.log()["data"], "the agent's line is there")
        end = self.log()["next"]
        self.print("echo '<1>vmctest: from the kernel' >/dev/kmsg; echo bytes >/dev/ttyS0")
        new = until(
            lambda: b"bytes" in self.log(end)["data"] and self.log(end), "what was written now"
        )
        self.assertIn(b"vmctest: from the kernel", new["data"])
        self.assertEqual(new["offset"], end)
        self.assertEqual(new["next"], end + len(new["data"]))

    def test_console_over_restarts(self) -> None:
        """The log outlives the daemon and the VM's own restart, and so do the offsets."""
        self.print("echo marked >/dev/ttyS0")
        before = until(lambda: b"marked" in self.log()["data"] and self.log(), "it is written")
        self.daemon.kill()
        self.daemon.start()
        self.api = self.daemon.api
        self.assertEqual(self.log()["data"][: len(before["data"])], before["data"])
        self.api.powerOff(VM)
        self.assertIn(b"marked", self.log()["data"])
        self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)
        after = until(lambda: self.log(before["next"])["data"] and self.log(), "it boots again")
        self.assertEqual(after["data"][: len(before["data"])], before["data"])

    def test_endless_console(self) -> None:
        """A guest that prints without end fills no disk: the oldest goes, offsets stay true."""
        self.print("echo first-of-all >/dev/ttyS0")
        start = until(lambda: b"first-of-all" in self.log()["data"] and self.log(), "a start")
        # Numbered lines, so that a byte shows its own place.
        numbers = "seq 1000000000000001 1000000000500000 >/dev/ttyS0"
        cmd_id = self.api.runCmd(VM, "sh", ["-c", numbers])
        seen: dict[float, bytes] = {}
        largest = 0
        offset = start["next"]
        while not self.api.waitCmd(cmd_id, 1)["finished"]:
            piece = self.api.getConsoleLog(VM, offset, 2**16)
            seen[piece["offset"]] = piece["data"].data
            offset = piece["next"]
            largest = max(largest, self.kept())
        self.assertGreater(self.api.getConsoleLog(VM, 0, 1)["begins"], start["next"])
        self.assertLess(max(largest, self.kept()), BOUND_BYTES)
        begins = self.api.getConsoleLog(VM, 0, 1)["begins"]
        again = [at for at in seen if at >= begins]
        for at in again:
            data = self.api.getConsoleLog(VM, at, max(1, len(seen[at])))["data"].data
            self.assertEqual(data[: len(seen[at])], seen[at], at)
        piece = self.api.getConsoleLog(VM, 0, 2**16)
        self.assertEqual((piece["offset"], piece["begins"]), (begins, begins))
        self.assertIn(b"10000000", piece["data"].data)

    def kept(self) -> int:
        """Return the bytes on the disk that the console takes."""
        return sum(file.stat().st_size for file in (self.daemon.dir / "state/console").iterdir())

    def test_machine_that_is_off(self) -> None:
        """Has no picture and no socket, but a console; removed, it leaves no files behind."""
        vm = f"{VM} off"
        disk = self.daemon.dir / "off.qcow2"
        shutil.copyfile(Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "disk.qcow2", disk)
        self.api.createVM(vm, str(disk))
        error = self.assertRaises(xmlrpc.client.Fault, self.api.takeScreenshot, vm)
        self.assertTrue(error.faultString.startswith("INVALID_STATE: "), error.faultString)
        display = self.api.getDisplay(vm)
        self.assertEqual((display["kind"], display["socket"]), ("vnc", ""))
        self.assertEqual(self.api.getConsoleLog(vm)["data"].data, b"")
        self.api.start(vm)
        until(lambda: list(self.daemon.dir.glob("state/console/*.log")), "there is a log")
        logs = set(self.daemon.dir.glob("state/console/*"))
        self.api.powerOff(vm)
        self.api.removeVM(vm)
        self.assertLess(len(set(self.daemon.dir.glob("state/console/*"))), len(logs))
