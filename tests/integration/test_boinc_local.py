"""BOINC jobs on the backend `local`: real processes, and quick; the test plays BOINC's client."""

from __future__ import annotations

import atexit
import subprocess
import sys
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.boinc_client import BoincClient
from tests.integration.daemon import DEADLINE_S, Daemon, until

_running: list[Daemon] = []


def running() -> Daemon:
    """Return one daemon for all tests of this module."""
    if not _running:
        daemon = Daemon("local").start()
        atexit.register(daemon.stop)
        _running.append(daemon)
    return _running[0]


def job(task: str, vm: str = "<image/><name>vmctest-g</name>", more: str = "") -> str:
    return f"<job_desc><vm>{vm}<clone>0</clone></vm>{more}{task}</job_desc>"


WORKER = """#!/bin/sh
read -r count
for i in $(seq "$count"); do
    echo "step $i of $count in $PWD, $1 $2, $COLOUR"
    awk "BEGIN { print $i / $count }" > progress
    sleep 0.2
done
awk 'BEGIN { while (i < 2e7) i++ }'
cat extra > result
echo done >&2
"""

TASK = """
<task>
    <application>worker.sh</application><copy_app_to_VM>1</copy_app_to_VM>
    <command_line>'a b' $NTHREADS</command_line><setenv>COLOUR=red</setenv>
    <stdin_filename>input</stdin_filename><stdout_filename>out</stdout_filename>
    <stderr_filename>err</stderr_filename><copy_file_to_VM>extra</copy_file_to_VM>
    <copy_file_from_VM>result</copy_file_from_VM>
    <fraction_done_filename>progress</fraction_done_filename>
</task>
"""
FILES = {"worker.sh": WORKER, "input": "5\n", "extra": "more\n"}


