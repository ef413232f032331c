"""Real guests without a network: all that a guest does, over a virtio-serial channel.

The guest's image is that of scripts/guest-image; scripts/test names it in VMCONTROLLER_TEST_IMAGE.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import time
import unittest
import xmlrpc.client
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import override

from tests.integration.daemon import DEADLINE_S, Daemon, until
from tests.integration.guest_contract import GuestTests

VM = "vmchannel <ü&'\">"
OTHER = "vmchannel " + "ж" * 20
"""Its name is too long for libvirt to name a socket after it."""

HEART_BEAT_S = 10.0
"""Of the agent; twice as long without an octet is the end of a connection."""

ROGUE = Path(__file__).with_name("channel_rogue.py")
"""What takes the agent's place in a guest, and is after another guest."""


class ChannelDaemon(Daemon):
    """A daemon whose VMs have another prefix: other tests' daemons don't clean them away."""

    @override
    def created(self) -> list[str]:
        return [name for name in self.api.listVMs() if name.startswith("vmchannel")]


_running: list[ChannelDaemon] = []
_to_run: set[str] = set()


def running() -> ChannelDaemon:
    """Return one daemon for all tests of this module."""
    if not _running:
        daemon = ChannelDaemon("libvirt", config="guests: {gc_grace: 12, stop_timeout: 120}\n")
        atexit.register(daemon.stop)
        _running.append(daemon.start())
    return _running[0]


