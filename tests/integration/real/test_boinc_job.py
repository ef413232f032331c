"""A BOINC job on a real guest: suspended, checkpointed, quit, killed and lost, and done in the end.

The guest's image is that of scripts/guest-image; the test plays BOINC's client.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.boinc_client import BoincClient
from tests.integration.daemon import DEADLINE_S, Daemon, until

VM = "vmctest-g-boinc"
STEPS = 300

WORKER = """#!/bin/sh
# Each step takes some processor time, and says in three files how far it is. All of them take
# minutes, unless the test has seen enough: then there is a file `hurry`.
echo "begun $(cat input)" >> log
step=0
while [ $step -lt "$1" ]; do
    step=$((step + 1))
    i=0
    while [ $i -lt 2000 ]; do i=$((i + 1)); done
    echo "step $step"
    echo "$step" >> log
    echo "$((step / $1)).$(printf %03d $((step * 1000 / $1 % 1000)))" > progress
    [ -e hurry ] || sleep 0.5
done
cp log result
"""

JOB = f"""<job_desc>
    <vm><name>{VM}</name><image>disk.qcow2</image><clone>1</clone><memory>384</memory></vm>
    <checkpoint_period>4</checkpoint_period>
    <task>
        <application>worker.sh</application><copy_app>1</copy_app>
        <command_line>{STEPS}</command_line>
        <copy_file_to_VM>input</copy_file_to_VM>
        <stdout_filename>out</stdout_filename>
        <copy_file_from_VM>result</copy_file_from_VM>
        <fraction_done_filename>progress</fraction_done_filename>
        <weight>9</weight>
    </task>
    <task>
        <application>sha256sum</application><command_line>result</command_line>
        <stdout_filename>digest</stdout_filename>
    </task>
</job_desc>
"""


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class RealJobTests(SynchronousTestCase):
    """One daemon, one image, and a VM for each job."""

    def setUp(self) -> None:
        self.daemon = Daemon("libvirt", config="guests: {gc_grace: 60}\n").start()
        atexit.register(self.daemon.stop)
        self.addCleanup(self.daemon.stop)
        self.api: Any = self.daemon.api
        self.base = self.daemon.dir / "base.qcow2"
        shutil.copyfile(Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "disk.qcow2", self.base)

    def client(self, text: str, files: dict[str, str]) -> BoincClient:
        client = BoincClient(self.daemon.exchange / "slot", self.daemon.url, text, files)
        self.addCleanup(client.close)
        link = f"<soft_link>{self.base}</soft_link>\n"  # as the client links to a project's file
        (client.slot / "disk.qcow2").write_text(link)
        return client

    def start(self, client: BoincClient) -> None:
        client.start("--checkpoint-offset", "0", checkpoint_period=4.0)

    def test_a_job_through_everything(self) -> None:
        """Whatever happens to wrapper and VM, each step is done once in what comes out."""
        before = digest(self.base)
        client = self.client(JOB, {"worker.sh": WORKER, "input": "with an input\n"})
        outputs = {name: client.link(name) for name in ("out", "result", "digest")}
        self.start(client)
        client.until_status(lambda s: s["fraction_done"] > 0.01, "it is at work")
        self.suspended(client)
        self.checkpointed(client)
        self.quit(client)
        self.lost(client)
        self.hurry(client)
        self.assertEqual(client.wait(5 * DEADLINE_S), 0, client.stderr())
        self.assertEqual(client.finished(), "0\n")
        steps = [str(step) for step in range(1, STEPS + 1)]
        log = outputs["result"].read_text().splitlines()
        self.assertEqual(log, ["begun with an input", *steps])
        said = outputs["out"].read_text().splitlines()
        self.assertEqual(said, [f"step {step}" for step in steps])
        self.assertTrue(outputs["digest"].read_text().startswith(digest(outputs["result"])))
        self.figures(client)
        self.assertNotIn(VM, self.api.listVMs())
        self.assertEqual(digest(self.base), before)

    def suspended(self, client: BoincClient) -> None:
        """It stands still while it is suspended."""
        client.say("<suspend/>")
        until(lambda: self.api.getState(VM) == "Paused", "it is paused")
        client.say("<resume/>")
        until(lambda: self.api.getState(VM) == "Running", "it runs")

    def checkpointed(self, client: BoincClient) -> None:
        """There is one snapshot, the newest; the client is told what is safe in it."""
        client.until_status(lambda s: s["checkpoint_cpu_time"] > 0, "there is a checkpoint")
        first = client.progress()["checkpoint"]["name"]
        until(
            lambda: client.status() is None and client.progress()["checkpoint"]["name"] != first,
            "there is another one",
            3 * DEADLINE_S,
        )
        until(lambda: client.progress()["stale"] == [], "the older one is deleted")
        self.assertEqual(self.api.listSnapshots(VM), [client.progress()["checkpoint"]["name"]])

    def quit(self, client: BoincClient) -> None:
        """A wrapper that quits saves the VM; the next goes on with the same command."""
        client.say("<quit/>")
        self.assertEqual(client.wait(), 0)
        self.assertEqual(self.api.getState(VM), "Saved")
        cmd_id = client.progress()["work"]["cmd_id"]
        self.start(client)
        until(lambda: self.api.getState(VM) == "Running", "it goes on")
        far = 0.9 * client.progress()["work"]["fraction_task"]
        client.until_status(lambda s: s["fraction_done"] > far + 0.01, "it gets further")
        self.assertEqual(client.progress()["work"]["cmd_id"], cmd_id)

    def lost(self, client: BoincClient) -> None:
        """The host loses its power: the job goes on from the checkpoint, not from the beginning."""
        client.kill()
        self.api.powerOff(VM)
        self.start(client)
        until(lambda: "went back to the checkpoint" in client.stderr(), "it goes back")
        self.assertEqual(client.stderr().count("runs in"), 1)

    def hurry(self, client: BoincClient) -> None:
        self.api.ping(VM, DEADLINE_S)
        self.daemon.run(VM, "touch", f"{client.progress()['directory']}/hurry")

    def figures(self, client: BoincClient) -> None:
        """What the client was told makes sense, to the last message."""
        last = client.seen[-1]
        self.assertEqual(last["fraction_done"], 1.0)
        self.assertGreater(last["current_cpu_time"], 1.0)
        for each in client.seen:
            self.assertTrue(0 <= each["fraction_done"] <= 1)
            self.assertGreaterEqual(each["current_cpu_time"], each["checkpoint_cpu_time"])

    def test_exit_code(self) -> None:
        """A task that fails in the guest is the end of the job; nothing of its VM remains."""
        text = JOB.replace("<application>sha256sum", "<application>false")
        text = text.replace(f">{STEPS}<", ">1<")
        client = self.client(text, {"worker.sh": WORKER, "input": "x"})
        client.start()
        self.assertEqual(client.wait(), 195, client.stderr())
        self.assertIn("exit code 1", client.finished())
        self.assertNotIn(VM, self.api.listVMs())