class LocalJobTests(SynchronousTestCase):
    """One job each, in a slot and a VM of its own."""

    def setUp(self) -> None:
        self.daemon = running()
        self.api = self.daemon.api
        self.addCleanup(self.no_orphans)

    def no_orphans(self) -> None:
        """No VM is left when a job is done."""
        self.assertEqual(self.api.listVMs(), self.kept)

    kept: list[str] = []  # noqa: RUF012 - replaced, never changed

    def client(self, text: str, files: dict[str, str] | None = None) -> BoincClient:
        slot = self.daemon.exchange / self._testMethodName
        client = BoincClient(slot, self.daemon.url, text, files or {})
        self.addCleanup(client.close)
        return client

    def test_a_job(self) -> None:
        """Inputs go in through soft links, the task runs, outputs come out through soft links."""
        client = self.client(job(TASK), FILES)
        outputs = {name: client.link(name) for name in ("out", "err", "result")}
        client.start()
        self.assertEqual(client.wait(), 0, client.stderr())
        self.assertEqual(client.finished(), "0\n")
        self.assertEqual(client.later(), "")
        lines = outputs["out"].read_text().splitlines()
        self.assertEqual(len(lines), 5)
        self.assertIn("a b 2, red", lines[-1])
        self.assertEqual(outputs["err"].read_text(), "done\n")
        self.assertEqual(outputs["result"].read_text(), "more\n")
        self.assertEqual(client.seen[-1]["fraction_done"], 1.0)
        self.assertGreater(client.seen[-1]["current_cpu_time"], 0.2)
        fractions = [each["fraction_done"] for each in client.seen]
        self.assertEqual(fractions, sorted(fractions))

    def test_tasks_in_order_with_weights(self) -> None:
        """A later task finds what an earlier one has left; the weights say how much is done."""
        text = job(
            "<task><application>sh</application><weight>3</weight>"
            "<command_line>-c 'echo one > shared; sleep 2'</command_line></task>"
            "<task><application>sh</application><stdout_filename>out</stdout_filename>"
            "<command_line>-c 'cat shared; sleep 4'</command_line></task>"
        )
        client = self.client(text)
        client.start()
        client.until_status(lambda s: s["fraction_done"] == 0.75, "three quarters are done")
        self.assertEqual(client.wait(), 0, client.stderr())
        self.assertEqual((client.slot / "out").read_text(), "one\n")

    def test_exit_code(self) -> None:
        """A task that fails is the end of the job; its code and its stderr are told."""
        text = job(
            "<task><application>sh</application>"
            "<command_line>-c 'echo why &gt;&amp;2; exit 7'</command_line></task>"
            "<task><application>true</application></task>"
        )
        client = self.client(text)
        client.start()
        self.assertEqual(client.wait(), 195)
        self.assertEqual(
            client.finished().splitlines()[:2], ["195", "the task ended with exit code 7"]
        )
        self.assertIn("why", client.stderr())

    def test_a_program_that_is_not_there(self) -> None:
        """So is one that can't be run, or is killed by a signal."""
        for command, says in (("nonsense", "exit code 127"), ("kill -9 $$", "signal 9")):
            line = f"<command_line>-c '{command}'</command_line>"
            client = self.client(job(f"<task><application>sh</application>{line}</task>"))
            client.start()
            self.assertEqual(client.wait(), 195, client.stderr())
            self.assertIn(says, client.finished())
            client.close()

    def test_try_again_later(self) -> None:
        """After an exit code that the job names for it, the client starts it again later."""
        script = "if [ -e /tmp/vmctest-g ]; then exit 0; fi; touch /tmp/vmctest-g; exit 75"
        text = job(
            "<task><application>sh</application><retry_exit_code>75</retry_exit_code>"
            f"<command_line>-c '{script}'</command_line></task>"
            "<task><application>rm</application><command_line>/tmp/vmctest-g</command_line></task>"
        )
        client = self.client(text)
        client.start()
        self.assertEqual(client.wait(), 0)
        self.assertEqual(client.later().splitlines()[0], "300")
        self.assertEqual(client.finished(), "")
        self.assertEqual(self.api.getState("vmctest-g"), "Paused")
        client.start()
        self.assertEqual(client.wait(), 0, client.stderr())
        self.assertEqual(client.finished(), "0\n")

    def test_time_limit(self) -> None:
        """A task that takes longer than it may is ended, with BOINC's own code."""
        text = job(
            "<task><application>sleep</application><command_line>4711</command_line>"
            "<time_limit>1</time_limit></task>"
        )
        client = self.client(text)
        client.start()
        self.assertEqual(client.wait(), 197, client.stderr())

    def test_missing_files(self) -> None:
        """An input or an output that is not there is final, and named."""
        for task, says in (
            ("<copy_file_to_VM>nowhere</copy_file_to_VM>", "nowhere"),
            ("<copy_file_from_VM>never</copy_file_from_VM>", "never"),
        ):
            client = self.client(job(f"<task><application>true</application>{task}</task>"))
            client.start()
            self.assertEqual(client.wait(), 195, client.stderr())
            self.assertIn(says, client.finished())
            client.close()

    def test_bad_job_files(self) -> None:
        """A job file that can't be used is final; nothing is made."""
        for text, says in (
            ("<job_desc></job_desc>", "<task>"),
            ('<!DOCTYPE x [<!ENTITY y "z">]><job_desc/>', "document type"),
            ("<job_desc>", "well-formed"),
        ):
            client = self.client(text)
            client.start()
            self.assertEqual(client.wait(), 206)
            self.assertIn(says, client.finished())
            client.close()

    def test_no_daemon(self) -> None:
        """A wrapper that is to end does, although there is no daemon; the job is for later."""
        client = self.client(job("<task><application>true</application></task>"))
        client.url = "http://127.0.0.1:9"
        client.start()
        client.say("<quit/>")
        self.assertEqual(client.wait(10), 0)
        self.assertEqual(client.finished(), "")

    def test_no_such_image(self) -> None:
        """An image that is not there is final."""
        text = job("<task><application>true</application></task>", "<image>/nowhere/at/all</image>")
        client = self.client(text)
        client.start()
        self.assertEqual(client.wait(), 206, client.stderr())
        self.assertIn("NO_SUCH_IMAGE", client.finished())

    def begin_sleeper(self, seconds: float = 6) -> BoincClient:
        text = job(
            "<task><application>sh</application><stdout_filename>out</stdout_filename>"
            f"<command_line>-c 'echo begun; sleep {seconds}; echo over'</command_line></task>"
        )
        client = self.client(text)
        client.start()
        until(lambda: client.progress().get("work", {}).get("cmd_id"), "it runs")
        return client

    def test_suspend_and_resume(self) -> None:
        """A suspended job stands still; it says nothing then."""
        client = self.begin_sleeper()
        client.say("<suspend/>")
        until(lambda: self.api.getState("vmctest-g") == "Paused", "it is paused")
        client.status()
        client.say("<resume/>")
        until(lambda: self.api.getState("vmctest-g") == "Running", "it runs")
        self.assertEqual(client.wait(), 0, client.stderr())
        self.assertEqual((client.slot / "out").read_text(), "begun\nover\n")

    def test_quit_and_start_again(self) -> None:
        """One that quits leaves a VM at rest, and the next goes on with the same command."""
        client = self.begin_sleeper()
        cmd_id = client.progress()["work"]["cmd_id"]
        client.say("<quit/>")
        self.assertEqual(client.wait(), 0)
        self.assertEqual((client.finished(), client.later()), ("", ""))
        self.assertEqual(self.api.getState("vmctest-g"), "Paused")
        client.start()
        self.assertEqual(client.progress()["work"]["cmd_id"], cmd_id)
        self.assertEqual(client.wait(), 0, client.stderr())
        self.assertEqual((client.slot / "out").read_text(), "begun\nover\n")

    def test_killed_and_started_again(self) -> None:
        """A wrapper that is killed loses nothing: the next takes up the VM and the command."""
        client = self.begin_sleeper(3)
        client.kill()
        client.start()
        self.assertEqual(client.wait(), 0, client.stderr())
        self.assertEqual((client.slot / "out").read_text(), "begun\nover\n")
        self.assertEqual(client.stderr().count("runs in"), 1)

    def test_killed_again_and_again(self) -> None:
        """Wherever it is killed, a job comes to its end, and leaves no VM."""
        task = "<application>true</application><stdout_filename>out</stdout_filename>"
        client = self.client(job(f"<task>{task}</task>"))
        for tenths in range(3, 30):  # the moment moves on from its first step to its last
            client.start()
            time.sleep(tenths / 10)
            client.kill()
            if client.finished():
                break
        self.assertEqual(client.finished(), "0\n")

    def test_a_vm_of_its_own(self) -> None:
        """Without a name a job's VM gets one that no other job has."""
        task = "<task><application>sleep</application><command_line>2</command_line></task>"
        client = self.client(job(task, "<image/>"))
        client.start()
        (vm,) = until(self.api.listVMs, "its VM is made")
        self.assertRegex(vm, "^boinc_[0-9a-f]{16}$")
        self.assertEqual(client.wait(), 0, client.stderr())

    def test_a_job_that_was_dropped(self) -> None:
        """The VM of a job whose slot was cleared meanwhile is removed by the client's next job."""
        task = "<task><application>sleep</application><command_line>4711</command_line></task>"
        client = self.client(job(task, "<image/>"))
        client.start()
        (vm,) = until(self.api.listVMs, "its VM is made")
        until(lambda: client.progress()["work"]["cmd_id"], "it runs")
        client.say("<quit/>")
        self.assertEqual(client.wait(), 0)
        client.close()
        self.assertEqual(self.api.listVMs(), [vm])
        client = self.client(job("<task><application>true</application></task>", "<image/>"))
        client.start()
        self.assertEqual(client.wait(), 0, client.stderr())
        self.assertIn(f"'{vm}' is left of a job that was dropped", client.stderr())

    def test_abort(self) -> None:
        """An aborted job leaves no VM."""
        client = self.begin_sleeper(4711)
        client.say("<abort/>")
        self.assertEqual(client.wait(), 194)

    def test_client_is_gone(self) -> None:
        """Without its client a wrapper ends, and the VM is at rest."""
        text = job("<task><application>sleep</application><command_line>4711</command_line></task>")
        client = self.client(text)
        client.start(client_pid=2**22 - 1)
        self.assertEqual(client.wait(), 0)
        self.assertNotEqual(self.api.listVMsWithState().get("vmctest-g", "Paused"), "Running")
        client.start()
        client.say("<abort/>")
        self.assertEqual(client.wait(), 194)

    def test_vm_is_powered_off(self) -> None:
        """Work that was lost with its VM is done again."""
        client = self.begin_sleeper(2)
        self.api.powerOff("vmctest-g")
        self.assertEqual(client.wait(), 0, client.stderr())
        self.assertIn("begins anew", client.stderr())
        self.assertEqual((client.slot / "out").read_text(), "begun\nover\n")

    def test_vm_that_was_there(self) -> None:
        """A VM that is not the job's own is left as it was found, without the job's files."""
        self.api.createVM("vmctest-there", "")
        self.kept = ["vmctest-there"]
        text = job(
            "<task><application>pwd</application><stdout_filename>out</stdout_filename></task>",
            "<name>vmctest-there</name>",
        )
        client = self.client(text)
        client.start()
        self.assertEqual(client.wait(), 0, client.stderr())
        self.assertEqual(self.api.getState("vmctest-there"), "PoweredOff")
        self.api.start("vmctest-there")
        self.api.ping("vmctest-there", 60)
        left = self.daemon.run("vmctest-there", "ls", (client.slot / "out").read_text().strip())
        self.assertNotEqual(left["exitCodeOrSignal"], 0)
        self.api.powerOff("vmctest-there")
        self.api.removeVM("vmctest-there")
        self.kept = []

    def test_no_vm(self) -> None:
        """A VM that is not there, and can't be made, is final."""
        client = self.client(
            job("<task><application>true</application></task>", "<name>nobody</name>")
        )
        client.start()
        self.assertEqual(client.wait(), 206)
        self.assertIn("'nobody'", client.finished())

    def test_two_in_one_slot(self) -> None:
        """A second wrapper in the same slot waits for the first, and does nothing twice."""
        client = self.begin_sleeper(2)
        first = client.process
        assert first is not None
        command = [sys.executable, "-m", "vmcontroller.client.boinc", "--url", client.url]
        second = subprocess.Popen(command, cwd=client.slot)
        self.assertEqual(client.wait(), 0, client.stderr())
        self.assertEqual(second.wait(DEADLINE_S), 0)
        self.assertEqual(client.stderr().count("runs in"), 1)
