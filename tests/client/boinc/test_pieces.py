"""The pieces: scripts of the guest, what is kept, what failures mean, the client's thread."""

import mmap
import os
import subprocess
import threading
from dataclasses import replace
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.client.boinc.world import World, fault
from vmcontroller.client.boinc import client_link, script
from vmcontroller.client.boinc.calling import Calling, Hopeless, Interrupted
from vmcontroller.client.boinc.channel import FILE_NAME, MAP_BYTES, Channel, receive, send
from vmcontroller.client.boinc.client_link import ClientLink, alone, attached
from vmcontroller.client.boinc.deciding import Later
from vmcontroller.client.boinc.failures import Again, classify, of_exit_code
from vmcontroller.client.boinc.init_data import InitData
from vmcontroller.client.boinc.job import Task
from vmcontroller.client.boinc.messages import Control, Status
from vmcontroller.client.boinc.progress import (
    Checkpoint,
    Ending,
    Progress,
    Work,
    dump,
    key_of,
    load,
    write_whole,
)
from vmcontroller.client.boinc.script import Place, TaskSeen, TaskState
from vmcontroller.client.errors import NoSuchVM, TimedOut, Unauthorized, Unreachable


class ScriptTests(SynchronousTestCase):
    """The scripts are run by a real sh here: they are all that is in the guest."""

    def setUp(self):
        path = Path(self.mktemp()).resolve()
        path.mkdir(parents=True)
        self.place = Place(directory=str(path), number=0)
        self.path = path

    def run_task(self, task, **more):
        words, environment = script.command(task, self.place, **more)
        return subprocess.run(
            ["sh", *words], env={**os.environ, **environment}, cwd=self.path, check=False
        ).returncode

    def look(self, task=None):
        words = script.probe(task or Task(application="x"), self.place)
        done = subprocess.run(["sh", *words], capture_output=True, text=True, check=True)
        self.assertEqual(done.stderr, "")
        return script.seen(done.stdout)

    def test_a_task(self):
        """Streams are files, the exit code is kept, with the processor time."""
        (self.path / "in").write_text("read\n")
        task = Task(
            application="sh",
            arguments=("-c", 'cat; echo "$A $1"; echo e >&2; exit 3', "x"),
            append_cmdline_args=True,
            stdin_filename="in",
            stdout_filename="out",
            environment=(("A", "$NTHREADS:boinc_resolve(b c):$PWD"),),
        )
        self.assertEqual(self.look(), TaskSeen(state=TaskState.NOTHING))
        self.assertEqual(self.run_task(task, more=["it's more"], threads=4), 3)
        seen = self.look()
        self.assertEqual((seen.state, seen.exit_code, seen.fraction_done), ("ended", 3, 1.0))
        self.assertGreaterEqual(seen.cpu_s, 0)
        self.assertEqual((self.path / "out").read_text(), f"read\n4:b c:{self.path} it's more\n")
        self.assertEqual((self.path / ".boinc-0.stderr").read_text(), "e\n")

    def test_signals_and_what_is_not_there(self):
        """As a shell says it."""
        for arguments, code in ((("-c", "kill -9 $$"), 137), (("-c", "nonsense"), 127)):
            self.assertEqual(self.run_task(Task(application="sh", arguments=arguments)), code)
            self.assertEqual(self.look().exit_code, code)
            (self.path / ".boinc-0.end.runs").unlink()
        self.assertEqual(self.run_task(Task(application="nonsense")), 127)

    def test_once(self):
        """What was begun before, and not forgotten, is not begun again; nor is its end changed."""
        count = Task(application="sh", arguments=("-c", "echo >> count; exit 3"))
        self.assertEqual(self.run_task(count), 3)
        self.assertEqual(self.run_task(count), 125)
        self.assertEqual((self.path / "count").read_text(), "\n")
        self.assertEqual(self.look().exit_code, 3)

    def test_while_it_runs(self):
        """It runs, has used some time, and says how far it is."""
        task = Task(application="sh", fraction_done_filename="f")
        burn = "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo 0.1 >f; echo .25 >>f; cat"
        words, _ = script.command(replace(task, arguments=("-c", burn)), self.place)
        words[words.index("/dev/null")] = "/dev/stdin"
        with subprocess.Popen(
            ["sh", *words], cwd=self.path, stdin=subprocess.PIPE, start_new_session=True
        ) as child:
            seen = self.look(task)
            while seen.fraction_done < 0.25:
                seen = self.look(task)
            child.stdin.close()
        self.assertEqual((seen.state, seen.fraction_done), ("running", 0.25))
        self.assertGreater(seen.cpu_s, 0)
        self.assertEqual(self.look().exit_code, 0)

    def test_another_boot(self):
        """What an earlier boot has left runs no more, though its number may be another's now."""
        (self.path / ".boinc-0.end.runs").write_text(f"{os.getpid()} another-boot\n")
        self.assertEqual(self.look().state, TaskState.NOTHING)

    def test_applications(self):
        """One that was copied is the copy; one without a slash is looked up in the guest's PATH."""
        for application, copied, wanted in (
            ("./a", True, f"{self.path}/a"),
            ("a", True, f"{self.path}/a"),
            ("a", False, "a"),
            ("./a", False, f"{self.path}/./a"),
            ("/bin/a", False, "/bin/a"),
        ):
            task = Task(application=application, copy_app=copied)
            self.assertEqual(script.command(task, self.place)[0][7], wanted)

    @given(st.text(max_size=200) | st.text("ended\nrunning 0123.m)s(fraction", max_size=60))
    def test_a_guest_may_say_anything(self, output):
        """What is read of it is bounded, and a number."""
        seen = script.seen(output)
        self.assertTrue(0 <= seen.exit_code <= 999)
        self.assertGreaterEqual(seen.cpu_s, 0)
        self.assertTrue(seen.fraction_done <= 1)