def virsh(*arguments: str) -> str:
    """Do something behind the daemon's back."""
    command = ["virsh", "--quiet", "--connect", "qemu:///system", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class ChannelCase(SynchronousTestCase):
    """One guest without a network that is booted once."""

    def setUp(self) -> None:
        if not _to_run:
            for case in (ChannelGuestTests, ChannelSessionTests):
                _to_run.update(unittest.defaultTestLoader.getTestCaseNames(case))
        self.daemon = running()
        self.vm = VM
        self.scratch = "/tmp"
        self.start(VM)

    def tearDown(self) -> None:
        """After the last test the daemon ends, for it would answer other tests' guests."""
        _to_run.discard(self._testMethodName)
        if not _to_run:
            _running.pop().stop()

    def start(self, vm: str) -> None:
        api = self.daemon.api
        if vm not in api.listVMs():
            disk = self.daemon.dir / f"{len(vm.encode())}.qcow2"
            shutil.copyfile(Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "disk.qcow2", disk)
            api.createVM(vm, str(disk), {"network": "none"})
        if api.getState(vm) != "Running":
            api.start(vm)
        api.ping(vm, DEADLINE_S)

    def guest(self, vm: str = VM) -> dict[str, Any]:
        return self.daemon.api.getGuest(vm)

    def shell(self, script: str, vm: str = VM) -> str:
        return self.daemon.run(vm, "sh", "-c", script)["out"]


class ChannelGuestTests(GuestTests, ChannelCase):
    """All that a guest must do, without a network."""

    def test_it_has_no_network(self) -> None:
        """What answers has no interface but loopback, and its id is not a card's."""
        self.assertEqual(self.shell("ls /sys/class/net").split(), ["lo"])
        self.assertRegex(self.guest()["id"], "^02:")
        self.assertIn("the channel of vmchannel", self.daemon.log.read_text())

    def test_twenty_megabytes_both_ways(self) -> None:
        """A large file arrives whole, and comes back whole."""
        data = os.urandom(20_000_000)
        sent, back = self.daemon.exchange / "large", self.daemon.exchange / "large-back"
        sent.write_bytes(data)
        self.daemon.api.cpFileToVM(VM, str(sent), "/var/tmp/large")
        digest = self.shell("sha256sum /var/tmp/large").split()[0]
        self.assertEqual(digest, hashlib.sha256(data).hexdigest())
        self.daemon.api.cpFileFromVM(VM, "/var/tmp/large", str(back))
        self.assertEqual(back.read_bytes(), data)
        self.shell("rm /var/tmp/large")

    def test_both_ways_at_once(self) -> None:
        """A copy to the guest and much output from it do not hold each other."""
        api = self.daemon.api
        sent = self.daemon.exchange / "both"
        sent.write_bytes(os.urandom(5_000_000))
        cmd_id = api.runCmd(VM, "head", ["-c", "5000000", "/dev/zero"])
        api.cpFileToVM(VM, str(sent), "/var/tmp/both")
        self.assertEqual(api.waitCmd(cmd_id, DEADLINE_S)["exitCodeOrSignal"], 0)
        self.assertEqual(self.daemon.output(cmd_id, "stdout"), bytes(5_000_000))


class ChannelSessionTests(ChannelCase):
    """What happens to the agent, the daemon and the machine; nobody helps."""

    def test_daemon_killed(self) -> None:
        """The next daemon finds the guest; what ran meanwhile has run once, to its end."""
        session = self.guest()["session"]
        self.shell("rm -f /var/tmp/ran")
        script = "echo begun >> /var/tmp/ran; sleep 6; echo ended >> /var/tmp/ran"
        self.daemon.api.runCmd(VM, "sh", ["-c", script])
        until(lambda: self.shell("cat /var/tmp/ran"), "the command has begun")
        self.daemon.kill()
        self.daemon.start()
        self.daemon.api.ping(VM, 2 * HEART_BEAT_S)
        self.assertEqual(self.guest()["session"], session)
        until(lambda: "ended" in self.shell("cat /var/tmp/ran"), "the command has ended")
        self.assertEqual(self.shell("cat /var/tmp/ran"), "begun\nended\n")
        held = "ls /var/lib/vmcontroller-guest/commands | wc -l"
        until(lambda: int(self.shell(held)) <= 1, "its result is acknowledged")

    def test_daemon_killed_in_the_middle_of_a_copy(self) -> None:
        """Half of something in the channel does not disturb what comes after it."""
        data = self.daemon.exchange / "interrupted"
        data.write_bytes(os.urandom(20_000_000))
        for copy in (
            ["cpFileToVM", VM, str(data), "/var/tmp/interrupted"],
            ["cpFileFromVM", VM, "/var/tmp/interrupted", str(data) + "-back"],
        ):
            self.shell("head -c 20000000 /dev/urandom > /var/tmp/interrupted")
            client = subprocess.Popen(
                ["python3", "-c", _CALL, self.daemon.url, *copy], stderr=subprocess.DEVNULL
            )
            time.sleep(0.7)  # of two seconds or more
            self.daemon.kill()
            client.wait()
            self.daemon.start()
            self.daemon.api.ping(VM, DEADLINE_S)
            self.assertEqual(self.shell("echo whole"), "whole\n")

    def test_agent_killed(self) -> None:
        """The guest's init starts it again, and it is another one; a command knows it is lost."""
        api = self.daemon.api
        before = self.guest()["session"]
        cmd_id = api.runCmd(VM, "sh", ["-c", "sleep 1; kill -KILL $PPID; sleep 4711"])
        self.assertEqual(api.waitCmd(cmd_id, DEADLINE_S)["state"], "lost")
        self.assertEqual(api.ping(VM, DEADLINE_S), f"PONG from {VM}")
        self.assertNotEqual(self.guest()["session"], before)

    def test_agent_killed_while_it_speaks(self) -> None:
        """What an agent was in the middle of is not taken for what the next one says."""
        api = self.daemon.api
        script = "(sleep 1; kill -KILL $PPID) & exec cat /dev/zero"
        cmd_id = api.runCmd(VM, "sh", ["-c", script])
        self.assertEqual(api.waitCmd(cmd_id, DEADLINE_S)["state"], "lost")
        api.ping(VM, DEADLINE_S)
        self.assertEqual(set(self.daemon.output(cmd_id, "stdout")), {0})
        self.assertEqual(self.shell("echo whole"), "whole\n")

    def test_paused(self) -> None:
        """A pause longer than two heart-beats ends the session; after it all goes on."""
        api, session = self.daemon.api, self.guest()["session"]
        cmd_id = api.runCmd(VM, "sh", ["-c", "sleep 3; echo slept"])
        api.pause(VM)
        until(self._dropped, "the broker has noticed", 2 * HEART_BEAT_S + DEADLINE_S)
        self.assertFalse(self.guest()["connected"])
        api.resume(VM)
        self.assertEqual(api.ping(VM, 2 * HEART_BEAT_S), f"PONG from {VM}")
        self.assertEqual(api.waitCmd(cmd_id, DEADLINE_S)["out"], "slept\n")
        self.assertEqual(self.guest()["session"], session)

    def _dropped(self) -> bool:
        return "nothing has come from you for" in self.daemon.log.read_text()

    def test_saved_and_restored(self) -> None:
        """A guest that others save and we start is there again within two heart-beats."""
        session = self.guest()["session"]
        virsh("managedsave", VM)
        until(lambda: self.daemon.api.getState(VM) == "Saved", "it is saved")
        self.daemon.api.start(VM)
        self.daemon.api.ping(VM, 2 * HEART_BEAT_S)
        self.assertEqual(self.shell("echo back"), "back\n")
        self.assertEqual(self.guest()["session"], session)

    def test_snapshot(self) -> None:
        """One that is put back to the middle of a session it has forgotten comes back, too."""
        virsh("snapshot-create-as", VM, "one")
        try:
            self.shell("head -c 100000 /dev/zero")
            virsh("snapshot-revert", VM, "one")
            self.daemon.api.ping(VM, DEADLINE_S)
            self.assertEqual(self.shell("echo back"), "back\n")
        finally:
            virsh("snapshot-delete", VM, "one")

    def test_reset(self) -> None:
        """A reset guest boots again, and its agent says HELLO again."""
        before = self.guest()["bootId"]
        self.daemon.api.reset(VM)
        until(lambda: self.guest().get("bootId", before) != before, "it has booted")
        self.assertEqual(self.shell("echo up"), "up\n")

    def test_shut_down_and_started(self) -> None:
        """A machine that is started anew has another socket, and the same guest."""
        guest = self.guest()["id"]
        self.daemon.api.shutdown(VM)
        self.start(VM)
        self.assertEqual(self.guest()["id"], guest)

    def test_one_process_only(self) -> None:
        """While the agent has the port nobody else in the guest gets it, and is told why."""
        script = (
            "from vmcontroller.guest.channel import *; "
            "from vmcontroller.common.errors import NotConnected\n"
            "try: open_port(CHANNEL_PATH)\n"
            "except NotConnected as error: print(error)"
        )
        told = self.daemon.run(VM, "python3", "-c", script)["out"]
        self.assertIn("another process has /dev/virtio-ports/org.vmcontroller.agent.0 open", told)

    def test_agent_does_not_spin(self) -> None:
        """While no daemon is there the agent waits, and costs next to nothing."""
        before = self._agent_ticks()
        self.daemon.kill()
        time.sleep(8)
        self.daemon.start()
        self.daemon.api.ping(VM, DEADLINE_S)
        self.assertLess(self._agent_ticks() - before, 400)  # of 100 a second, under TCG

    def _agent_ticks(self) -> int:
        fields = self.shell("cat /proc/$PPID/stat").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    def test_another_guests_channel(self) -> None:
        """A guest that is taken over is still who its channel says, and speaks on no other."""
        self.start(OTHER)
        self.addCleanup(self.remove, OTHER)
        mine, theirs = self.guest(), self.guest(OTHER)
        self.assertNotEqual(mine["id"], theirs["id"])
        ports = self.shell("ls /dev/virtio-ports").split()
        self.assertEqual(ports, ["org.qemu.guest_agent.0", "org.vmcontroller.agent.0"])
        rogue = self.daemon.exchange / "rogue.py"
        rogue.write_bytes(ROGUE.read_bytes())
        self.daemon.api.cpFileToVM(VM, str(rogue), "/var/tmp/rogue.py")
        self.daemon.api.runCmd(VM, "setsid", ["python3", "/var/tmp/rogue.py", theirs["id"]])
        over = {None, mine["session"], "rogue"}
        until(lambda: self.guest().get("session", None) not in over, "its agent is back")
        said = self.shell("cat /var/tmp/rogue.log")
        self.assertEqual(re.findall("guest-id:(.*)", said), [mine["id"]] * 2)
        self.assertIn("may not", said)
        self.assertEqual(self.guest(OTHER)["session"], theirs["session"])
        self.assertEqual(self.guest(OTHER)["epoch"], theirs["epoch"])
        self.assertEqual(self.shell("hostname", OTHER).strip()[:14], f"guest-{theirs['uuid'][:8]}")

    def remove(self, vm: str) -> None:
        with contextlib.suppress(xmlrpc.client.Fault):
            self.daemon.api.powerOff(vm)
        self.daemon.api.removeVM(vm)


_CALL = """
import sys, xmlrpc.client
getattr(xmlrpc.client.ServerProxy(sys.argv[1]), sys.argv[2])(*sys.argv[3:])
"""
