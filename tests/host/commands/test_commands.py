"""Commands on the host: no result is lost, counted twice, or taken from a stranger."""

from __future__ import annotations

from tests.host.commands.case import AGENT, GUEST, STRANGER, TRUE, CommandsCase
from vmcontroller.common.errors import (
    BadArgument,
    NoSuchCommand,
    NotConnected,
)
from vmcontroller.common.words.commands import CmdRun, CmdStarted, CmdStored
from vmcontroller.host.commands.output import INLINE_BYTES
from vmcontroller.host.commands.record import CommandState


class CommandsTests(CommandsCase):
    def test_life_of_a_command(self) -> None:
        """Sent, running, ended; the guest is told that its result is stored."""
        cmd_id = self.run_one()
        self.assertEqual(self.said, [(GUEST, CmdRun(cmd_id=cmd_id, spec=TRUE))])
        self.assertIs(self.get(cmd_id).state, CommandState.SENT)
        self.hearing.heard_started(CmdStarted(cmd_id=cmd_id, pid=7), GUEST)
        self.assertIs(self.get(cmd_id).state, CommandState.RUNNING)
        self.assertEqual(self.ended(), [])
        self.hearing.heard_output(self.output(cmd_id, b"hello"), GUEST)
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=5), GUEST)
        self.assertIs(self.get(cmd_id).state, CommandState.ENDED)
        self.assertEqual(self.ended(), [cmd_id])
        self.assertEqual(self.said[-1], (GUEST, CmdStored(cmd_id=cmd_id)))

    def test_waiting_ends_with_the_result(self) -> None:
        """Whoever waits is told the moment the result is stored, without any time passing."""
        cmd_id = self.run_one()
        waiting = self.wait(cmd_id)
        self.assertNoResult(waiting)
        self.hearing.heard_result(self.result(cmd_id, exit_code_or_signal=3), GUEST)
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
        self.hearing.heard_result(self.result(cmd_id), GUEST)
        self.hearing.heard_result(self.result(cmd_id, exit_code_or_signal=9), GUEST)
        self.assertEqual(self.get(cmd_id).result.exit_code_or_signal, 0)
        self.assertEqual(len([w for _, w in self.said if isinstance(w, CmdStored)]), 2)

    def test_result_before_its_output(self) -> None:
        """A result whose output has a gap is not acknowledged: the guest keeps it all."""
        cmd_id = self.run_one()
        self.hearing.heard_output(self.output(cmd_id, b"cd", offset=2), GUEST)
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=4), GUEST)
        self.assertFalse(self.get(cmd_id).has_ended)
        self.assertFalse(any(isinstance(word, CmdStored) for _, word in self.said))
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=4), GUEST)
        self.assertEqual(self.asked, [GUEST])

    def test_stranger(self) -> None:
        """Another guest can neither end nor feed a command that was not sent to it."""
        cmd_id = self.run_one()
        self.hearing.heard_started(CmdStarted(cmd_id=cmd_id, pid=1), STRANGER)
        self.hearing.heard_output(self.output(cmd_id, b"x"), STRANGER)
        self.hearing.heard_result(self.result(cmd_id), STRANGER)
        command = self.get(cmd_id)
        self.assertIs(command.state, CommandState.SENT)
        self.assertEqual(command.stored_bytes, (0, 0))

    def test_result_of_nothing(self) -> None:
        """A guest may forget a result that nobody here waits for."""
        self.hearing.heard_result(self.result("long-forgotten"), GUEST)
        self.assertEqual(self.said, [(GUEST, CmdStored(cmd_id="long-forgotten"))])

    def test_reconnect_resumes(self) -> None:
        """After a lost connection the guest learns how much of each stream is stored."""
        cmd_id = self.run_one()
        self.hearing.heard_started(CmdStarted(cmd_id=cmd_id, pid=1), GUEST)
        self.hearing.heard_output(self.output(cmd_id, b"abc"), GUEST)
        offsets = self.hearing.reconcile(GUEST, {cmd_id}, "one")
        self.assertEqual(offsets, {cmd_id: (3, 0)})
        self.hearing.heard_output(self.output(cmd_id, b"bcdef", offset=1), GUEST)
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=6), GUEST)
        self.assertEqual(self.read(cmd_id), b"abcdef")

    def test_start_that_nobody_heard(self) -> None:
        """A command that the guest holds runs, also when the daemon was away as it said so."""
        cmd_id = self.run_one()
        self.hearing.reconcile(GUEST, {cmd_id}, "one")
        self.assertIs(self.get(cmd_id).state, CommandState.RUNNING)

    def test_request_lost_on_the_way(self) -> None:
        """A request that never arrived is sent again to the same agent, and only to it."""
        cmd_id = self.run_one()
        self.hearing.reconcile(GUEST, (), "one")
        self.assertEqual(self.said.count((GUEST, CmdRun(cmd_id=cmd_id, spec=TRUE))), 2)
        self.hearing.reconcile(GUEST, (), "two")
        self.assertIs(self.get(cmd_id).state, CommandState.LOST)

    def test_restarted_agent(self) -> None:
        """A command that ran in an agent that is no more ends as lost, and says why."""
        cmd_id = self.run_one()
        self.hearing.heard_started(CmdStarted(cmd_id=cmd_id, pid=1), GUEST)
        waiting = self.wait(cmd_id)
        self.hearing.reconcile(GUEST, (), "two")
        self.assertIn("LOST: the agent", self.successResultOf(waiting).error)

    def test_agent_that_was_away(self) -> None:
        """A request that waited for a paused guest is sent again, however long that was away."""
        cmd_id = self.run_one()
        self.hearing.reconcile(GUEST, (), "one")
        self.assertIs(self.get(cmd_id).state, CommandState.SENT)

    def test_not_understood(self) -> None:
        """A command that the agent does not understand ends, if it is that agent's."""
        cmd_id = self.run_one()
        self.hearing.refused(STRANGER, cmd_id, "what?")
        self.assertFalse(self.get(cmd_id).has_ended)
        self.hearing.refused(GUEST, cmd_id, "what?")
        self.assertEqual(self.get(cmd_id).error, "REFUSED: what?")

    def test_full_disk(self) -> None:
        """Output that the host can't store is said to be cut; the command ends all the same."""
        cmd_id = self.run_one()
        self.spool.rmdir()
        data = bytes(INLINE_BYTES + 1)
        self.hearing.heard_output(self.output(cmd_id, b"kept"), GUEST)
        self.hearing.heard_output(self.output(cmd_id, data, offset=4), GUEST)
        self.hearing.heard_output(self.output(cmd_id, b"late", offset=4), GUEST)
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=len(data) + 4), GUEST)
        command = self.get(cmd_id)
        self.assertIs(command.state, CommandState.ENDED)
        self.assertTrue(command.result.truncated)
        self.assertIn("OUTPUT_NOT_STORED: stdout", command.error)
        self.assertEqual(self.read(cmd_id), (b"kept" + data)[:INLINE_BYTES])
        self.assertEqual(self.said[-1], (GUEST, CmdStored(cmd_id=cmd_id)))

    def test_vm_off(self) -> None:
        """When the VM goes off its commands end as lost, others' do not."""
        cmd_id = self.run_one()
        self.hearing.vm_stopped("other", "the VM is PoweredOff")
        self.assertFalse(self.get(cmd_id).has_ended)
        self.hearing.vm_stopped("u", "the VM is Aborted")
        self.assertEqual(self.get(cmd_id).error, "LOST: the VM is Aborted")

    def test_late_result_of_a_lost_command(self) -> None:
        """A result that comes after all is better than none."""
        cmd_id = self.run_one()
        self.hearing.vm_stopped("u", "the VM is Aborted")
        self.hearing.heard_output(self.output(cmd_id, b"x"), GUEST)
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=1), GUEST)
        self.assertIs(self.get(cmd_id).state, CommandState.ENDED)

    def test_not_connected(self) -> None:
        """Without a broker the caller is told, and no command remains, also not on the disk."""
        self.connected = False
        self.refused(NotConnected, self.commands.run(self.vm, AGENT, TRUE))
        self.restart()
        self.assertEqual(self.commands.registry.running(), [])

    def test_forget(self) -> None:
        """An ended command is forgotten when asked; a running one is not."""
        cmd_id = self.run_one()
        self.refused(BadArgument, self.commands.forget(cmd_id))
        self.hearing.heard_result(self.result(cmd_id), GUEST)
        self.now(self.commands.forget(cmd_id))
        self.refused(NoSuchCommand, self.commands.find(cmd_id))

    def test_time_to_live(self) -> None:
        """Results are kept for their time to live and no longer; running ones are kept."""
        ended, running = self.run_one(), self.run_one()
        self.hearing.heard_result(self.result(ended), GUEST)
        self.clock.advance(99)
        self.now(self.commands.expire())
        self.get(ended)
        self.clock.advance(2)
        self.now(self.commands.expire())
        self.refused(NoSuchCommand, self.commands.find(ended))
        self.get(running)

    def test_big_output_leaves_no_file(self) -> None:
        """Output beyond memory lies in a file that goes with the command."""
        cmd_id = self.run_one()
        data = bytes(INLINE_BYTES + 1)
        self.hearing.heard_output(self.output(cmd_id, data), GUEST)
        self.assertEqual(len(list(self.spool.iterdir())), 1)
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=len(data)), GUEST)
        self.assertEqual(self.read(cmd_id), data)
        self.now(self.commands.forget(cmd_id))
        self.assertEqual(list(self.spool.iterdir()), [])

    def test_stop_releases(self) -> None:
        """When the daemon stops, nobody waits for ever."""
        waiting = self.wait(self.run_one())
        self.now(self.commands.stop())
        self.failureResultOf(waiting, NotConnected)
