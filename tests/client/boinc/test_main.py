"""The program: what it reads and leaves in a slot, and how it ends."""

import fcntl
import json
import os
import runpy
import sys
from pathlib import Path
from unittest import mock

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from tests.client.boinc.world import World
from vmcontroller.client.boinc import main as program
from vmcontroller.client.boinc import slot as slot_module
from vmcontroller.client.boinc.progress import Ending, dump, fresh
from vmcontroller.client.boinc.slot import Slot

JOB = """<job_desc><vm><image>i</image></vm><nothing/>
<task><application>one</application></task></job_desc>"""


class Daemon(World):
    """A daemon in memory whose time passes by itself."""

    def __init__(self, *_, **options):
        super().__init__()
        self.options = options
        self.duration_s = 0.0

    def do_ping(self, vm, timeout_s):
        self.machines[vm].guest.up_in_s = 0.0
        return super().do_ping(vm, timeout_s)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


class MainTests(SynchronousTestCase):
    def setUp(self):
        self.slot = Path(self.mktemp()).resolve()
        self.slot.mkdir(parents=True)
        (self.slot / "job.xml").write_text(JOB)
        self.daemon = Daemon()
        before = os.getcwd()
        os.chdir(self.slot)
        self.addCleanup(os.chdir, before)
        self.patch(program, "Client", self.client)
        self.patch(program.signal, "signal", lambda *_: None)

    def client(self, url, **options):
        if url == "bad":
            raise ValueError("no such URL")
        self.daemon.options = options
        return self.daemon

    def run_it(self, *arguments):
        return CliRunner().invoke(program.main, ["--stderr", *arguments]).exit_code

    def test_a_job(self):
        """It ends with a file that says so; the next start is over at once."""
        self.assertEqual(self.run_it(), 0)
        self.assertEqual((self.slot / "boinc_finish_called").read_text(), "0\n")
        self.assertEqual(self.daemon.machines, {})
        self.assertEqual(self.daemon.options, {"token": "", "ca": "", "reason": "BOINC job"})
        calls = len(self.daemon.calls)
        self.assertEqual(self.run_it(), 0)
        self.assertEqual(len(self.daemon.calls), calls + 1)

    def test_options(self):
        """A token is read from a file; what is not ours is the task's."""
        (self.slot / "token").write_text("secret\n")
        self.assertEqual(self.run_it("--token-file", "token", "--nthreads", "3", "--foo", "bar"), 0)
        self.assertEqual(self.daemon.options["token"], "secret")

    def test_another_job_in_the_slot(self):
        """What another job has left is removed before this one begins."""
        old = fresh(key="other", name="theirs", directory="")
        (self.slot / "vmcontroller_boinc.json").write_text(
            dump(old).replace('"made": false', '"made": true')
        )
        self.daemon.do_createVM("theirs", "", {})
        self.assertEqual(self.run_it(), 0)
        self.assertEqual(self.daemon.machines, {})
        self.assertIn("createVM", self.daemon.calls)

    def test_damaged_progress(self):
        """A file that can't be read is as none."""
        (self.slot / "vmcontroller_boinc.json").write_text("{")
        self.assertEqual(self.run_it(), 0)

    def test_no_job_file(self):
        """Without a job there is nothing to do, for good."""
        (self.slot / "job.xml").unlink()
        self.assertEqual(self.run_it(), 206)
        self.assertTrue((self.slot / "boinc_finish_called").read_text().startswith("206\n"))

    def test_bad_options_of_the_client(self):
        """What the operator of this host must mend is for later."""
        self.assertEqual(self.run_it("--url", "bad"), 0)
        self.assertEqual((self.slot / "boinc_temporary_exit").read_text(), "3600\nno such URL\n")
        self.assertEqual(self.run_it("--token-file", "nowhere"), 0)

    def test_slot_is_taken(self):
        """Another wrapper in the slot is left alone; this one is for later."""
        self.patch(slot_module, "LOCK_S", 0.0)
        with mock.patch.object(fcntl, "lockf", side_effect=BlockingIOError):
            self.assertEqual(self.run_it(), 0)
        self.assertTrue((self.slot / "boinc_temporary_exit").read_text().startswith("600\n"))
        self.assertEqual(self.daemon.calls, [])

    def test_aborted(self):
        """An aborted job leaves no file that says that it is done."""
        self.assertEqual(Slot(self.slot).finish(Ending(code=194)), 194)
        self.assertFalse((self.slot / "boinc_finish_called").exists())

    def test_told(self):
        """Without init_data.xml there is no client."""
        self.assertIsNone(Slot(self.slot).told())
        (self.slot / "init_data.xml").write_text("<app_init_data><slot>1</slot></app_init_data>")
        self.assertEqual(Slot(self.slot).told().client_pid, 0)

    def test_stderr_file(self):
        """What is written for people is appended to the file that the client reads."""
        kept = os.dup(2)
        try:
            slot_module.into_stderr_file(self.slot)
            os.write(2, b"for people\n")
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        self.assertEqual((self.slot / "stderr.txt").read_text(), "for people\n")

    def test_progress_file(self):
        """It is JSON that a person can read."""
        self.run_it()
        told = json.loads((self.slot / "vmcontroller_boinc.json").read_text())
        self.assertEqual(told["ending"]["code"], 0)

    def test_module(self):
        """`python -m vmcontroller.client.boinc` is the same program."""
        with mock.patch.object(sys, "argv", ["x", "--help"]), self.assertRaises(SystemExit):
            runpy.run_module("vmcontroller.client.boinc", run_name="__main__")
