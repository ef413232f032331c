"""Tasks of a real daemon: copies with their progress, waits, operations, their end."""

from __future__ import annotations

import os
import signal
import time
from typing import Any
from xmlrpc.client import Fault

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.attacks.scene import agent_pid, home
from tests.integration.daemon import DEADLINE_S, Daemon, free_port, until

VM = "vmctest b tasks"
MIB = 2**20


class TasksCase(SynchronousTestCase):
    config = ""

    def setUp(self) -> None:
        broker = f"{{port: {free_port()}}}"  # guests find it again after a restart
        self.daemon = Daemon("local", config=self.config, broker=broker).start()
        self.addCleanup(self.daemon.stop)
        self.api = self.daemon.api
        self.api.createVM(VM, "")
        self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)

    def ended(self, task_id: str) -> dict[str, Any]:
        """Return a task that has ended."""
        task = self.api.waitTask(task_id, DEADLINE_S)
        self.assertNotEqual(task["state"], "running", task)
        return task

    def fault(self, code: int, method: str, *params: Any) -> str:
        """Make a call that must fail with this number; return its text."""
        with self.assertRaises(Fault) as caught:
            getattr(self.api, method)(*params)
        self.assertEqual(caught.exception.faultCode, code)
        return str(caught.exception.faultString)


class OperationsTests(TasksCase):
    def test_whole_life(self) -> None:
        """A VM is made, started, used and removed by tasks; each result is the call's own."""
        name = f"{VM} made"
        made = self.ended(self.api.submit("createVM", [name, ""]))
        self.assertEqual((made["state"], made["result"], made["vm"]), ("done", [True, name], name))
        started = self.ended(self.api.submit("start", [name]))
        self.assertEqual((started["result"], started["progress"]), (True, 1.0))
        self.assertEqual(self.api.getState(name), "Running")
        pong = self.ended(self.api.submit("ping", [name, DEADLINE_S]))
        self.assertEqual(pong["result"], f"PONG from {name}")
        cmd_id = self.ended(self.api.submit("runCmd", [name, "echo", ["by", "task"]]))["result"]
        result = self.ended(self.api.submit("waitCmd", [cmd_id, DEADLINE_S]))["result"]
        self.assertEqual(result["out"], "by task\n")
        self.assertTrue(self.ended(self.api.submit("shutdown", [name]))["result"])
        removed = self.ended(self.api.submit("removeVM", [name]))
        self.assertEqual(removed["result"], [True, name])
        self.assertNotIn(name, self.api.listVMs())
        listed = self.api.listTasks()
        self.assertEqual(
            [task["method"] for task in listed],
            ["createVM", "start", "ping", "runCmd", "waitCmd", "shutdown", "removeVM"],
        )
        for task in listed:
            self.assertNotIn("result", task)
            self.assertLessEqual(task["created"], task["ended"])
            self.assertEqual(task["caller"], "anonymous")

    def test_faults(self) -> None:
        """A wrong call is a Fault at once; one that fails later has the Fault it would have had."""
        self.assertIn("vm", self.fault(2, "submit", "start", []))
        self.fault(1, "submit", "begin", [VM])
        self.fault(2, "submit", "system.multicall", [[]])
        self.assertEqual(self.api.listTasks(), [])
        task = self.ended(self.api.submit("start", [VM]))
        self.assertEqual(task["state"], "failed")
        with self.assertRaises(Fault) as caught:
            self.api.start(VM)
        expected = {
            "faultCode": caught.exception.faultCode,
            "faultString": caught.exception.faultString,
        }
        self.assertEqual(task["fault"], expected)
        self.fault(16, "getTask", "none")

    def test_waits_are_given_up(self) -> None:
        """A wait as a task ends when it is cancelled; an operation goes on and says so."""
        cmd_id = self.api.runCmd(VM, "sleep", ["1000"])
        wait = self.api.submit("waitCmd", [cmd_id, 1000])
        self.assertEqual(self.api.waitTask(wait, 0)["state"], "running")
        self.assertTrue(self.api.cancelTask(wait))
        self.assertEqual(self.api.getTask(wait)["state"], "cancelled")
        self.assertFalse(self.api.cancelTask(wait))
        os.kill(agent_pid(self.daemon, VM), signal.SIGSTOP)  # so that it can't obey
        stopping = self.api.submit("shutdown", [VM])
        self.assertFalse(self.api.cancelTask(stopping))
        self.assertIn("cannot be cancelled", self.api.getTask(stopping)["detail"])
        os.kill(agent_pid(self.daemon, VM), signal.SIGCONT)
        self.assertEqual(self.ended(stopping)["state"], "done")


