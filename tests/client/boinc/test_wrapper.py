"""The whole loop, on a daemon in memory: what becomes of a job whatever happens to it."""

from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.client.boinc.world import Client, Killed, Machine, World, fault
from vmcontroller.client.boinc.calling import Calling
from vmcontroller.client.boinc.deciding import Finish, Leave
from vmcontroller.client.boinc.doing import Doing
from vmcontroller.client.boinc.job import parse_job
from vmcontroller.client.boinc.looking import Looking
from vmcontroller.client.boinc.messages import Control
from vmcontroller.client.boinc.progress import Ending, dump, fresh, load
from vmcontroller.client.boinc.tasks import Tasks
from vmcontroller.client.boinc.wrapper import Parts, Wrapper
from vmcontroller.client.errors import Unauthorized, Unreachable

JOB = b"""<job_desc><vm><image>i</image>%s</vm>
<task><application>one</application><copy_app/><stdout_filename>out</stdout_filename></task>
<task><application>two</application><copy_file_from_VM>result</copy_file_from_VM>
<retry_exit_code>75</retry_exit_code></task></job_desc>"""


class Slot:
    """One job in one slot: wrappers come and go, what they have written down stays."""

    def __init__(self, job=JOB % b"", period_s=4.0):
        self.world = World()
        self.client = Client(self.world)
        self.job = parse_job(job)
        self.kept = dump(fresh(key="k" * 64, name=self.job.vm.name, directory=""))
        self.said = []
        self.period_s = period_s

    @property
    def progress(self):
        return load(self.kept)

    def keep(self, progress):
        self.kept = dump(progress)

    def run(self):
        """Start a wrapper; return how it ended, None when it was killed."""
        calling = Calling(self.world, lambda: self.client.control.ends)
        tasks = Tasks(
            calling, self.job, slot=Path("/tmp/slot"), say=self.said.append, more=(), threads=1
        )
        doing = Doing(
            calling, self.job, tasks, slot=Path("/tmp/slot"), keep=self.keep, say=self.said.append
        )
        parts = Parts(
            job=self.job,
            looking=Looking(self.world, self.job, now_s=lambda: self.world.now_s),
            doing=doing,
            link=self.client,
            keep=self.keep,
            say=self.said.append,
        )
        wrapper = Wrapper(
            parts,
            self.progress,
            period_s=self.period_s,
            offset_s=0,
            now_s=lambda: self.world.now_s,
        )
        try:
            return wrapper.run()
        except Killed:
            return None


DONE = Finish(Ending(code=0))


