"""What a real guest is at work on outlasts what happens to it: pauses, clocks, kills, resets.

The guest's image is that of scripts/guest-image.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import random
import shutil
import threading
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, free_port, until

VM = "vmctest-work"
COPY_BYTES = 60 * 2**20

_running: list[Daemon] = []


def running() -> Daemon:
    """Return one daemon for all tests of this module."""
    if not _running:
        daemon = Daemon(
            "libvirt",
            config="guests: {gc_grace: 5, stop_timeout: 120}\n",
            broker=f"{{port: {free_port()}}}",
        ).start()
        atexit.register(daemon.stop)
        _running.append(daemon)
    return _running[0]


class WorkTests(SynchronousTestCase):
    """One guest, with a command and a copy under way."""

    def setUp(self) -> None:
        self.daemon = running()
        self.api = self.daemon.api
        if VM not in self.api.listVMs():
            disk = self.daemon.dir / "work.qcow2"
            shutil.copyfile(Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "disk.qcow2", disk)
            self.api.createVM(VM, str(disk))
        if self.api.getState(VM) != "Running":
            self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)
        self.daemon.run(VM, "sh", "-c", "rm -f /tmp/ran /tmp/copy /tmp/over")
        self.source = self.daemon.exchange / "source"
        self.source.write_bytes(random.Random(7).randbytes(COPY_BYTES))

    def begin(self, script: str, **options: Any) -> str:
        """Begin a command that writes a line when it runs."""
        words = ["-c", f"echo ran >> /tmp/ran; {script}"]
        cmd_id: str = self.api.runCmd(VM, "sh", words, {}, "", "", options)
        until(lambda: self.api.getCmdDetails(cmd_id)["state"] != "sent", "it runs, or has run")
        return cmd_id

    def ran_once(self) -> None:
        self.assertEqual(self.daemon.run(VM, "cat", "/tmp/ran")["out"], "ran\n")

    def copy(self) -> threading.Thread:
        """Begin a copy into the guest; return when it is under way."""

        def work() -> None:
            with self.daemon.new_client() as api:
                try:
                    self.answer = api.cpFileToVM(VM, str(self.source), "/tmp/copy")
                except xmlrpc.client.Fault as fault:
                    self.answer = fault.faultString

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        under_way = lambda: [c for c in self.api.listTransfers(VM) if c["bytes"]]  # noqa: E731
        until(under_way, "the copy is under way")
        return thread

    def arrived(self, copying: threading.Thread) -> None:
        """The copy has ended well, and is equal."""
        copying.join(5 * DEADLINE_S)
        self.assertEqual(self.answer, ["", "", 0])
        digest = self.daemon.run(VM, "sha256sum", "/tmp/copy")["out"].split()[0]
        self.assertEqual(digest, hashlib.sha256(self.source.read_bytes()).hexdigest())
        self.assertNotIn("vmcontroller", self.daemon.run(VM, "ls", "-A", "/tmp")["out"])

    def test_paused_for_longer_than_the_grace(self) -> None:
        """A guest that was gone meanwhile ends its command and takes its copy when resumed."""
        cmd_id = self.begin("sleep 3; echo slept")
        copying = self.copy()
        self.api.pause(VM)
        until(lambda: not self.api.getGuest(VM)["connected"], "it is gone")
        time.sleep(10)  # the VM is to stay away for longer than the grace, by the clock
        self.api.resume(VM)
        self.assertEqual(self.api.waitCmd(cmd_id, DEADLINE_S)["out"], "slept\n")
        self.arrived(copying)
        self.ran_once()

    def test_clock_is_stepped(self) -> None:
        """An hour forth and two back: no time limit fires early or never, and no copy ends."""
        now = int(time.time())
        cmd_id = self.begin("sleep 4; echo slept", timeout=120)
        limited = self.api.runCmd(VM, "sleep", ["4711"], {}, "", "", {"timeout": 3})
        copying = self.copy()
        for when in (now + 3600, now - 3600, now):
            self.daemon.run(VM, "date", "-s", f"@{when}")
        result = self.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual((result["out"], result["timedOut"]), ("slept\n", False))
        self.assertTrue(self.api.waitCmd(limited, DEADLINE_S)["timedOut"])
        self.assertLess(self.api.getCmdResults(limited)["duration"], 60)
        self.arrived(copying)
        self.ran_once()

    def test_agent_killed(self) -> None:
        """A copy goes on with the next agent; a result that waited is delivered by it, once."""
        copying = self.copy()
        over = self.begin("echo over; exit 7")
        self.assertEqual(self.api.waitCmd(over, DEADLINE_S)["exitCodeOrSignal"], 7)
        session = self.api.getGuest(VM)["session"]
        kill = "kill -9 $(cat /run/vmcontroller-guest.pid)"
        killer = self.api.runCmd(VM, "sh", ["-c", kill])
        until(lambda: self.api.getGuest(VM).get("session", session) != session, "it is back")
        result = self.api.waitCmd(killer, DEADLINE_S)
        self.assertIn(result["state"], ("lost", "ended"))
        self.arrived(copying)
        self.ran_once()

    def test_guest_reset(self) -> None:
        """What ran in a guest that is reset is lost, and says so; the next boot does its work."""
        cmd_id = self.begin("sleep 4711")
        self.api.reset(VM)
        result = self.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual(result["state"], "lost")
        self.assertIn("reset", result["error"])
        self.api.ping(VM, DEADLINE_S)
        self.assertEqual(self.daemon.run(VM, "echo", "well")["out"], "well\n")

    def test_guest_reboots_itself(self) -> None:
        """So is what ran in a guest that boots anew by itself: it ends, not never."""
        cmd_id = self.begin("sleep 4711")
        self.api.runCmd(VM, "sh", ["-c", "sync; echo b > /proc/sysrq-trigger"])
        result = self.api.waitCmd(cmd_id, 2 * DEADLINE_S)
        self.assertEqual(result["state"], "lost", result)
        self.assertTrue(result["error"])
        self.api.ping(VM, DEADLINE_S)