class BoundsTests(TasksCase):
    config = "tasks: {at_once: 6, keep: 3, time_to_live: 3}\n"

    def test_bounds(self) -> None:
        """No more run at once than may, and what ended is kept so many and so long."""
        waits = [self.api.submit("waitEvents", [-1, 600, {"kinds": ["action"]}]) for _ in range(3)]
        self.assertIn("BUSY", self.fault(22, "submit", "version"))
        for task_id in waits:
            self.assertTrue(self.api.cancelTask(task_id))
        ids = [self.api.submit("version") for _ in range(5)]
        self.assertEqual([task["id"] for task in self.api.listTasks()], ids[-3:])
        self.fault(16, "getTask", ids[0])
        until(lambda: self.api.listTasks() == [], "their time to live has passed")


class CopiesTests(TasksCase):
    def setUp(self) -> None:
        super().setUp()
        self.there = home(self.daemon, VM) / "there"
        self.there.mkdir()

    def big(self, mib: int) -> None:
        with (self.daemon.exchange / "big").open("wb") as file:
            for _ in range(mib):
                file.write(os.urandom(MIB))

    def test_progress(self) -> None:
        """A copy tells how far it is, from 0 to 1 and never back, and is whole in the end."""
        self.big(512)
        task_id = self.api.submit("cpFileToVM", [VM, "big", str(self.there / "copy")])
        seen = []
        while (task := self.api.getTask(task_id))["state"] == "running":
            seen.append(task["progress"])
            time.sleep(0.01)
        self.assertEqual((task["state"], task["progress"]), ("done", 1.0), task)
        self.assertEqual(task["result"], ["", "", 0])
        known = [progress for progress in seen if progress >= 0]
        self.assertEqual(known, sorted(known))
        self.assertTrue(any(0 < progress < 1 for progress in known), seen)
        self.assertEqual((self.there / "copy").stat().st_size, 512 * MIB)

    def test_cancel(self) -> None:
        """Of a copy that is cancelled half-way nothing remains, on either side."""
        self.big(1024)
        for method, source, target in (
            ("cpFileToVM", "big", str(self.there / "copy")),
            ("cpFileFromVM", str(self.daemon.exchange / "big"), "out"),
        ):
            task_id = self.api.submit(method, [VM, source, target])
            until(lambda: self.api.getTask(task_id)["progress"] > 0, "it is under way")  # noqa: B023
            self.assertTrue(self.api.cancelTask(task_id))
            task = self.api.getTask(task_id)
            self.assertEqual(task["state"], "cancelled", task)
            self.assertLess(task["progress"], 1)
            self.assertEqual([path.name for path in self.daemon.exchange.iterdir()], ["big"])
            until(lambda: list(self.there.iterdir()) == [], "the guest has nothing of it")
            record = self.api.listTransfers(VM)[-1]
            self.assertEqual(record["state"], "cancelled")


class EndTests(TasksCase):
    def test_end_of_the_daemon(self) -> None:
        """At SIGTERM running tasks end in order, and the daemon with status 0 before long."""
        cmd_id = self.api.runCmd(VM, "sleep", ["1000"])
        until(lambda: self.api.getCmdDetails(cmd_id)["state"] == "running", "it runs")
        for method, params in (
            ("waitCmd", [cmd_id, 1000]),
            ("waitEvents", [-1, 1000]),
            ("ping", [VM, 1000]),
        ):
            self.api.submit(method, params)
        began = time.monotonic()
        self.assertEqual(self.daemon.terminate(), 0)
        self.assertLess(time.monotonic() - began, 10)
        self.assertNotIn("Traceback", self.daemon.log.read_text())
        self.daemon.start()
        self.api = self.daemon.api
        self.assertEqual(self.api.listTasks(), [])
        self.api.ping(VM, DEADLINE_S)
        self.assertEqual(self.api.getCmdDetails(cmd_id)["state"], "running")

    def test_operation_at_the_end(self) -> None:
        """An operation that does not end in its grace is left to the hypervisor, and logged."""
        pid = agent_pid(self.daemon, VM)
        os.kill(pid, signal.SIGSTOP)
        task_id = self.api.submit("shutdown", [VM])
        self.assertEqual(self.api.getTask(task_id)["state"], "running")
        self.assertEqual(self.daemon.terminate(), 0)
        log = self.daemon.log.read_text()
        self.assertIn("stops while a task is under way: shutdown", log)
        self.assertNotIn("Traceback", log)
        os.kill(pid, signal.SIGCONT)
        self.daemon.start()
        self.api = self.daemon.api
        until(lambda: self.api.getState(VM) != "Running", "the guest has obeyed")
