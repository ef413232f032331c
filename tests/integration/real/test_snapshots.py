"""Snapshots, saved states and sleep of a real guest, over XML-RPC of a real daemon.

The guest's image is that of scripts/guest-image.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import subprocess
import threading
import time
import xmlrpc.client
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, until

VM = "snapshots of <vm> 'test'"
"""Does not begin as the VMs of other tests: a daemon of theirs that stops takes those away."""
COUNTER = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.1; done"

_running: list[Daemon] = []


def running() -> Daemon:
    """Return one daemon for all tests of this module."""
    if not _running:
        daemon = Daemon("libvirt", config="guests: {gc_grace: 60, stop_timeout: 120}\n").start()
        atexit.register(stop, daemon)
        _running.append(daemon)
    return _running[0]


def stop(daemon: Daemon) -> None:
    for call in (daemon.api.powerOff, daemon.api.discardState, daemon.api.removeVM):
        with contextlib.suppress(OSError, xmlrpc.client.Fault):
            call(VM)
    daemon.stop()


def count(output: bytes) -> int:
    """Return how far the counter has come."""
    return int(output.split()[-1]) if output.split() else 0


class RealSnapshotTests(SynchronousTestCase):
    """One guest; each test begins with it running, its agent there, and no snapshots."""

    def setUp(self) -> None:
        self.daemon = running()
        self.api = self.daemon.api
        if VM not in self.api.listVMs():
            self.disk = self.daemon.dir / "snapshots.qcow2"
            shutil.copyfile(Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "disk.qcow2", self.disk)
            self.api.createVM(VM, str(self.disk))
        self.disk = self.daemon.dir / "snapshots.qcow2"
        for name in self.api.listSnapshots(VM):
            self.api.deleteSnapshot(VM, name)
        state = self.api.getState(VM)
        if state == "Paused":
            self.api.resume(VM)
        elif state != "Running":
            self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)

    def fault(self, name: str, method: str, *arguments: object) -> str:
        error = self.assertRaises(xmlrpc.client.Fault, getattr(self.api, method), *arguments)
        self.assertTrue(error.faultString.startswith(f"{name}: "), error.faultString)
        return error.faultString

    def sh(self, script: str) -> str:
        result = self.daemon.run(VM, "sh", "-c", script)
        self.assertEqual(result["exitCodeOrSignal"], 0, result)
        return str(result["out"])

    def events(self, since: float) -> list[dict[str, Any]]:
        page = self.api.waitEvents(since, 0, {"vms": ["snapshots*"]})
        return list(page["events"])

    def now(self) -> float:
        return float(self.api.waitEvents(-1, 0)["next"])

    def counting(self) -> str:
        """Begin a command that counts, and return its id when it does."""
        cmd_id: str = self.api.runCmd(VM, "sh", ["-c", COUNTER])
        until(lambda: count(self.daemon.output(cmd_id, "stdout")) > 5, "it counts")
        return cmd_id

    def test_live_snapshot(self) -> None:
        """What is changed after it is as before when it is restored; the guest ran all along."""
        boot = self.sh("echo before > /etc/file; sync; cat /proc/sys/kernel/random/boot_id")
        since = self.now()
        self.assertIs(self.api.takeSnapshot(VM, "live", "all <well> & 虚拟机\n"), True)
        self.assertEqual(self.api.getState(VM), "Running")
        self.sh("echo after > /etc/file; echo new > /etc/new; sync")
        self.assertIs(self.api.restoreSnapshot(VM, "live"), True)
        self.assertEqual(self.api.getState(VM), "Running")
        self.assertEqual(self.api.ping(VM, DEADLINE_S), f"PONG from {VM}")
        self.assertEqual(self.sh("cat /etc/file; ls /etc/new 2>&1 || true").split()[0], "before")
        self.assertIn("No such file", self.sh("ls /etc/new 2>&1 || true"))
        self.assertEqual(self.sh("cat /proc/sys/kernel/random/boot_id"), boot)
        kinds = [(event["kind"], event["detail"].get("name")) for event in self.events(since)]
        self.assertIn(("snapshot-taken", "live"), kinds)
        self.assertIn(("snapshot-restored", "live"), kinds)
        (tree,) = self.api.getSnapshots(VM)
        self.assertEqual((tree["name"], tree["state"], tree["parent"]), ("live", "Running", ""))
        self.assertEqual(tree["description"], "all <well> & 虚拟机\n")
        self.assertLess(abs(tree["created"] - time.time()), DEADLINE_S)

    def test_commands_of_the_abandoned_future(self) -> None:
        """One that began after the snapshot is lost, and is not run again in the past."""
        self.sh("rm -f /var/tmp/ran; sync")
        self.api.takeSnapshot(VM, "past")
        script = f"echo ran >> /var/tmp/ran; {COUNTER}"
        future = self.api.runCmd(VM, "sh", ["-c", script])
        until(lambda: count(self.daemon.output(future, "stdout")) > 5, "it counts")
        self.api.restoreSnapshot(VM, "past")
        result = self.api.waitCmd(future, DEADLINE_S)
        self.assertEqual(result["state"], "lost")
        self.assertIn("restored to a snapshot", result["error"])
        self.api.ping(VM, DEADLINE_S)
        self.assertIn("No such file", self.sh("ls /var/tmp/ran 2>&1 || true"))
        self.assertEqual(self.api.getCmdResults(future)["state"], "lost")

    def test_commands_of_the_past(self) -> None:
        """One that ran when the snapshot was taken goes on; one that has ended counts once."""
        quick = self.api.runCmd(VM, "sh", ["-c", "sleep 3; echo once"])
        counting = self.counting()
        self.api.takeSnapshot(VM, "past")
        self.assertEqual(self.api.waitCmd(quick, DEADLINE_S)["out"], "once\n")
        ended = self.api.getCmdDetails(quick)
        far = until(
            lambda: (
                count(self.daemon.output(counting, "stdout")) >= 60
                and count(self.daemon.output(counting, "stdout"))
            ),
            "it counts on",
        )
        self.api.restoreSnapshot(VM, "past")
        self.api.ping(VM, DEADLINE_S)
        until(lambda: count(self.daemon.output(counting, "stdout")) > far, "it counts beyond")
        output = [int(line) for line in self.daemon.output(counting, "stdout").split()]
        self.assertEqual(output, list(range(1, len(output) + 1)), "no line twice, none missing")
        self.assertEqual(self.daemon.output(quick, "stdout"), b"once\n")
        self.assertEqual(self.api.getCmdDetails(quick)["ended"], ended["ended"])
        self.sh("pkill -KILL -f '[i]=0; while'")

    def test_offline_snapshots_and_tree(self) -> None:
        """A machine that is off has them, too; branches, and what stays of them."""
        self.sh("echo one > /etc/file; sync")
        self.api.powerOff(VM)
        self.api.takeSnapshot(VM, "a")
        self.api.saveSnapshot(VM, "b c", "as the clients of old say it")
        self.api.restoreSnapshot(VM, "a", "a description that is not used")
        self.api.takeSnapshot(VM, "d")
        self.assertEqual(self.api.listSnapshots(VM), ["a", "b c", "d"])
        (root,) = self.api.getSnapshots(VM)
        self.assertEqual([child["name"] for child in root["children"]], ["b c", "d"])
        self.assertEqual([child["current"] for child in root["children"]], [False, True])
        self.assertEqual([child["parent"] for child in root["children"]], ["a", "a"])
        self.assertEqual(root["state"], "PoweredOff")
        self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)
        self.sh("echo two > /etc/file; sync")
        self.api.restoreSnapshot(VM)
        self.assertEqual(self.api.getState(VM), "PoweredOff")
        self.api.deleteSnapshot(VM, "a")
        self.assertEqual(sorted(self.api.listSnapshots(VM)), ["b c", "d"])
        self.assertEqual(self.api.getVM(VM)["snapshots"], 2)
        self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)
        self.assertEqual(self.sh("cat /etc/file"), "one\n")

    def test_save_and_start(self) -> None:
        """A command goes on where it was when its machine was saved, and its result arrives."""
        counting = self.counting()
        sleeping = self.api.runCmd(VM, "sh", ["-c", "sleep 4; echo woken"])
        until(lambda: self.api.getCmdDetails(sleeping)["state"] == "running", "it runs")
        self.assertIs(self.api.saveState(VM), True)
        self.assertEqual(self.api.getState(VM), "Saved")
        saved = count(self.daemon.output(counting, "stdout"))
        self.fault("GUEST_UNREACHABLE", "runCmd", VM, "true")
        self.fault("INVALID_STATE", "saveState", VM)
        self.fault("INVALID_STATE", "takeSnapshot", VM, "of what is saved")
        self.assertFalse(self.api.getCmdResults(sleeping)["finished"])
        self.api.start(VM)
        self.assertEqual(self.api.getState(VM), "Running")
        result = self.api.waitCmd(sleeping, DEADLINE_S)
        self.assertEqual((result["state"], result["out"]), ("ended", "woken\n"), result)
        until(lambda: count(self.daemon.output(counting, "stdout")) > saved + 5, "it counts on")
        output = [int(line) for line in self.daemon.output(counting, "stdout").split()]
        self.assertEqual(output, list(range(1, len(output) + 1)))
        self.assertEqual(self.api.getCmdDetails(counting)["state"], "running")
        self.api.killCmd(counting, "KILL")

    def test_saved_while_paused(self) -> None:
        """It is paused again after its start."""
        self.api.pause(VM)
        self.api.saveState(VM)
        self.api.start(VM)
        self.assertEqual(self.api.getState(VM), "Paused")
        self.api.resume(VM)
        self.assertEqual(self.api.ping(VM, DEADLINE_S), f"PONG from {VM}")

    def test_saved_state_is_discarded(self) -> None:
        """Then its commands are lost, and the machine boots."""
        boot = self.sh("cat /proc/sys/kernel/random/boot_id")
        counting = self.counting()
        self.api.saveState(VM)
        self.assertIs(self.api.discardState(VM), True)
        self.assertEqual(self.api.getState(VM), "PoweredOff")
        self.fault("INVALID_STATE", "discardState", VM)
        self.assertEqual(self.api.waitCmd(counting, DEADLINE_S)["state"], "lost")
        self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)
        self.assertNotEqual(self.sh("cat /proc/sys/kernel/random/boot_id"), boot)

    def test_restored_from_saved(self) -> None:
        """What was saved is gone: the next start does not put it on other disks."""
        self.api.takeSnapshot(VM, "live")
        self.api.saveState(VM)
        self.api.restoreSnapshot(VM, "live")
        self.assertEqual(self.api.getState(VM), "Running")
        self.assertEqual(self.api.ping(VM, DEADLINE_S), f"PONG from {VM}")
        self.api.powerOff(VM)
        self.assertEqual(self.api.getState(VM), "PoweredOff")

    def test_sleep(self) -> None:
        """The guest's kernel suspends to memory; resume wakes it, and its commands go on."""
        counting = self.counting()
        self.assertIs(self.api.sleep(VM), True)
        self.assertEqual(self.api.getState(VM), "Paused")
        self.fault("INVALID_STATE", "sleep", VM)
        self.assertIn("sleeps", self.fault("UNSUPPORTED", "takeSnapshot", VM, "asleep"))
        self.assertIn("sleeps", self.fault("UNSUPPORTED", "saveState", VM))
        self.fault("GUEST_UNREACHABLE", "ping", VM, 1)
        self.assertIs(self.api.resume(VM), True)
        self.assertEqual(self.api.getState(VM), "Running")
        self.assertEqual(self.api.ping(VM, DEADLINE_S), f"PONG from {VM}")
        self.assertIn("Waking up from system sleep state S3", self.sh("dmesg"))
        far = count(self.daemon.output(counting, "stdout"))
        until(lambda: count(self.daemon.output(counting, "stdout")) > far + 5, "it counts on")
        self.api.killCmd(counting, "KILL")
        self.api.waitCmd(counting, DEADLINE_S)
        until(lambda: not self.asked_to_sleep(), "what the agent was asked is forgotten")

    def asked_to_sleep(self) -> list[Any]:
        finished = self.api.listFinishedCmds().values()
        return [details for details in finished if "echo mem >" in str(details["args"])]

    def test_guest_that_can_not_sleep(self) -> None:
        """One whose kernel does not offer it says so, and runs on."""
        self.sh("echo freeze > /run/no-sleep; mount --bind /run/no-sleep /sys/power/state")
        try:
            text = self.fault("UNSUPPORTED", "sleep", VM)
            self.assertIn("has no suspend to memory (S3)", text)
            self.assertEqual(self.api.getState(VM), "Running")
        finally:
            self.sh("umount /sys/power/state")

    def test_refused(self) -> None:
        """Each with its own Fault, and nothing changes."""
        self.api.takeSnapshot(VM, "one")
        for name, method, arguments in (
            ("SNAPSHOT_EXISTS", "takeSnapshot", (VM, "one")),
            ("BAD_ARGUMENT", "takeSnapshot", (VM, "")),
            ("BAD_ARGUMENT", "takeSnapshot", (VM, "a\nb")),
            ("BAD_ARGUMENT", "takeSnapshot", (VM, "x" * 101)),
            ("NO_SUCH_SNAPSHOT", "restoreSnapshot", (VM, "two")),
            ("NO_SUCH_SNAPSHOT", "deleteSnapshot", (VM, "two")),
            ("NO_SUCH_VM", "takeSnapshot", ("nobody", "one")),
            ("NO_SUCH_VM", "getSnapshots", ("nobody",)),
            ("NO_SUCH_VM", "saveState", ("nobody",)),
            ("NO_SUCH_VM", "sleep", ("nobody",)),
            ("INVALID_STATE", "discardState", (VM,)),
        ):
            self.fault(name, method, *arguments)
        self.assertEqual(self.api.listSnapshots(VM), ["one"])
        self.api.deleteSnapshot(VM, "one")
        self.fault("NO_SUCH_SNAPSHOT", "restoreSnapshot", VM)

    def test_raw_disk(self) -> None:
        """A disk that can't hold a snapshot is named, with what would do."""
        raw = self.daemon.dir / "disk.raw"
        subprocess.run(["qemu-img", "create", "-q", "-f", "raw", raw, "1M"], check=True)
        self.api.createVM("snapshots raw", str(raw), {"format": "raw"})
        try:
            text = self.fault("UNSUPPORTED", "takeSnapshot", "snapshots raw", "no")
            self.assertIn(str(raw), text)
            self.assertIn("qemu-img convert -O qcow2", text)
        finally:
            self.api.removeVM("snapshots raw")

    def other(self, suffix: str, options: dict[str, Any]) -> str:
        """Make and boot another VM on the image as its base; return its name."""
        base = self.daemon.dir / "base.qcow2"
        if not base.exists():
            shutil.copyfile(Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "disk.qcow2", base)
        name = f"snapshots {suffix}"
        self.api.createVM(name, str(base), {"clone": True, **options})
        self.addCleanup(self.api.removeVM, name)
        self.api.start(name)
        self.addCleanup(self.api.powerOff, name)
        self.api.ping(name, DEADLINE_S)
        return name

    def goes_back(self, name: str) -> None:
        write = ["-c", "echo $0 > /etc/file; sync"]
        for text, then in (("before", self.api.takeSnapshot), ("after", self.api.restoreSnapshot)):
            self.assertEqual(self.daemon.run(name, "sh", *write, text)["exitCodeOrSignal"], 0)
            then(name, "live")
        self.api.ping(name, DEADLINE_S)
        self.assertEqual(self.daemon.run(name, "cat", "/etc/file")["out"], "before\n")

    def test_clone_with_a_seed(self) -> None:
        """An overlay holds snapshots; the discs beside it need not."""
        name = self.other("clone", {"userData": "#cloud-config\n{}\n", "memory": 256})
        self.goes_back(name)

    def test_guest_without_a_network(self) -> None:
        """Its agent comes back over its channel, from a snapshot and from a saved state."""
        name = self.other("alone", {"network": "none", "memory": 256})
        self.goes_back(name)
        self.api.saveState(name)
        self.api.start(name)
        self.api.ping(name, DEADLINE_S)
        self.assertEqual(self.daemon.run(name, "cat", "/etc/file")["out"], "before\n")

    def test_others_do_not_wait(self) -> None:
        """While a snapshot is taken and restored, other calls are answered at once."""
        self.sh("head -c 150M /dev/urandom > /run/ballast 2>/dev/null || true")
        slowest = 0.0
        for method in ("takeSnapshot", "restoreSnapshot"):
            done = threading.Event()

            def work(method: str = method, done: threading.Event = done) -> None:
                with self.daemon.new_client() as api:
                    getattr(api, method)(VM, "big")
                done.set()

            thread = threading.Thread(target=work)
            thread.start()
            while not done.wait(0.05):
                began = time.monotonic()
                self.api.listVMs()
                slowest = max(slowest, time.monotonic() - began)
            thread.join()
        self.assertLess(slowest, 5.0)

    def test_removed_with_its_snapshots(self) -> None:
        """What they hold on the disk goes; the disk stays."""
        disk = self.daemon.dir / "removed.qcow2"
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", disk, "16M"], check=True)
        self.api.createVM("snapshots removed", str(disk))
        for name in ("a", "b 虚拟机"):
            self.api.takeSnapshot("snapshots removed", name)
        listed = ["qemu-img", "snapshot", "-l", str(disk)]
        shown = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
        self.assertEqual(len(shown.splitlines()), 4, shown)
        self.api.removeVM("snapshots removed")
        shown = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
        self.assertEqual(shown, "")
