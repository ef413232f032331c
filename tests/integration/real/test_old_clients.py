"""Old clients call as they always did: boincvm's VMWrapper.py of 2010 and VMController's vmc.py.

They pass everything by position, env and path as strings that hold Python literals, take any
Fault of a ping for "not yet", and look for ids in what listFinishedCmds answers. The classes here
make their calls, in their order; nothing here knows what was added since.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon

RESOURCES = {
    f"ru_{name}"
    for name in (
        *("utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt"),
        *("nswap", "inblock", "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw"),
    )
}

_running: dict[str, Daemon] = {}


def running(hypervisor: str) -> Daemon:
    """Return one daemon of each kind for all tests of this module."""
    if hypervisor not in _running:
        daemon = Daemon(hypervisor, config="guests: {gc_grace: 60, stop_timeout: 120}\n").start()
        atexit.register(daemon.stop)
        _running[hypervisor] = daemon
    return _running[hypervisor]


class VmWrapper:
    """The calls of boincvm's wrapper: one task in one VM."""

    def __init__(self, proxy: Any, vm: str, image: str) -> None:
        self.proxy = proxy
        self.vm = vm
        self.image = image

    def run_vm(self) -> None:
        """Make or restore the VM, start it, and wait for its agent."""
        if self.vm not in self.proxy.listAvailableVMs():
            self.proxy.createVM(self.vm, self.image)
        if self.proxy.getState(self.vm) != "Saved":
            with contextlib.suppress(Exception):  # "Restoring snapshot failed."
                self.proxy.restoreSnapshot(self.vm)
        if self.vm not in self.proxy.listRunningVMs():
            self.proxy.start(self.vm)
        self.until(lambda: self.vm in self.proxy.listRunningVMs())
        self.until(self.answers)

    def answers(self) -> bool:
        try:
            self.proxy.ping(self.vm)
        except Exception:  # noqa: BLE001 - "waiting for VM to connect to the broker"
            return False
        return True

    @staticmethod
    def until(done: Any) -> None:
        deadline = time.monotonic() + 3 * DEADLINE_S
        while not done():
            assert time.monotonic() < deadline
            time.sleep(0.2)

    def copy_to(self, local: str, remote: str) -> None:
        [_out, err, status] = self.proxy.cpFileToVM(self.vm, local, remote)
        assert not status, err

    def copy_from(self, remote: str, local: str) -> None:
        [_out, err, status] = self.proxy.cpFileFromVM(self.vm, remote, local)
        assert not status, err

    def run(self, application: str, line: str, stdin: str) -> Any:
        """Run it to its end; return the results."""
        cmd_id = self.proxy.runCmd(self.vm, application, [line], "{}", "None", stdin)
        self.until(lambda: any(cmd == cmd_id for cmd in self.proxy.listFinishedCmds()))
        return self.proxy.getCmdResults(cmd_id)

    def cpu_time(self) -> float:
        """Ask the guest how long it was not idle, as the original does."""
        cmd_id = self.proxy.runCmd(self.vm, "cat", ["/proc/uptime"])
        self.until(lambda: cmd_id in self.proxy.listFinishedCmds())
        up, idle = map(float, self.proxy.getCmdResults(cmd_id)["out"].split())
        return up - idle