works = st.builds(
    Work,
    tasks_done=st.integers(0, 9),
    inputs_done=st.booleans(),
    cmd_id=st.text(max_size=3),
    cpu_task_s=st.floats(0, 1e9),
)


class ProgressTests(SynchronousTestCase):
    @given(
        st.builds(
            Progress,
            key=st.text(max_size=3),
            vm=st.text(max_size=3),
            directory=st.text(max_size=3),
            work=works,
            checkpoint=st.none() | st.builds(Checkpoint, name=st.text(max_size=3), work=works),
            stale=st.lists(st.text(max_size=3)).map(tuple),
            ending=st.none() | st.builds(Ending, code=st.integers(0, 255), message=st.text()),
        )
    )
    def test_round_trip(self, progress):
        """What is written down is what is read."""
        self.assertEqual(load(dump(progress)), progress)

    @given(st.text(max_size=50) | st.sampled_from(["{}", "[]", "1", '{"key": 1}', "[" * 5000]))
    def test_damaged(self, text):
        """A damaged file is one clear error."""
        self.assertRaises(ValueError, load, text)

    def test_key(self):
        """Another result, or another job file, is another job."""
        keys = {key_of(*each) for each in (("a", b"b"), ("ab", b""), ("a", b"c"), ("b", b"b"))}
        self.assertEqual(len(keys), 4)

    def test_write(self):
        """A file is replaced whole."""
        path = Path(self.mktemp())
        write_whole(path, "one")
        write_whole(path, "two")
        self.assertEqual(path.read_text(), "two")
        self.assertEqual([each.name for each in path.parent.glob("*.part")], [])


class FailureTests(SynchronousTestCase):
    def test_classes(self):
        """Each failure is for now, for later, or the end."""
        for error, kind, delay_s in (
            (Unreachable("x"), Again, 0),
            (TimedOut("x"), Again, 0),
            (fault("BUSY"), Again, 0),
            (fault("INTERNAL"), Again, 0),
            (fault("TRANSFER_FAILED", "CONNECTION_LOST: x"), Again, 0),
            (fault("TRANSFER_FAILED", "DISK_FULL: x"), Later, 3600),
            (fault("TRANSFER_FAILED", "IS_A_DIRECTORY: x"), Ending, 0),
            (fault("IMAGE_IN_USE"), Later, 300),
            (fault("HYPERVISOR_ERROR"), Later, 300),
            (fault("ACCESS_DENIED"), Later, 3600),
            (Unauthorized("x"), Later, 3600),
            (fault("BAD_IMAGE"), Ending, 0),
        ):
            verdict = classify(error, failures=1, failing_for_s=0)
            self.assertIsInstance(verdict, kind, error)
            self.assertEqual(getattr(verdict, "delay_s", 0), delay_s)
        later = classify(fault("BUSY"), failures=1, failing_for_s=120)
        self.assertEqual(later, Later(300, "BUSY: "))
        self.assertIsInstance(
            classify(fault("HYPERVISOR_ERROR"), failures=6, failing_for_s=0), Ending
        )

    def test_exit_codes(self):
        """0 is well; what the job names is for later; a signal is told as one."""
        self.assertIsNone(of_exit_code(0, frozenset(), timed_out=False))
        self.assertIsInstance(of_exit_code(75, frozenset({75}), timed_out=False), Later)
        self.assertIn("signal 9", of_exit_code(137, frozenset(), timed_out=False).message)
        self.assertEqual(of_exit_code(0, frozenset(), timed_out=True).code, 197)


