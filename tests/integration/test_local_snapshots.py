"""Snapshots of a VM of the backend `local`, over XML-RPC of a real daemon with a real agent."""

from __future__ import annotations

import atexit
import xmlrpc.client

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, until

VM = "vmctest-c local"

_running: list[Daemon] = []


def running() -> Daemon:
    """Return one daemon for all tests of this module."""
    if not _running:
        daemon = Daemon("local").start()
        atexit.register(daemon.stop)
        _running.append(daemon)
    return _running[0]


class LocalSnapshotTests(SynchronousTestCase):
    """One VM; each test begins with it running and no snapshots."""

    def setUp(self) -> None:
        self.daemon = running()
        self.api = self.daemon.api
        if VM not in self.api.listVMs():
            self.api.createVM(VM, "")
        for name in self.api.listSnapshots(VM):
            self.api.deleteSnapshot(VM, name)
        if self.api.getState(VM) != "Running":
            self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)

    def sh(self, script: str) -> str:
        return str(self.daemon.run(VM, "sh", "-c", script)["out"])

    def fault(self, name: str, method: str, *arguments: object) -> str:
        error = self.assertRaises(xmlrpc.client.Fault, getattr(self.api, method), *arguments)
        self.assertTrue(error.faultString.startswith(f"{name}: "), error.faultString)
        return error.faultString

    def test_live_snapshot(self) -> None:
        """The agent and its commands run on after it; going back leaves the VM off, as it says."""
        self.sh("echo before > file")
        before = self.api.runCmd(VM, "sh", ["-c", "sleep 1000"])
        self.api.takeSnapshot(VM, "live", "a")
        self.assertEqual(self.api.getState(VM), "Running")
        self.assertEqual(self.sh("cat file; echo after > file; echo new > new"), "before\n")
        until(lambda: self.api.getCmdDetails(before)["state"] == "running", "it runs on")
        (tree,) = self.api.getSnapshots(VM)
        self.assertEqual((tree["state"], tree["current"]), ("PoweredOff", True))
        self.api.restoreSnapshot(VM)
        self.assertEqual(self.api.getState(VM), "PoweredOff")
        result = self.api.waitCmd(before, DEADLINE_S)
        self.assertEqual(result["state"], "lost")
        self.assertIn("restored to a snapshot", result["error"])
        self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)
        self.assertEqual(self.sh("cat file; ls"), "before\nfile\n")
        self.assertEqual(self.api.getCmdResults(before)["state"], "lost")

    def test_result_of_the_past_counts_once(self) -> None:
        """A command that had ended keeps its result when the agent of then names it again."""
        cmd_id = self.api.runCmd(VM, "sh", ["-c", "sleep 2; echo once"])
        self.api.takeSnapshot(VM, "while it runs")
        ended = self.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual((ended["state"], ended["out"]), ("ended", "once\n"))
        self.api.restoreSnapshot(VM, "while it runs")
        self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)
        self.sh("true")
        self.assertEqual(self.api.getCmdResults(cmd_id), ended)

    def test_paused(self) -> None:
        """A paused VM stays paused over a snapshot."""
        self.api.pause(VM)
        self.api.takeSnapshot(VM, "paused")
        self.assertEqual(self.api.getState(VM), "Paused")
        self.api.resume(VM)
        self.assertEqual(self.api.ping(VM, DEADLINE_S), f"PONG from {VM}")

    def test_what_can_not_be(self) -> None:
        """Memory of processes is neither saved nor put to sleep, and the VM runs on."""
        for method in ("saveState", "discardState", "sleep"):
            self.assertIn("local", self.fault("UNSUPPORTED", method, VM))
        self.assertEqual(self.api.getState(VM), "Running")
