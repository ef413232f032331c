"""Every method of the table, called over a real socket on one real guest.

A method that is added to the table without a call here fails the test; so does an example of the
documentation that does not run. The guest's image is that of scripts/guest-image.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import shutil
import threading
import time
from pathlib import Path
from xmlrpc.client import Binary, Fault

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, until
from tests.integration.real.whole_api import EXAMPLE_VM, Examples, Noting
from vmcontroller.host.xmlrpc.introspection import unique
from vmcontroller.host.xmlrpc.table import METHODS

VM = f"vmctest-g {EXAMPLE_VM}"


class WholeApiTests(SynchronousTestCase):
    """One test: the life of one VM, in which every method has its place."""

    def setUp(self) -> None:
        self.daemon = Daemon(
            "libvirt", config="guests: {gc_grace: 60, stop_timeout: 120}\n"
        ).start()
        atexit.register(self.daemon.stop)
        self.addCleanup(self.daemon.stop)
        image = self.daemon.dir / "worker.qcow2"
        shutil.copyfile(Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "disk.qcow2", image)
        self.host = Noting(self.daemon.url)
        self.addCleanup(self.host.close)
        self.examples = Examples(
            self.host,
            replace={
                "worker *": "vmctest-g worker *",
                repr(EXAMPLE_VM): repr(VM),
                "/srv/images/worker.qcow2": str(image),
                "/var/lib/vmcontroller/exchange": str(self.daemon.exchange),
            },
        )
        self.example = self.examples.run

    def test_every_method(self) -> None:
        """What is called is what the table has, aliases too; and every example has run."""
        for step in (
            self.about_the_daemon,
            self.made,
            self.booted,
            self.commands,
            self.stdin_and_signals,
            self.many_guests,
            self.files,
            self.copy_given_up,
            self.tasks,
            self.figures,
            self.screen,
            self.many_at_once,
            self.paused,
            self.snapshots,
            self.saved,
            self.asleep,
            self.ended,
        ):
            step()
        self.assertEqual(set(METHODS) - self.host.called, set())
        self.assertEqual(self.host.called - set(METHODS), set())
        names = {method.name for method in unique(METHODS)}
        self.assertEqual(names - self.examples.ran, set())

    def up(self) -> None:
        self.assertEqual(self.host.ping(VM, DEADLINE_S), f"PONG from {VM}")

    def state(self, wanted: str) -> None:
        self.assertEqual(self.host.getState(VM), wanted)

    def ok(self, method: str, **names: object) -> None:
        """The example of a method that answers true."""
        self.assertIs(self.example(method, **names), True, method)

    def about_the_daemon(self) -> None:
        """What it is, what it can, and the same in all the places that tell it."""
        host = self.host
        self.assertRegex(self.example("version"), r"^\d+\.\d+")
        self.assertIn("admin", self.example("whoAmI"))
        self.assertEqual(set(host.whoAmI()) >= {"name", "roles", "address"}, True)
        self.assertIn("Running", self.example("states"))
        self.assertEqual(self.example("system.listMethods"), sorted(METHODS))
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            self.example("help")
        self.assertTrue(printed.getvalue().startswith("runCmd("))
        self.assertTrue(self.example("system.methodHelp").startswith("createVM("))
        self.assertEqual(self.example("system.methodSignature")[0], ["boolean", "string"])
        for name, method in METHODS.items():
            self.assertIn(method.usage, host.system.methodHelp(name))
            self.assertEqual(host.help(name), host.system.methodHelp(name))
            signatures = host.system.methodSignature(name)
            self.assertEqual(len(signatures), len(method.parameters) - method.required + 1, name)
            self.assertEqual({each[0] for each in signatures}, {method.returns}, name)
        self.assertEqual(self.example("getBrokerStats"), 0)

    def made(self) -> None:
        """A VM on a disk, in every list, off."""
        host = self.host
        self.since = host.waitEvents(-1, 0)["next"]
        self.assertEqual(self.example("createVM"), [True, VM])
        self.state("PoweredOff")
        self.assertEqual(self.example("getState"), "PoweredOff")
        for names in (self.example("listVMs"), host.listAvailableVMs()):
            self.assertIn(VM, names)
        self.assertEqual(self.example("listVMsWithState")[VM], "PoweredOff")
        (disk,) = self.example("getVM")
        self.assertTrue(disk["path"].endswith("worker.qcow2"))
        told = host.getVM(VM)
        self.assertEqual((told["name"], told["memory"], told["hypervisor"]), (VM, 1024, "libvirt"))
        answers = self.example("system.multicall")
        self.assertEqual(answers, [["PoweredOff"]])

    def booted(self) -> None:
        """It runs, its agent answers, and everybody is told."""
        host = self.host
        waiter = threading.Thread(target=self.wait_for_an_event)
        waiter.start()
        self.ok("start")
        self.assertIn(VM, self.example("listRunningVMs"))
        self.assertEqual(self.example("ping"), f"PONG from {VM}")
        waiter.join(DEADLINE_S)
        self.assertIn("vm-state", self.heard)
        mac = self.example("getNamesToIdsMapping")[VM]
        self.assertEqual(self.example("getIdsToNamesMapping")[mac], VM)
        self.assertLess(time.time() - self.example("getGuest"), DEADLINE_S)
        self.assertIs(host.getGuest(VM)["connected"], True)
        self.assertIs(self.example("listGuests"), True)
        told = host.waitEvents(self.since, 0, {"vms": [VM]})
        kinds = [event["kind"] for event in told["events"]]
        self.assertEqual((kinds[0], told["lost"]), ("vm-added", False))
        self.assertLess(kinds.index("vm-state"), kinds.index("agent-up"))

    def wait_for_an_event(self) -> None:
        """Run the example of waitEvents while the VM is started, on a connection of its own."""
        noting = Noting(self.daemon.url)
        with contextlib.closing(noting):
            replace = {"worker *": "vmctest-g worker *"}
            answer = Examples(noting, replace=replace).run("waitEvents")
        self.heard = [event["kind"] for event in answer["events"]]
        self.host.called |= noting.called
        self.examples.ran.add("waitEvents")

    def commands(self) -> None:
        """A command, its output, its result, what it uses, until it is forgotten."""
        host = self.host
        cmd_id = self.example("runCmd")
        self.assertIn("Linux", self.example("waitCmd", cmd_id=cmd_id)["out"])
        self.assertEqual(self.example("getCmdResults", cmd_id=cmd_id), 0)
        self.assertEqual(self.example("getCmdDetails", cmd_id=cmd_id), "ended")
        self.assertTrue(self.example("getCmdOutput", cmd_id=cmd_id).startswith(b"Linux"))
        self.assertIs(self.example("listFinishedCmds", cmd_id=cmd_id), True)
        self.ok("forgetCmd", cmd_id=cmd_id)
        self.assertNotIn(cmd_id, host.listFinishedCmds())

    def stdin_and_signals(self) -> None:
        """One that reads as it is given, and one that is killed."""
        host = self.host
        cmd_id = host.runCmd(VM, "cat", [], {}, "", "", {"stdinOpen": True})
        self.assertEqual(self.example("sendCmdStdin", cmd_id=cmd_id), len("more of it"))
        self.assertEqual(host.sendCmdStdin(cmd_id, Binary(b"\0")), len("more of it") + 1)
        self.ok("closeCmdStdin", cmd_id=cmd_id)
        self.assertEqual(host.waitCmd(cmd_id, DEADLINE_S)["outBytes"], 11)
        cmd_id = host.runCmd(VM, "sleep", ["4711"])
        until(lambda: host.getCmdDetails(cmd_id)["state"] == "running", "it runs")
        self.assertIn(cmd_id, str(self.example("listCmds")))
        self.ok("killCmd", cmd_id=cmd_id)
        result = host.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual((result["finished"], result["exitCodeOrSignal"]), (False, 9))

    def many_guests(self) -> None:
        """One command in all guests of a pattern."""
        host = self.host
        self.assertEqual(set(self.example("runCmdOnAll")), {VM})
        batch = host.runCmdOnAll("vmctest-g worker *", "hostname")["batch"]
        text = METHODS["waitCmdOnAll"].example
        self.assertIn("['out']", text)
        self.assertTrue(self.example("waitCmdOnAll", batch=batch).strip())

    def files(self) -> None:
        """A file in, a file out, and what is told of both."""
        host = self.host
        (self.daemon.exchange / "job.xml").write_text("<job/>\n")
        self.assertEqual(self.example("cpFileToVM"), ["", "", 0])
        self.daemon.run(VM, "cp", "/tmp/job.xml", "/tmp/result")
        self.assertEqual(self.example("cpFileFromVM"), ["", "", 0])
        self.assertEqual((self.daemon.exchange / "result").read_text(), "<job/>\n")
        self.assertGreaterEqual(self.example("listTransfers"), 0)
        first = host.listTransfers(VM)[0]
        self.assertEqual((first["direction"], first["state"]), ("to-vm", "done"))
        self.assertEqual(host.getTransfer(first["id"])["bytes"], len("<job/>\n"))
        self.example("getTransfer", transfer_id=first["id"])

    def copy_given_up(self) -> None:
        """A large copy, as a task, is cancelled; nothing of it remains."""
        host = self.host
        with (self.daemon.exchange / "large").open("wb") as file:
            for _ in range(200):
                file.write(os.urandom(2**20))
        task_id = host.submit("cpFileToVM", [VM, "large", "/tmp/large"])
        under_way = lambda: [t for t in host.listTransfers(VM) if t["state"] == "running"]  # noqa: E731
        (transfer,) = until(under_way, "the copy is under way")
        self.ok("cancelTransfer", transfer_id=transfer["id"])
        self.assertEqual(host.waitTask(task_id, DEADLINE_S)["state"], "cancelled")
        self.assertEqual(self.daemon.run(VM, "sh", "-c", "ls /tmp/large* | wc -l")["out"], "0\n")

    def tasks(self) -> None:
        """Calls that go on by themselves: watched, waited for, given up; and a guest shut down."""
        host = self.host
        cmd_id = host.runCmd(VM, "sleep", ["4711"])
        task_id = host.submit("waitCmd", [cmd_id, 3600])
        self.assertIn(task_id, [task["id"] for task in host.listTasks()])
        self.assertEqual(self.example("listTasks"), "running")
        self.ok("cancelTask", task_id=task_id)
        self.assertEqual(self.example("waitTask", task_id=task_id), "cancelled")
        task_id = self.example("submit")
        self.assertEqual(host.getTask(task_id)["method"], "shutdown")
        self.assertEqual(self.example("waitTask", task_id=task_id), "done")
        self.assertEqual(self.example("getTask", task_id=task_id), 1.0)
        self.assertIs(host.getTask(task_id)["result"], True)
        self.state("PoweredOff")
        host.start(VM)
        self.up()

    def figures(self) -> None:
        """Numbers with a history, from the hypervisor and from the guest."""
        host = self.host
        until(lambda: host.getStats(VM, "guest.*") and host.getStats(VM, "cpu.*"), "figures")
        self.assertTrue(all(isinstance(each, int) for each in self.example("getPerformanceData")))
        stats = self.example("getStats")
        self.assertTrue(stats and all(each["name"].startswith("cpu.") for each in stats))
        names = {each["name"] for each in host.getPerformanceData(VM)}
        self.assertEqual(names >= {"cpu.time", "balloon.current", "guest.memory.free"}, True, names)

    def screen(self) -> None:
        """How to reach it, what is on it, and what its console has said."""
        self.assertTrue(Path(self.example("getDisplay")).is_socket())
        self.assertEqual(self.host.getDisplay(VM)["kind"], "vnc")
        png = self.example("takeScreenshot")
        self.assertTrue(png.startswith(b"\x89PNG\r\n\x1a\n"))
        self.assertIn("the host has answered", self.example("getConsoleLog"))

    def many_at_once(self) -> None:
        """What a multicall answers is what each call alone does; a Fault of one stops no other."""
        calls = (
            ("getState", [VM]),
            ("getVM", [VM]),
            ("listSnapshots", [VM]),
            ("getState", ["nobody"]),
            ("whoAmI", []),
            ("getDisplay", [VM]),
        )
        answers = self.host.system.multicall(
            [{"methodName": name, "params": params} for name, params in calls]
        )
        for (name, params), answer in zip(calls, answers, strict=True):
            if params == ["nobody"]:
                self.assertTrue(answer["faultString"].startswith("NO_SUCH_VM: "))
            else:
                self.assertEqual(answer, [self.host.call(name, *params)])

    def paused(self) -> None:
        """It stands still, and goes on; by both names."""
        self.ok("pause")
        self.state("Paused")
        self.ok("resume")
        self.state("Running")
        self.host.pause(VM)
        self.assertIs(self.host.unpause(VM), True)
        self.up()

    def snapshots(self) -> None:
        """A tree of two; what was done after the first is gone when it is restored."""
        host = self.host
        self.ok("takeSnapshot")
        self.daemon.run(VM, "touch", "/tmp/after")
        self.assertIs(host.saveSnapshot(VM, "later"), True)
        (child,) = self.example("getSnapshots")
        self.assertEqual((child["name"], child["parent"]), ("later", "before the upgrade"))
        (root,) = host.getSnapshots(VM)
        self.assertEqual((root["description"], root["state"]), ("all is well", "Running"))
        self.assertEqual(self.example("listSnapshots"), ["before the upgrade", "later"])
        self.ok("restoreSnapshot")
        self.state("Running")
        self.up()
        self.assertNotEqual(self.daemon.run(VM, "ls", "/tmp/after")["exitCodeOrSignal"], 0)
        self.ok("deleteSnapshot")
        self.assertEqual(host.listSnapshots(VM), ["later"])
        host.deleteSnapshot(VM, "later")

    def saved(self) -> None:
        """Its memory is on disk, and it goes on from there."""
        before = self.boot_id()
        self.ok("saveState")
        self.state("Saved")
        self.host.start(VM)
        self.up()
        self.assertEqual(self.boot_id(), before)

    def boot_id(self) -> str:
        text: str = self.daemon.run(VM, "cat", "/proc/sys/kernel/random/boot_id")["out"]
        return text

    def asleep(self) -> None:
        """The guest's kernel sleeps; resume wakes it."""
        self.ok("sleep")
        self.state("Paused")
        self.host.resume(VM)
        self.up()

    def ended(self) -> None:
        """Reset, shut down, discarded, powered off, removed."""
        before = self.boot_id()
        self.ok("reset")
        self.up()
        self.assertNotEqual(self.boot_id(), before)
        self.ok("shutdown")
        self.state("PoweredOff")
        self.host.start(VM)
        self.host.saveState(VM)
        self.ok("discardState")
        self.state("PoweredOff")
        self.host.start(VM)
        self.ok("powerOff")
        self.state("PoweredOff")
        self.assertEqual(self.example("removeVM"), [True, VM])
        self.assertRaises(Fault, self.host.getState, VM)