class OldClients:
    """What must go on working, whatever runs the guest; `vm`, `daemon` and `image` are given."""

    vm: str
    hypervisor: str

    def image(self) -> str:
        raise NotImplementedError

    def setUp(self) -> None:
        self.daemon = running(self.hypervisor)
        self.proxy = ServerProxy(self.daemon.url)
        self.addCleanup(self.proxy("close"))
        self.wrapper = VmWrapper(self.proxy, self.vm, self.image())

    def test_a_task_from_its_beginning_to_its_end(self) -> None:
        """The wrapper's whole sequence: VM, agent, files in, command, results, files out."""
        wrapper = self.wrapper
        wrapper.run_vm()
        self.assertEqual(self.proxy.ping(self.vm), f"PONG from {self.vm}")
        (self.daemon.exchange / "in").write_text("line one\nline two\n")
        folder = self.daemon.run(self.vm, "mktemp", "-d")["out"].strip()
        wrapper.copy_to(str(self.daemon.exchange / "in"), f"{folder}/in")
        results = wrapper.run("cat", "-", f"{folder}/in")
        self.assertEqual(results["out"], "line one\nline two\n")
        self.assertEqual((results["err"], results["exitCodeOrSignal"]), ("", 0))
        self.assertIs(results["finished"], True)
        self.assertEqual(set(results["resources"]), RESOURCES)
        spent = results["resources"]["ru_stime"] + results["resources"]["ru_utime"]
        self.assertTrue(0 <= spent < 60)
        wrapper.copy_from(f"{folder}/in", str(self.daemon.exchange / "out"))
        self.assertEqual((self.daemon.exchange / "out").read_text(), "line one\nline two\n")
        self.assertIsInstance(wrapper.cpu_time(), float)

    def test_relative_names(self) -> None:
        """The wrapper copies ./worker.py, runs ./worker.py, and brings out what it has left."""
        wrapper = self.wrapper
        wrapper.run_vm()
        worker = self.daemon.exchange / "worker.sh"
        worker.write_text('#!/bin/sh\nread -r line\necho "$1 $line" > vmctest-out\n')
        worker.chmod(0o755)
        (self.daemon.exchange / "vmctest-in").write_text("input\n")
        wrapper.copy_to(str(worker), "./vmctest-worker.sh")
        wrapper.copy_to("vmctest-in", "vmctest-in")
        results = wrapper.run("./vmctest-worker.sh", " 5", "vmctest-in")
        self.assertEqual((results["exitCodeOrSignal"], results["err"]), (0, ""))
        wrapper.copy_from("vmctest-out", "vmctest-out")
        self.assertEqual((self.daemon.exchange / "vmctest-out").read_text(), " 5 input\n")

    def test_literals(self) -> None:
        """Env and path as strings that hold Python literals, as the guest once evaluated them."""
        self.wrapper.run_vm()
        run = self.proxy.runCmd
        for env, path, says in (
            ("{}", "None", ""),
            ("{'COLOUR': 'red'}", "'/tmp'", "red /tmp"),
            ("{'COLOUR': 'red'}", "/tmp", "red /tmp"),
            ({}, "", ""),
            ({"COLOUR": "blue"}, "'/'", "blue /"),
        ):
            cmd_id = run(self.vm, "sh", ["-c", 'echo "$COLOUR $PWD"'], env, path, "")
            self.wrapper.until(lambda cmd_id=cmd_id: cmd_id in self.proxy.listFinishedCmds())
            result = self.proxy.getCmdResults(cmd_id)
            self.assertEqual(result["exitCodeOrSignal"], 0, result)
            if says:
                self.assertEqual(result["out"], f"{says}\n")

    def test_args_left_out(self) -> None:
        """Parameters may be left out from the right; an empty array of arguments is one, too."""
        self.wrapper.run_vm()
        for words in (
            ("uname",),
            ("uname", []),
            ("uname", ["-s"], {}),
            ("uname", [], "{}", "None"),
        ):
            cmd_id = self.proxy.runCmd(self.vm, *words)
            self.wrapper.until(lambda cmd_id=cmd_id: cmd_id in self.proxy.listFinishedCmds())
            self.assertEqual(self.proxy.getCmdResults(cmd_id)["out"], "Linux\n")

    def test_pause_and_unpause(self) -> None:
        """The wrapper suspends by `pause` and resumes by `unpause`."""
        self.wrapper.run_vm()
        self.assertIs(self.proxy.pause(self.vm), True)
        self.assertEqual(self.proxy.getState(self.vm), "Paused")
        self.assertRaises(Fault, self.proxy.ping, self.vm, 0.5)
        self.assertIs(self.proxy.unpause(self.vm), True)
        self.assertEqual(self.proxy.getState(self.vm), "Running")
        self.wrapper.until(self.wrapper.answers)

    def test_any_fault_of_a_ping_means_not_yet(self) -> None:
        """A ping of what isn't there, is off or does not answer is a Fault, and quickly."""
        self.assertRaises(Fault, self.proxy.ping, "vmctest-nobody")
        self.wrapper.run_vm()
        self.proxy.pause(self.vm)
        began = time.monotonic()
        self.assertRaises(Fault, self.proxy.ping, self.vm, 1)
        self.assertLess(time.monotonic() - began, 10)
        self.proxy.unpause(self.vm)

    def test_figures(self) -> None:
        """GetStats answers what the original's collector did: names, units, scales, values."""
        self.wrapper.run_vm()
        self.wrapper.until(lambda: self.proxy.getStats(self.vm))
        for answer in (self.proxy.getStats(self.vm), self.proxy.getStats(self.vm, "*")):
            for each in answer:
                self.assertEqual(
                    {"name", "object", "unit", "scale", "values", "values_as_string"} - set(each),
                    set(),
                )
                self.assertIsInstance(each["scale"], int)
                self.assertTrue(all(isinstance(value, int) for value in each["values"]))
                self.assertIsInstance(each["values_as_string"], str)
        names = {each["name"] for each in self.proxy.getPerformanceData(self.vm)}
        self.assertTrue(names)

    def test_vmc(self) -> None:
        """vmc.py evaluates `p.METHOD(…)` and prints the answer; these are its usual calls."""
        p = self.proxy
        self.wrapper.run_vm()
        self.assertIn(self.vm, p.listVMs())
        self.assertEqual(p.listVMsWithState()[self.vm], "Running")
        self.assertIn(self.vm, p.listRunningVMs())
        self.assertEqual(p.listSnapshots(self.vm), self.snapshots)
        ids, names = p.getIdsToNamesMapping(), p.getNamesToIdsMapping()
        self.assertEqual(ids[names[self.vm]], self.vm)
        self.assertRegex(names[self.vm], "^([0-9A-F]{2}:){5}[0-9A-F]{2}$")
        self.assertIsInstance(p.states()["Running"], int)
        self.assertIsInstance(p.version(), str)
        self.assertTrue(p.help("runCmd").startswith("runCmd("))
        self.assertIn("\n\ncreateVM(", f"\n\n{p.help()}")
        self.assertRaises(Fault, p.help, "nonsense")
        self.assertRaises(Fault, p.nonsense)
        details = p.getCmdDetails(p.runCmd(self.vm, "true"))
        self.assertEqual((details["toVmName"], details["cmd"]), (self.vm, "true"))

    snapshots: list[str] = []  # noqa: RUF012 - replaced, never changed


