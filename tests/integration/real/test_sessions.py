"""Sessions of a real guest survive what happens to its VM, without a person.

Pause, save and restore, snapshots, a clone, a clock that is set, a network that is cut, a daemon
that is killed. The guest's image is that of scripts/guest-image.
"""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import subprocess
import time
import uuid
import xmlrpc.client
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, free_port, until

VM = "vmctest-sessions"
CLONE = "vmctest-clone"
HEART_BEAT_S = 10.0
"""Of the agent; twice as long without an octet is the end of a connection."""

_running: list[Daemon] = []


def running() -> Daemon:
    """Return one daemon for all tests of this module."""
    if not _running:
        daemon = Daemon(
            "libvirt",
            config="guests: {gc_grace: 12, stop_timeout: 120}\n",
            broker=f"{{port: {free_port()}}}",
        ).start()
        atexit.register(daemon.stop)
        _running.append(daemon)
    return _running[0]


def virsh(*arguments: str) -> str:
    """Do something behind the daemon's back."""
    command = ["virsh", "--quiet", "--connect", "qemu:///system", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class SessionTests(SynchronousTestCase):
    """One guest, to which things happen."""

    def setUp(self) -> None:
        self.daemon = running()
        api = self.daemon.api
        if VM not in api.listVMs():
            disk = self.daemon.dir / "sessions.qcow2"
            shutil.copyfile(Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "disk.qcow2", disk)
            api.createVM(VM, str(disk))
        if api.getState(VM) != "Running":
            api.start(VM)
        api.ping(VM, DEADLINE_S)

    def guest(self, vm: str = VM) -> dict[str, Any]:
        return self.daemon.api.getGuest(vm)

    def record(self) -> dict[str, Any]:
        """Return what the daemon has stored of the VM's credential."""
        stored = json.loads((self.daemon.dir / "state" / "credentials.json").read_text())
        return stored[self.guest()["uuid"]]

    def until_kept(self) -> int:
        """Wait until the guest has its newest credential; return its generation."""
        until(lambda: not (self.record()["also"] or self.record()["restored"]), "it is kept")
        return self.record()["generation"]

    def answers(self) -> None:
        """The guest does its work, and is the one it should be."""
        self.daemon.api.ping(VM, DEADLINE_S)
        uuid = self.daemon.run(VM, "cat", "/sys/class/dmi/id/product_uuid")["out"].strip()
        self.assertEqual(uuid, self.guest()["uuid"])

    def restart_agent(self) -> None:
        """Kill the agent; the guest's init starts it again."""
        before = self.guest()["session"]
        self.daemon.api.runCmd(VM, "sh", ["-c", "kill -9 $(cat /run/vmcontroller-guest.pid)"])
        until(lambda: self.guest().get("session", before) != before, "the agent is back")

    def test_what_is_known(self) -> None:
        """Since when it is there, what it is, and how quickly it answers."""
        guest = self.guest()
        self.assertTrue(guest["connected"])
        self.assertIn("Debian", guest["os"])
        self.assertIn(guest["ip"], guest["addresses"])
        self.assertEqual(guest["capabilities"], ["commands", "files", "credential"])
        boot = self.daemon.run(VM, "cat", "/proc/sys/kernel/random/boot_id")["out"].strip()
        self.assertEqual(guest["bootId"], boot)
        until(lambda: self.guest()["latency"] > 0, "its latency is measured")
        self.assertLess(abs(time.time() - self.guest()["lastHeard"]), DEADLINE_S)
        self.assertEqual(self.daemon.api.listGuests()[VM]["session"], guest["session"])

    def test_the_credential_is_told_and_secret(self) -> None:
        """The guest is told it by its firmware, and only root can read it there."""
        told = self.daemon.run(VM, "sh", "-c", "cat /sys/firmware/dmi/entries/11-*/raw")["out"]
        self.assertIn(f"vmcontroller.credential={self.guest()['uuid']}:", told)
        mode = self.daemon.run(VM, "sh", "-c", "stat -c %a /sys/firmware/dmi/entries/11-0/raw")
        self.assertEqual(mode["out"].strip(), "400")
        self.assertNotIn(told.split("credential=")[1][40:80], self.daemon.log.read_text())

    def test_paused(self) -> None:
        """A pause longer than two heart-beats ends the session; after it all goes on."""
        session = self.guest()["session"]
        cmd_id = self.daemon.api.runCmd(VM, "sh", ["-c", "sleep 3; echo slept"])
        self.daemon.api.pause(VM)
        until(lambda: not self.guest()["connected"], "it is gone")
        self.assertIn("unheard", self.guest()["detail"])
        until(self._dropped, "the broker has noticed", 2 * HEART_BEAT_S + DEADLINE_S)
        self.daemon.api.resume(VM)
        self.assertEqual(self.daemon.api.waitCmd(cmd_id, DEADLINE_S)["out"], "slept\n")
        self.answers()
        self.assertEqual(self.guest()["session"], session)

    def _dropped(self) -> bool:
        return "nothing has come from you for" in self.daemon.log.read_text()

    def test_saved_and_restored(self) -> None:
        """A VM that others save and we start again gets a new credential, which it keeps."""
        before = self.until_kept()
        session = self.guest()["session"]
        virsh("managedsave", VM)
        until(lambda: self.daemon.api.getState(VM) == "Saved", "it is saved")
        self.daemon.api.start(VM)
        self.answers()
        self.assertEqual(self.guest()["session"], session)
        until(lambda: self.record()["generation"] > before, "it has a new credential")
        self.until_kept()
        self.restart_agent()
        self.answers()

    def test_snapshots(self) -> None:
        """Put back twice to the same memory, and killed after it, it is let in each time."""
        virsh("snapshot-create-as", VM, "one")
        try:
            for _ in range(2):
                before = self.record()["generation"]
                virsh("snapshot-revert", VM, "one")
                until(lambda before=before: self.record()["generation"] > before, "it is noticed")
                self.answers()
                self.until_kept()
            self.restart_agent()
            self.answers()
        finally:
            virsh("snapshot-delete", VM, "one")

    def test_cloned(self) -> None:
        """A clone made by others is somebody else, at once and after a start by others."""
        before = self.until_kept()
        disk = self.daemon.dir / "clone.qcow2"
        shutil.copyfile(Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "disk.qcow2", disk)
        own_uuid = str(uuid.uuid4())
        text = virsh("dumpxml", "--security-info", "--inactive", VM)
        text = text.replace(f"<name>{VM}<", f"<name>{CLONE}<")
        text = text.replace(f"<uuid>{self.guest()['uuid']}<", f"<uuid>{own_uuid}<")
        text = text.replace("sessions.qcow2", "clone.qcow2")
        text = re.sub(r"<mac address=.*?/>", "<mac address='52:54:00:c1:07:e5'/>", text)
        text = re.sub(r"<source mode=.bind. path=[^>]*>", "<source mode='bind'/>", text)
        definition = self.daemon.dir / "clone.xml"
        definition.write_text(text)
        virsh("define", str(definition))
        until(lambda: f"credential={own_uuid}:" in virsh("dumpxml", "--inactive", CLONE), "told")
        until(lambda: self.record()["generation"] > before, "the original gets a new one")
        self.until_kept()
        virsh("start", CLONE)
        self.assertEqual(self.daemon.api.ping(CLONE, DEADLINE_S), f"PONG from {CLONE}")
        self.assertEqual(self.guest(CLONE)["uuid"], own_uuid)
        self.answers()
        self.daemon.api.powerOff(CLONE)
        self.daemon.api.removeVM(CLONE)

    def test_clock_is_set(self) -> None:
        """A guest's clock that jumps by years, and back, ends nothing."""
        before = self.guest()
        for when in ("2030-01-01 00:00:00", "2001-01-01 00:00:00"):
            self.daemon.run(VM, "date", "-s", when)
            beacon = self.guest()["lastHeard"]
            until(lambda beacon=beacon: self.guest()["lastHeard"] > beacon + 1, "it is heard")
            self.answers()
        self.daemon.run(VM, "date", "-s", f"@{int(time.time())}")
        self.assertEqual(self.guest()["epoch"], before["epoch"], "it never had to reconnect")

    def test_network_is_cut(self) -> None:
        """Half-open connections are noticed, and the guest is back when its network is."""
        self.restart_agent()  # it comes over the network; before it may have found the channel
        self.answers()
        mac = self.guest()["id"].lower()
        virsh("domif-setlink", VM, mac, "down")
        gone_or_another = self.guest()["epoch"]
        try:
            until(
                lambda: self.guest().get("epoch") != gone_or_another,
                "it is gone, or has found another way",
                2 * HEART_BEAT_S + DEADLINE_S,
            )
        finally:
            virsh("domif-setlink", VM, mac, "up")
        self.answers()

    def test_daemon_killed(self) -> None:
        """A daemon that comes back knows its guests again, by the credentials they have."""
        before = self.guest()
        self.daemon.kill()
        self.daemon.start()
        self.answers()
        after = self.guest()
        self.assertEqual(after["session"], before["session"])
        self.assertGreater(after["epoch"], before["epoch"])

    def test_credentials_for_a_configuration_file(self) -> None:
        """Where no hypervisor tells it, a person can write it into guest.yaml."""
        command = [
            str(Path(self.daemon.process.args[0])), "-c", str(self.daemon.config),
            "guest-credentials", VM, "--json",
        ]  # fmt: skip
        said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        self.assertEqual(said["broker"]["username"], self.guest()["uuid"])
        self.assertTrue(said["broker"]["password"].startswith(f"{self.until_kept()}-"))
        refused = subprocess.run([*command[:-2], "nobody"], check=False, capture_output=True)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(b"no VM has the name", refused.stderr)

    def test_nobody_else(self) -> None:
        """Without the credential nobody is let in, from the guest's own network neither."""
        with self.assertRaises(xmlrpc.client.Fault):
            self.daemon.api.getGuest("nobody")
        probe = (
            "import socket,sys\n"
            "s=socket.create_connection((sys.argv[1],int(sys.argv[2])))\n"
            "s.sendall(b'CONNECT\\naccept-version:1.2\\nhost:/\\nlogin:'+sys.argv[3].encode()+"
            "b'\\npasscode:1-'+b'0'*64+b'\\n\\n\\0')\n"
            "print(s.makefile('rb').readline())\n"
        )
        told = self.daemon.run(VM, "sh", "-c", "cat /sys/firmware/dmi/entries/11-*/raw")["out"]
        host, port = re.search(r"vmcontroller\.broker=([0-9.]+):([0-9]+)", told).groups()
        result = self.daemon.run(VM, "python3", "-c", probe, host, port, self.guest()["id"])
        self.assertIn("ERROR", result["out"], result)