class WrapperTests(SynchronousTestCase):
    def setUp(self):
        self.slot = Slot()
        self.world = self.slot.world
        self.client = self.slot.client

    def done(self, end):
        self.assertEqual(end, DONE, self.slot.said)
        self.assertEqual(self.world.machines, {})
        self.assertEqual(set(self.world.outputs), {"out", "result"})

    def test_a_job(self):
        """It ends well, the VM is gone, and the client was told more and more."""
        self.done(self.slot.run())
        fractions = [status.fraction_done for status in self.client.told]
        self.assertEqual(fractions, sorted(fractions))
        self.assertEqual(fractions[-1], 1.0)
        self.assertEqual(self.client.told[-1].cpu_s, 21.0)
        self.assertEqual(self.world.commands, {})

    def test_checkpoints(self):
        """One at a time, the older deleted after the newer is noted; the client is told of it."""
        kept = []
        self.client.events = [(each, self.note(kept)) for each in range(1, 30)]
        self.done(self.slot.run())
        self.assertTrue(any(kept))
        self.assertLessEqual(max(map(len, kept)), 1)
        self.assertGreater(self.client.told[-1].checkpoint_cpu_s, 0)
        self.assertGreaterEqual(self.world.calls.count("takeSnapshot"), 3)

    def note(self, kept):
        def note(client):
            for machine in self.world.machines.values():
                kept.append(list(machine.snapshots))

        return note

    def test_power_is_lost(self):
        """The work goes on from the checkpoint, whatever the daemon thinks of its command."""
        self.client.events = [(12.0, self.power_off)]
        self.done(self.slot.run())
        self.assertIn("went back to the checkpoint boinc_5", self.slot.said)
        self.assertEqual(sum("runs in" in line for line in self.slot.said), 2)

    def power_off(self, client):
        for vm, machine in self.world.machines.items():
            if machine.state == "Running":
                self.world.do_powerOff(vm)

    def test_power_is_lost_without_checkpoints(self):
        """The task begins anew, not the job."""
        self.world.unsupported = {"takeSnapshot"}
        self.client.events = [(20.0, self.power_off)]
        self.done(self.slot.run())
        self.assertEqual(self.world.calls.count("takeSnapshot"), 1)
        self.assertEqual(sum("runs in" in line for line in self.slot.said), 3)
        safe = {status.checkpoint_cpu_s for status in self.client.told}
        self.assertEqual(safe, {0.0, 10.5, 21.0})  # what was done before the task that runs

    def test_checkpoint_is_gone(self):
        """A checkpoint that somebody has deleted is as none."""

        def lose(client):
            for machine in self.world.machines.values():
                machine.snapshots.clear()
            self.power_off(client)

        self.client.events = [(12.0, lose)]
        self.done(self.slot.run())
        self.assertIn("the checkpoint boinc_5 is gone", self.slot.said)

    def test_checkpoints_take_long(self):
        """Between two there is work for as long as the period, however long they take."""
        real = self.world.do_takeSnapshot

        def slow(*words):
            real(*words)
            self.world.now_s += 1000.0  # and the guest stands still

        self.world.do_takeSnapshot = slow
        self.done(self.slot.run())
        self.assertLess(self.world.calls.count("takeSnapshot"), 8)
        self.assertLess(self.slot.progress.work.elapsed_s, 60)

    def test_checkpoint_fails(self):
        """A snapshot that fails is no failure of the job; the next is tried when it is due."""
        self.world.faults["takeSnapshot"] = [fault("HYPERVISOR_ERROR", "no space")]
        self.done(self.slot.run())
        self.assertIn("no checkpoint: HYPERVISOR_ERROR: no space", self.slot.said)
        self.assertGreater(self.world.calls.count("takeSnapshot"), 1)

    def test_checkpoint_of_a_vm_that_is_off(self):
        """A snapshot of a VM that went off just before is none: nothing runs in it."""
        real = self.world.do_takeSnapshot

        def late(vm, name, desc):
            self.world.do_takeSnapshot = real
            self.power_off(self.client)
            real(vm, name, desc)

        self.world.do_takeSnapshot = late
        self.done(self.slot.run())
        self.assertIn("no checkpoint: the VM was off", self.slot.said)

    def test_killed_in_a_checkpoint(self):
        """A snapshot that was taken, and not noted, is deleted; the name may be taken again."""
        self.world.kill_after = ["takeSnapshot"]
        self.assertIsNone(self.slot.run())
        (machine,) = self.world.machines.values()
        self.assertEqual(self.slot.progress.stale, tuple(machine.snapshots))
        self.assertIsNone(self.slot.progress.checkpoint)
        self.done(self.slot.run())

    def test_killed_when_a_command_was_begun(self):
        """A task that was begun, and not noted, runs once all the same."""
        begun = []
        real = self.world.do_runCmd

        def run(vm, cmd, args, *more):
            before = len(begun)
            cmd_id = real(vm, cmd, args, *more)
            if cmd == "sh" and args[2] == "boinc-task":
                begun.append(self.world.commands[cmd_id]["state"])
            if len(begun) > before == 0:
                raise Killed
            return cmd_id

        self.world.do_runCmd = run
        self.assertIsNone(self.slot.run())
        self.done(self.slot.run())
        self.assertEqual(begun, ["running", "ended", "running"])

    def test_name_is_taken(self):
        """A snapshot of that name, of whomever, is replaced."""

        def take(client):
            for machine in self.world.machines.values():
                machine.snapshots["boinc_5"] = ("PoweredOff", machine.guest)

        self.client.events = [(7.0, take)]
        self.done(self.slot.run())
        self.assertIn("checkpoint boinc_5", self.slot.said)

    def test_snapshot_can_not_be_deleted(self):
        """It is tried again with the next."""
        self.world.faults["deleteSnapshot"] = [fault("BUSY")]
        kept = []
        self.client.events = [(each, self.note(kept)) for each in range(1, 40)]
        self.done(self.slot.run())
        self.assertEqual(max(map(len, kept)), 2)
        self.assertEqual(len(kept[-1]), 1)

    def end_without_a_trace(self, **result):
        """Let the first task end so that it leaves nothing in the guest."""

        def end(client):
            for machine in self.world.machines.values():
                for task in machine.guest.running.values():
                    self.world.commands[task[2]].update(result)
                machine.guest.running.clear()

        self.world.unsupported = {"takeSnapshot"}
        self.client.events = [(8.0, end)]

    def test_time_limit(self):
        """The agent has ended the task with all it had started: its command's result says so."""
        self.end_without_a_trace(state="ended", exitCodeOrSignal=15, finished=False, timedOut=True)
        self.assertEqual(self.slot.run().ending.code, 197)

    def test_guest_without_sh(self):
        """What could not even be begun is told by its command's result."""
        self.end_without_a_trace(state="ended", exitCodeOrSignal=127, finished=True)
        self.assertIn("exit code 127", self.slot.run().ending.message)

    def test_command_is_lost(self):
        """A task that is gone without a trace begins anew."""
        self.end_without_a_trace(state="lost")
        self.done(self.slot.run())
        self.assertEqual(sum("begins anew" in line for line in self.slot.said), 1)

    def test_command_is_forgotten(self):
        """What is in the guest counts, not what the daemon remembers."""
        self.client.events = [(7.0, lambda client: self.world.commands.clear())]
        self.done(self.slot.run())

    def test_guest_makes_no_sense(self):
        """A look that says nothing is made again."""
        real = self.world._probe
        answers = iter(["nonsense", "running 7x"])
        self.world._probe = lambda *words: next(answers, None) or real(*words)
        self.done(self.slot.run())

    def test_vm_is_removed(self):
        """The job begins anew."""
        self.client.events = [(12.0, lambda client: self.world.machines.clear())]
        self.done(self.slot.run())
        self.assertEqual(self.world.calls.count("createVM"), 2)

    def test_suspended(self):
        """The VM stands still; time that passes then is no time of the task."""
        self.client.events = [
            (6.0, lambda client: setattr(client, "control", Control(suspended=True))),
            (5000.0, lambda client: setattr(client, "control", Control())),
        ]
        self.done(self.slot.run())
        self.assertLess(self.slot.progress.work.elapsed_s, 60)
        self.assertEqual(self.world.calls.count("pause"), 1)

    def quit(self, at_s):
        self.client.events = [(at_s, lambda client: setattr(client, "control", Control(quit=True)))]

    def test_quit(self):
        """The VM is saved; the next wrapper goes on with the same command."""
        self.quit(6.0)
        self.assertEqual(self.slot.run(), Leave())
        (machine,) = self.world.machines.values()
        self.assertEqual(machine.state, "Saved")
        last = self.client.told[-1]
        self.assertEqual(last.checkpoint_cpu_s, last.cpu_s)  # nothing is lost in a saved VM
        self.client.control = Control()
        self.done(self.slot.run())
        self.assertEqual(sum("runs in" in line for line in self.slot.said), 2)

    def test_quit_where_nothing_can_be_saved(self):
        """The VM is paused instead."""
        self.world.unsupported = {"saveState", "takeSnapshot"}
        self.quit(6.0)
        self.assertEqual(self.slot.run(), Leave())
        (machine,) = self.world.machines.values()
        self.assertEqual(machine.state, "Paused")
        self.client.control = Control()
        self.done(self.slot.run())

    def test_client_is_gone(self):
        """The same as if it had said so."""
        self.client.control = Control(gone=True)
        self.assertEqual(self.slot.run(), Leave())
        self.assertEqual(self.world.machines, {})

    def test_abort(self):
        """Whatever the VM does then, it is removed."""
        for at_s, state in ((0.0, None), (6.0, "Running"), (6.0, "Paused"), (6.0, "Saved")):
            self.setUp()
            self.client.events = [(at_s, lambda client, state=state: self.abort(state))]
            end = self.slot.run()
            self.assertEqual(end.ending.code, 194)
            self.assertEqual(self.world.machines, {})

    def abort(self, state):
        if state:
            for machine in self.world.machines.values():
                machine.state = state
        self.client.control = Control(abort=True)

    def test_agent_never_comes(self):
        """After the deadline the VM is put to rest, and the job is for later."""
        self.slot = Slot(
            (JOB % b"").replace(b"<task>", b"<start_deadline>60</start_deadline><task>", 1)
        )
        self.slot.world.faults["ping"] = [fault("GUEST_UNREACHABLE")] * 100
        self.slot.client.events = [(0.0, lambda client: None)]
        end = self.slot.run()
        self.assertEqual(end.later.delay_s, 300)
        self.assertIn("did not come up in 60 s", end.later.reason)
        (machine,) = self.slot.world.machines.values()
        self.assertEqual(machine.state, "Saved")

    def test_retry_exit_code(self):
        """The job is for later, and then this task begins anew."""
        self.client.events = [(8.0, lambda client: setattr(self.world, "exit_code", 75))]
        end = self.slot.run()
        self.assertIn("exit code 75", end.later.reason)
        self.assertEqual(self.slot.progress.work.tasks_done, 1)
        self.world.exit_code = 0
        self.done(self.slot.run())

    def test_exit_code(self):
        """A task that fails is the end of the job."""
        self.world.exit_code = 7
        end = self.slot.run()
        self.assertEqual(end.ending, Ending(code=195, message="the task ended with exit code 7"))
        self.assertEqual(self.world.machines, {})
        self.assertIn(
            "stderr of the task:\nwhat it has said\n", "".join(self.slot.said[-20:]) or ""
        )

    def test_transient_faults(self):
        """What goes by itself is tried again, without an end of the wrapper."""
        self.world.faults = {
            "createVM": [fault("BUSY"), Unreachable("no daemon")],
            "start": [fault("HYPERVISOR_UNREACHABLE")],
            "cpFileToVM": [fault("TRANSFER_FAILED", "CONNECTION_LOST: x")],
            "runCmd": [fault("GUEST_UNREACHABLE")] * 3,
            "removeVM": [fault("DEADLINE_PASSED")],
        }
        self.done(self.slot.run())

    def test_no_daemon_for_long(self):
        """The job is for later, without anybody's help."""
        self.world.faults["getState"] = [Unreachable("no daemon")] * 1000
        end = self.slot.run()
        self.assertEqual((end.later.delay_s, end.later.reason), (300, "no daemon"))
        self.assertLess(self.world.now_s, 200)

    def test_no_daemon_when_it_is_to_end(self):
        """A wrapper that is to end does so at once."""
        self.client.control = Control(quit=True)
        self.world.faults["getState"] = [Unreachable("no daemon")] * 1000
        self.assertEqual(self.slot.run(), Leave(None))
        self.assertLess(self.world.now_s, 10)

    def test_for_the_operator(self):
        """What somebody must mend on this host is for much later, and no failure of the job."""
        for error in (Unauthorized("who?"), fault("ACCESS_DENIED", "role exec")):
            self.setUp()
            self.world.faults["createVM"] = [error]
            self.assertEqual(self.slot.run().later.delay_s, 3600)
            self.assertFalse(self.slot.progress.made)

    def test_hopeless(self):
        """What would fail again is the end, with BOINC's own code; nothing remains."""
        for method, name, code in (
            ("createVM", "NO_SUCH_IMAGE", 206),
            ("createVM", "UNSUPPORTED", 206),
            ("cpFileToVM", "TRANSFER_FAILED", 195),
            ("runCmd", "BAD_ARGUMENT", 206),
        ):
            self.setUp()
            self.world.faults[method] = [fault(name, "NO_SUCH_FILE: x")]
            end = self.slot.run()
            self.assertEqual(end.ending.code, code)
            self.assertIn(name, end.ending.message)
            self.assertEqual(self.world.machines, {})

    def test_hypervisor_errors(self):
        """For later, a few times; then it is the end."""
        ends = []
        for _ in range(10):
            self.world.faults["start"] = [fault("HYPERVISOR_ERROR", "no KVM")] * 9
            ends.append(self.slot.run())
            if isinstance(ends[-1], Finish):
                break
        self.assertEqual([isinstance(end, Leave) for end in ends], [True] * 5 + [False])
        self.assertEqual(ends[-1].ending.code, 206)
        self.assertEqual(self.world.machines, {})

    def test_tidying_up_fails(self):
        """A VM that can't be removed now is removed by the next start; the end stays the same."""
        self.world.faults["removeVM"] = [fault("HYPERVISOR_ERROR", "busy")]
        self.assertEqual(self.slot.run().later.delay_s, 300)
        self.assertEqual(len(self.world.machines), 1)
        self.assertEqual(self.slot.progress.ending, Ending(code=0))
        self.done(self.slot.run())

    def there(self, state):
        self.slot = Slot((JOB % b"<name>v</name>").replace(b"<image>i</image>", b""))
        self.world, self.client = self.slot.world, self.slot.client
        self.world.machines["v"] = Machine(state=state)

    def test_vm_that_was_there(self):
        """It is left as it was found, without snapshots of ours and without files."""
        for state in ("PoweredOff", "Running", "Paused"):
            self.there(state)
            self.assertEqual(self.slot.run(), DONE, self.slot.said)
            machine = self.world.machines["v"]
            off = state == "PoweredOff"
            self.assertEqual(machine.state, "PoweredOff" if off else "Running")
            self.assertEqual(machine.snapshots, {})
            self.assertNotIn("removeVM", self.world.calls)

    def test_snapshot_to_begin_with(self):
        """A VM is taken to the job's snapshot once, before anything is done in it."""
        self.slot = Slot(JOB % b"<name>v</name><snapshot>clean</snapshot>")
        machine = self.slot.world.machines["v"] = Machine()
        machine.snapshots["clean"] = ("PoweredOff", machine.guest)
        self.assertEqual(self.slot.run(), DONE)
        self.assertEqual(self.slot.world.calls.count("restoreSnapshot"), 1)

    def test_nothing_to_work_in(self):
        """A VM that is not there, and can't be made, is the end."""
        self.there("PoweredOff")
        self.world.machines.clear()
        self.assertEqual(self.slot.run().ending.code, 206)

    def test_lost_again_and_again(self):
        """A job that never gets anywhere has an end."""
        self.world.unsupported = {"takeSnapshot"}
        self.client.events = [(each * 9, self.power_off) for each in range(1, 100)]
        end = self.slot.run()
        self.assertEqual(end.ending.code, 195)
        self.assertIn("the work was lost", end.ending.message)
        self.assertEqual(self.world.machines, {})

    @settings(max_examples=150, deadline=None)
    @given(
        st.sets(st.integers(1, 90), max_size=12),
        st.lists(
            st.tuples(
                st.floats(0, 60),
                st.sampled_from(["power_off", "vanish", "suspend", "resume", "quit", "pause"]),
            ),
            max_size=6,
        ),
        st.sets(st.sampled_from(["saveState", "takeSnapshot"])),
    )
    def test_whatever_happens(self, kills, events, unsupported):
        """Killed anywhere, with anything done to its VM, a job ends well, and leaves none."""
        self.setUp()
        self.done(self.to_its_end(kills, events, unsupported))

    @settings(max_examples=100, deadline=None)
    @given(
        st.sets(st.integers(1, 90), max_size=12),
        st.lists(
            st.tuples(
                st.floats(0, 60),
                st.sampled_from(["power_off", "suspend", "resume", "quit", "pause"]),
            ),
            max_size=6,
        ),
        st.sets(st.sampled_from(["saveState", "takeSnapshot"])),
    )
    def test_whatever_happens_to_a_vm_that_stays(self, kills, events, unsupported):
        """So it does in a VM that is not its own: nothing of it remains in there."""
        self.there("PoweredOff")
        self.assertEqual(self.to_its_end(kills, events, unsupported), DONE, self.slot.said)
        machine = self.world.machines["v"]
        self.assertEqual((machine.state, machine.snapshots), ("PoweredOff", {}))

    def to_its_end(self, kills, events, unsupported):
        self.world.kill_at = kills
        self.world.unsupported = unsupported
        self.client.events = [(at_s, getattr(self, f"on_{name}")) for at_s, name in sorted(events)]
        for _ in range(100):
            end = self.slot.run()
            if isinstance(end, Finish):
                break
            self.client.control = replace(self.client.control, quit=False)
            if not self.client.events:
                self.client.control = Control()
        return end

    def on_power_off(self, client):
        self.power_off(client)

    def on_vanish(self, client):
        self.world.machines.clear()

    def on_pause(self, client):
        for machine in self.world.machines.values():
            if machine.state == "Running":
                machine.state = "Paused"

    def on_suspend(self, client):
        client.control = replace(client.control, suspended=True)
        client.events.append((self.world.now_s + 30, self.on_resume))
        client.events.sort(key=lambda event: event[0])

    def on_resume(self, client):
        client.control = replace(client.control, suspended=False)

    def on_quit(self, client):
        client.control = replace(client.control, quit=True)
