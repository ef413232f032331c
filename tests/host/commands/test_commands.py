"""Commands on the host: no result is lost, counted twice, or taken from a stranger."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import BadArgument, NoSuchCommand, NotConnected
from vmcontroller.common.model import CommandResult, CommandSpec, guest_id
from vmcontroller.common.words.commands import (
    CmdOutput,
    CmdResult,
    CmdRun,
    CmdStarted,
    CmdStored,
)
from vmcontroller.common.words.presence import Descriptor
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.commands.record import IN_MEMORY_BYTES, CommandState, Stream
from vmcontroller.host.guests import Guest
from vmcontroller.host.hypervisor.base import Vm, VmState

GUEST = guest_id("52:54:00:00:00:01")
STRANGER = guest_id("52:54:00:00:00:02")
TRUE = CommandSpec(cmd="true")
AGENT = Guest(
    id=GUEST,
    descriptor=Descriptor(id=GUEST),
    session="one",
    agent_version="1",
    since_s=0,
    last_heard_s=0,
)


class CommandsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.said = []
        self.asked = []
        self.spool = Path(self.mktemp())
        self.spool.mkdir()
        self.vm = Vm(uuid="u", name="vm", state=VmState.RUNNING, macs=(GUEST,))
        self.commands = Commands(
            clock=self.clock,
            say=lambda guest, word: self.said.append((guest, word)),
            ask_for_hello=self.asked.append,
            spool_dir=str(self.spool),
            time_to_live_s=100,
        )

    def run_one(self, spec: CommandSpec = TRUE) -> str:
        return self.commands.run(self.vm, AGENT, spec)

    def result(self, cmd_id: str, **changes) -> CmdResult:
        facts = {
            "cmd_id": cmd_id,
            "finished": True,
            "exit_code_or_signal": 0,
            "resources": {},
            "stdout_bytes": 0,
            "stderr_bytes": 0,
        }
        return CmdResult(result=CommandResult(**(facts | changes)))

    def output(self, cmd_id: str, data: bytes, offset: int = 0) -> CmdOutput:
        return CmdOutput(cmd_id=cmd_id, stream="stdout", offset=offset, data=data)

    def wait(self, cmd_id: str, timeout_s: float = 10) -> Deferred:
        return Deferred.fromCoroutine(self.commands.wait(cmd_id, timeout_s))

    def test_life_of_a_command(self) -> None:
        """Sent, running, ended; the guest is told that its result is stored."""
        cmd_id = self.run_one()
        self.assertEqual(self.said, [(GUEST, CmdRun(cmd_id=cmd_id, spec=TRUE))])
        self.assertIs(self.commands.get(cmd_id).state, CommandState.SENT)
        self.commands.heard_started(CmdStarted(cmd_id=cmd_id, pid=7), GUEST)
        self.assertIs(self.commands.get(cmd_id).state, CommandState.RUNNING)
        self.assertEqual(self.commands.ended(), ())
        self.commands.heard_output(self.output(cmd_id, b"hello"), GUEST)
        self.commands.heard_result(self.result(cmd_id, stdout_bytes=5), GUEST)
        self.assertIs(self.commands.get(cmd_id).state, CommandState.ENDED)
        self.assertEqual([command.cmd_id for command in self.commands.ended()], [cmd_id])
        self.assertEqual(self.said[-1], (GUEST, CmdStored(cmd_id=cmd_id)))

    def test_waiting_ends_with_the_result(self) -> None:
        """Whoever waits is told the moment the result is stored, without any time passing."""
        cmd_id = self.run_one()
        waiting = self.wait(cmd_id)
        self.assertNoResult(waiting)
        self.commands.heard_result(self.result(cmd_id, exit_code_or_signal=3), GUEST)
        self.assertEqual(self.successResultOf(waiting).result.exit_code_or_signal, 3)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waiting_ends_with_the_time(self) -> None:
        """A wait that is over answers what is known: it runs."""
        cmd_id = self.run_one()
        waiting = self.wait(cmd_id, 10)
        self.clock.advance(10)
        self.assertFalse(self.successResultOf(waiting).has_ended)

    def test_result_said_twice(self) -> None:
        """A repeated result is acknowledged again and changes nothing."""
        cmd_id = self.run_one()
        self.commands.heard_result(self.result(cmd_id), GUEST)
        self.commands.heard_result(self.result(cmd_id, exit_code_or_signal=9), GUEST)
        self.assertEqual(self.commands.get(cmd_id).result.exit_code_or_signal, 0)
        self.assertEqual(len([w for _, w in self.said if isinstance(w, CmdStored)]), 2)

    def test_result_before_its_output(self) -> None:
        """A result whose output has a gap is not acknowledged: the guest keeps it all."""
        cmd_id = self.run_one()
        self.commands.heard_output(self.output(cmd_id, b"cd", offset=2), GUEST)
        self.commands.heard_result(self.result(cmd_id, stdout_bytes=4), GUEST)
        self.assertFalse(self.commands.get(cmd_id).has_ended)
        self.assertFalse(any(isinstance(word, CmdStored) for _, word in self.said))
        self.commands.heard_result(self.result(cmd_id, stdout_bytes=4), GUEST)
        self.assertEqual(self.asked, [GUEST])

    def test_stranger(self) -> None:
        """Another guest can neither end nor feed a command that was not sent to it."""
        cmd_id = self.run_one()
        self.commands.heard_started(CmdStarted(cmd_id=cmd_id, pid=1), STRANGER)
        self.commands.heard_output(self.output(cmd_id, b"x"), STRANGER)
        self.commands.heard_result(self.result(cmd_id), STRANGER)
        command = self.commands.get(cmd_id)
        self.assertIs(command.state, CommandState.SENT)
        self.assertEqual(command.stored_bytes, (0, 0))

    def test_result_of_nothing(self) -> None:
        """A guest may forget a result that nobody here waits for."""
        self.commands.heard_result(self.result("long-forgotten"), GUEST)
        self.assertEqual(self.said, [(GUEST, CmdStored(cmd_id="long-forgotten"))])

    def test_reconnect_resumes(self) -> None:
        """After a lost connection the guest learns how much of each stream is stored."""
        cmd_id = self.run_one()
        self.commands.heard_started(CmdStarted(cmd_id=cmd_id, pid=1), GUEST)
        self.commands.heard_output(self.output(cmd_id, b"abc"), GUEST)
        offsets = self.commands.reconcile(GUEST, {cmd_id}, "one")
        self.assertEqual(offsets, {cmd_id: (3, 0)})
        self.commands.heard_output(self.output(cmd_id, b"bcdef", offset=1), GUEST)
        self.commands.heard_result(self.result(cmd_id, stdout_bytes=6), GUEST)
        self.assertEqual(self.commands.get(cmd_id).streams["stdout"].read(0, 100), b"abcdef")

    def test_request_lost_on_the_way(self) -> None:
        """A request that never arrived is sent again to the same agent, and only to it."""
        cmd_id = self.run_one()
        self.commands.reconcile(GUEST, (), "one")
        self.assertEqual(self.said.count((GUEST, CmdRun(cmd_id=cmd_id, spec=TRUE))), 2)
        self.commands.reconcile(GUEST, (), "two")
        self.assertIs(self.commands.get(cmd_id).state, CommandState.LOST)

    def test_restarted_agent(self) -> None:
        """A command that ran in an agent that is no more ends as lost, and says why."""
        cmd_id = self.run_one()
        self.commands.heard_started(CmdStarted(cmd_id=cmd_id, pid=1), GUEST)
        waiting = self.wait(cmd_id)
        self.commands.reconcile(GUEST, (), "two")
        self.assertIn("LOST: the agent", self.successResultOf(waiting).error)

    def test_agent_that_was_away(self) -> None:
        """A request that waited for a paused guest is sent again, however long that was away."""
        cmd_id = self.run_one()
        self.commands.reconcile(GUEST, (), "one")
        self.assertIs(self.commands.get(cmd_id).state, CommandState.SENT)

    def test_not_understood(self) -> None:
        """A command that the agent does not understand ends, if it is that agent's."""
        cmd_id = self.run_one()
        self.commands.refused(STRANGER, cmd_id, "what?")
        self.assertFalse(self.commands.get(cmd_id).has_ended)
        self.commands.refused(GUEST, cmd_id, "what?")
        self.assertEqual(self.commands.get(cmd_id).error, "REFUSED: what?")

    def test_full_disk(self) -> None:
        """Output that the host can't store is said to be cut; the command ends all the same."""
        cmd_id = self.run_one()
        self.spool.rmdir()
        data = bytes(IN_MEMORY_BYTES + 1)
        self.commands.heard_output(self.output(cmd_id, b"kept"), GUEST)
        self.commands.heard_output(self.output(cmd_id, data, offset=4), GUEST)
        self.commands.heard_output(self.output(cmd_id, b"late", offset=4), GUEST)
        self.commands.heard_result(self.result(cmd_id, stdout_bytes=len(data) + 4), GUEST)
        command = self.commands.get(cmd_id)
        self.assertIs(command.state, CommandState.ENDED)
        self.assertTrue(command.result.truncated)
        self.assertIn("OUTPUT_NOT_STORED: stdout", command.error)
        self.assertEqual(command.streams["stdout"].read(0, 100), b"kept")
        self.assertEqual(self.said[-1], (GUEST, CmdStored(cmd_id=cmd_id)))

    def test_vm_off(self) -> None:
        """When the VM goes off its commands end as lost, others' do not."""
        cmd_id = self.run_one()
        self.commands.vm_stopped("other", "the VM is PoweredOff")
        self.assertFalse(self.commands.get(cmd_id).has_ended)
        self.commands.vm_stopped("u", "the VM is Aborted")
        self.assertEqual(self.commands.get(cmd_id).error, "LOST: the VM is Aborted")

    def test_late_result_of_a_lost_command(self) -> None:
        """A result that comes after all is better than none."""
        cmd_id = self.run_one()
        self.commands.vm_stopped("u", "the VM is Aborted")
        self.commands.heard_output(self.output(cmd_id, b"x"), GUEST)
        self.commands.heard_result(self.result(cmd_id, stdout_bytes=1), GUEST)
        self.assertIs(self.commands.get(cmd_id).state, CommandState.ENDED)

    def test_not_connected(self) -> None:
        """Without a broker the caller is told, and no command remains."""

        def refuse(guest, word):
            raise NotConnected("no broker")

        commands = Commands(
            clock=self.clock,
            say=refuse,
            ask_for_hello=self.asked.append,
            spool_dir=str(self.spool),
        )
        self.assertRaises(NotConnected, commands.run, self.vm, AGENT, TRUE)
        self.assertEqual(commands._commands, {})

    def test_forget(self) -> None:
        """An ended command is forgotten when asked; a running one is not."""
        cmd_id = self.run_one()
        self.assertRaises(BadArgument, self.commands.forget, cmd_id)
        self.commands.heard_result(self.result(cmd_id), GUEST)
        self.commands.forget(cmd_id)
        self.assertRaises(NoSuchCommand, self.commands.get, cmd_id)

    def test_time_to_live(self) -> None:
        """Results are kept for their time to live and no longer; running ones are kept."""
        ended, running = self.run_one(), self.run_one()
        self.commands.heard_result(self.result(ended), GUEST)
        self.clock.advance(99)
        self.commands.expire()
        self.commands.get(ended)
        self.clock.advance(2)
        self.commands.expire()
        self.assertRaises(NoSuchCommand, self.commands.get, ended)
        self.commands.get(running)

    def test_big_output_leaves_no_file(self) -> None:
        """Output beyond memory lies in a file that goes with the command."""
        cmd_id = self.run_one()
        data = bytes(IN_MEMORY_BYTES + 1)
        self.commands.heard_output(self.output(cmd_id, data), GUEST)
        self.assertEqual(len(list(self.spool.iterdir())), 1)
        self.commands.heard_result(self.result(cmd_id, stdout_bytes=len(data)), GUEST)
        self.assertEqual(self.commands.get(cmd_id).streams["stdout"].read(0, 2**20), data)
        self.commands.forget(cmd_id)
        self.assertEqual(list(self.spool.iterdir()), [])

    def test_stop_releases(self) -> None:
        """When the daemon stops, nobody waits for ever and no file remains."""
        cmd_id = self.run_one()
        waiting = self.wait(cmd_id)
        self.commands.heard_output(self.output(cmd_id, bytes(IN_MEMORY_BYTES + 1)), GUEST)
        self.commands.stop()
        self.failureResultOf(waiting, NotConnected)
        self.assertEqual(list(self.spool.iterdir()), [])


class StreamTests(SynchronousTestCase):
    @given(
        st.binary(min_size=1, max_size=4 * IN_MEMORY_BYTES),
        st.lists(st.tuples(st.integers(0, 4 * IN_MEMORY_BYTES), st.integers(1, IN_MEMORY_BYTES))),
    )
    def test_any_pieces(self, data, pieces) -> None:
        """Whatever pieces come, in whatever order and how often, what is stored is a prefix."""
        stream = Stream(self.mktemp(), 10**9)
        try:
            for start, length in pieces:
                stream.store(start, data[start : start + length])
            stored = stream.read(0, len(data))
            self.assertEqual(len(stored), stream.stored_bytes)
            self.assertTrue(data.startswith(stored))
        finally:
            stream.close()

    def test_limit(self) -> None:
        """A guest that sends more than was agreed fills nothing here."""
        stream = Stream(self.mktemp(), 10)
        stream.store(0, b"12345678")
        stream.store(8, b"90abc")
        stream.store(10, b"abc")
        self.assertEqual(stream.read(0, 100), b"1234567890")
        self.assertEqual(stream.stored_bytes, 10)