class ClientLinkTests(SynchronousTestCase):
    def setUp(self):
        self.buffer = bytearray(MAP_BYTES)
        self.now_s = 0.0
        self.alive = True

    def link(self, **told):
        return ClientLink(
            self.buffer,
            InitData(**told),
            now_s=lambda: self.now_s,
            lives=lambda pid: self.alive,
        )

    def turn(self, link, seconds):
        for _ in range(round(seconds * 10)):
            self.now_s += 0.1
            link.turn()

    def test_what_it_hears(self):
        """What the client says is what it wants, at the next turn; and it wakes who rests."""
        link = self.link(client_pid=1)
        for message, wanted in (
            ("<suspend/>", Control(suspended=True)),
            ("<resume/>", Control()),
            ("<quit/>", Control(quit=True)),
        ):
            send(self.buffer, Channel.PROCESS_CONTROL_REQUEST, message)
            self.turn(link, 0.1)
            self.assertEqual(link.control, wanted)
            link.rest(3600)

    def test_what_it_says(self):
        """The newest status, once a second, when the one before was taken; none while suspended."""
        link = self.link(client_pid=1, fraction_done_start=0.5)
        self.turn(link, 2)
        self.assertIsNone(receive(self.buffer, Channel.APP_STATUS))
        link.report(Status(fraction_done=0.1))
        self.turn(link, 1)
        link.report(Status(fraction_done=0.2))
        self.turn(link, 2)
        self.assertIn("<fraction_done>5.5", receive(self.buffer, Channel.APP_STATUS))
        self.turn(link, 1)
        self.assertIn("<fraction_done>6.0", receive(self.buffer, Channel.APP_STATUS))
        send(self.buffer, Channel.PROCESS_CONTROL_REQUEST, "<suspend/>")
        self.turn(link, 3)
        self.assertIsNone(receive(self.buffer, Channel.APP_STATUS))

    def test_heartbeats(self):
        """An old client that is silent for half a minute is gone."""
        link = self.link()
        for _ in range(10):
            self.turn(link, 20)
            send(self.buffer, Channel.HEARTBEAT, "<heartbeat/>")
        self.turn(link, 29)
        self.assertFalse(link.control.gone)
        self.turn(link, 2)
        self.assertTrue(link.control.gone)

    def test_client_ends(self):
        """A client whose process has ended is gone, within ten seconds."""
        link = self.link(client_pid=1)
        self.turn(link, 60)
        self.assertFalse(link.control.gone)
        self.alive = False
        self.turn(link, 11)
        self.assertTrue(link.control.gone)

    def test_last_words(self):
        """The last status is said when it stops, also where nobody takes it any more."""
        link = self.link(client_pid=1)
        link.report(Status(fraction_done=1))
        link.stop()
        self.assertIn("<fraction_done>1.0", receive(self.buffer, Channel.APP_STATUS))
        send(self.buffer, Channel.APP_STATUS, "not taken")
        link._now_s = iter(range(100)).__next__
        link.stop()
        self.assertEqual(receive(self.buffer, Channel.APP_STATUS), "not taken")

    def test_processes(self):
        """A process is there or not, whoever's it is."""
        self.assertTrue(client_link.is_alive(os.getpid()))
        self.assertTrue(client_link.is_alive(1))
        self.assertFalse(client_link.is_alive(2**22 - 1))

    def test_attached(self):
        """The channels are a mapped file; without it, or too short, there is no client."""
        slot = Path(self.mktemp())
        slot.mkdir(parents=True)
        told = InitData(client_pid=os.getpid())
        self.assertIsNone(attached(slot, None))
        self.assertIsNone(attached(slot, told))
        (slot / FILE_NAME).write_bytes(bytes(100))
        self.assertIsNone(attached(slot, told))
        (slot / FILE_NAME).write_bytes(bytes(MAP_BYTES))
        link = attached(slot, told)
        with (slot / FILE_NAME).open("r+b") as file, mmap.mmap(file.fileno(), 0) as theirs:
            send(theirs, Channel.PROCESS_CONTROL_REQUEST, "<abort/>")
            link.turn()
            self.assertTrue(link.control.abort)
            self.assertEqual(theirs[0], 0)

    def test_alone(self):
        """Without a client nobody wants anything, but whoever sends a signal."""
        link = alone()
        link.turn()
        self.assertFalse(link.control.ends)
        link.ask_to_quit()
        self.assertTrue(link.control.quit)

    def test_thread(self):
        """It runs until it is stopped."""
        link = self.link(client_pid=1)
        thread = threading.Thread(target=link.run)
        thread.start()
        link.stop()
        thread.join(10)
        self.assertFalse(thread.is_alive())


class CallingTests(SynchronousTestCase):
    def test_long_calls(self):
        """Errors come where one waits; one that is to end does not wait."""
        world = World()
        error = self.assertRaises(NoSuchVM, Calling(world).long, "getState", "v")
        self.assertEqual(error.detail, "v")
        release = threading.Event()
        world.call = lambda *_, wait_s: release.wait(10)
        self.addCleanup(release.set)
        calling = Calling(world, lambda: True)
        self.assertRaises(Interrupted, calling.long, "createVM")

    def test_small_commands(self):
        """One that has to succeed, and does not, is the end of the job."""
        world = World()
        answers = {
            "runCmd": "id",
            "waitCmd": {"state": "ended", "exitCodeOrSignal": 1, "err": "no space"},
            "forgetCmd": True,
        }
        world.call = lambda method, *_, wait_s=0: answers[method]
        hopeless = self.assertRaises(Hopeless, Calling(world).must, "v", "mkdir", ["x"])
        self.assertEqual(hopeless.ending.message, "in the guest: mkdir: no space")