class LocalOldClients(OldClients, SynchronousTestCase):
    """On a guest that is a process: quick."""

    vm = "vmctest-g-old"
    hypervisor = "local"

    def image(self) -> str:
        return ""


class RealOldClients(OldClients, SynchronousTestCase):
    """On a real guest, with all that needs a hypervisor."""

    vm = "vmctest-g-old"
    hypervisor = "libvirt"

    def image(self) -> str:
        disk = self.daemon.dir / "old.qcow2"
        if not disk.exists():
            source = Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "disk.qcow2"
            shutil.copyfile(source, disk)
        return str(disk)

    def test_checkpoint_and_restore(self) -> None:
        """The wrapper checkpoints by saveSnapshot, saves the VM when it ends, and comes back."""
        wrapper, proxy = self.wrapper, self.proxy
        wrapper.run_vm()
        wrapper.run("touch", "/tmp/before", "")
        self.assertIs(proxy.saveSnapshot(self.vm, "checkpoint"), True)
        self.addCleanup(proxy.deleteSnapshot, self.vm, "checkpoint")
        wrapper.run("touch", "/tmp/after", "")
        self.assertIs(proxy.saveState(self.vm), True)
        self.assertEqual(proxy.getState(self.vm), "Saved")
        wrapper.run_vm()
        self.assertEqual(wrapper.run("ls", "/tmp/after", "")["exitCodeOrSignal"], 0)
        proxy.powerOff(self.vm)
        wrapper.run_vm()  # it is not Saved: the wrapper goes back to its checkpoint
        self.assertEqual(proxy.getState(self.vm), "Running")
        self.assertEqual(wrapper.run("ls", "/tmp/before", "")["exitCodeOrSignal"], 0)
        self.assertNotEqual(wrapper.run("ls", "/tmp/after", "")["exitCodeOrSignal"], 0)
