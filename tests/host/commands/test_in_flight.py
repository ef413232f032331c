"""What comes while something of a command is still on its way to the disk."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from twisted.internet.defer import Deferred

from tests.host.commands.case import AGENT, GUEST, TRUE, CommandsCase
from tests.host.wiring import at_once
from vmcontroller.common.errors import (
    BadArgument,
    NotStored,
)
from vmcontroller.common.words.commands import CmdRun, CmdStored
from vmcontroller.host.commands.record import CommandState


class InFlightTests(CommandsCase):
    """What comes while something is still on its way to the disk."""

    def hold(self) -> None:
        """Let no commit come to its end from now on."""
        self.held = []

        def in_writer(work, *arguments):
            later = Deferred()
            self.held.append((later, work, arguments))
            return later

        self.in_writer = in_writer

    def let_go(self) -> None:
        self.in_writer = at_once
        while self.held:
            later, work, arguments = self.held.pop(0)
            later.callback(work(*arguments))

    def test_not_said_before_it_is_kept(self) -> None:
        """The guest hears of a command when its request is on the disk, and so does the caller."""
        self.hold()
        running = Deferred.fromCoroutine(self.commands.run(self.vm, AGENT, TRUE))
        self.assertNoResult(running)
        self.hearing.reconcile(GUEST, (), "two")
        self.assertEqual(self.said, [])
        self.let_go()
        cmd_id = self.successResultOf(running)
        self.assertEqual(self.said, [(GUEST, CmdRun(cmd_id=cmd_id, spec=TRUE))])
        self.assertEqual(self.get(cmd_id).session, "two")

    def test_vm_off_before_it_is_kept(self) -> None:
        """A request whose VM goes off meanwhile is never said, and ends as lost."""
        self.hold()
        running = Deferred.fromCoroutine(self.commands.run(self.vm, AGENT, TRUE))
        self.hearing.vm_stopped("u", "the VM is PoweredOff")
        self.let_go()
        command = self.get(self.successResultOf(running))
        self.assertEqual((command.state, self.said), (CommandState.LOST, []))

    def test_one_commit_for_many(self) -> None:
        """What comes while a commit runs goes into the next one together."""
        self.hold()
        running = [
            Deferred.fromCoroutine(self.commands.run(self.vm, AGENT, TRUE)) for _ in range(50)
        ]
        self.assertEqual(len(self.held), 1)
        later, work, arguments = self.held.pop()
        later.callback(work(*arguments))
        self.assertEqual(len(self.held), 1)
        self.let_go()
        self.assertEqual(len({self.successResultOf(each) for each in running}), 50)

    def test_result_while_it_is_stored(self) -> None:
        """A result said twice is stored once; nobody is told before it is on the disk."""
        cmd_id = self.run_one()
        waiting = self.wait(cmd_id)
        self.hold()
        self.hearing.heard_result(self.result(cmd_id), GUEST)
        self.hearing.heard_result(self.result(cmd_id, exit_code_or_signal=9), GUEST)
        self.hearing.heard_output(self.output(cmd_id, b"late"), GUEST)
        self.assertNoResult(waiting)
        self.refused(BadArgument, self.commands.forget(cmd_id))
        self.assertFalse(any(isinstance(word, CmdStored) for _, word in self.said))
        self.let_go()
        self.assertEqual(self.successResultOf(waiting).result.exit_code_or_signal, 0)
        self.assertEqual(self.said[-1], (GUEST, CmdStored(cmd_id=cmd_id)))
        self.assertEqual(self.read(cmd_id), b"")

    def test_result_while_the_loss_is_stored(self) -> None:
        """A result that comes while its command is given up is not lost with it."""
        cmd_id = self.run_one()
        self.hold()
        self.hearing.guest_lost(GUEST, "it was away")
        self.hearing.heard_result(self.result(cmd_id, exit_code_or_signal=3), GUEST)
        self.let_go()
        self.assertEqual(self.get(cmd_id).result.exit_code_or_signal, 3)

    def test_stop_while_it_is_stored(self) -> None:
        """A daemon that stops waits for what is being stored."""
        cmd_id = self.run_one()
        self.hold()
        self.hearing.heard_result(self.result(cmd_id), GUEST)
        stopping = Deferred.fromCoroutine(self.commands.stop())
        self.assertNoResult(stopping)
        self.let_go()
        self.successResultOf(stopping)
        self.restart(killed=True)
        self.assertIs(self.get(cmd_id).state, CommandState.ENDED)

    def test_disk_that_takes_nothing(self) -> None:
        """A result that can't be stored stays in the guest, and is asked for again."""
        cmd_id = self.run_one()
        self.assertNotIn(GUEST, self.asked)
        with closing(sqlite3.connect(self.home / "commands.db")) as disk:
            disk.execute(
                "CREATE TRIGGER full BEFORE UPDATE ON commands "
                "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            )
            disk.commit()
            for _ in range(3):
                self.hearing.heard_result(self.result(cmd_id), GUEST)
            self.assertFalse(self.get(cmd_id).has_ended)
            self.assertFalse(any(isinstance(word, CmdStored) for _, word in self.said))
            disk.execute("DROP TRIGGER full")
            disk.commit()
        self.now(self.commands.expire())
        self.assertEqual(self.asked, [GUEST])
        self.hearing.heard_result(self.result(cmd_id), GUEST)
        self.assertIs(self.get(cmd_id).state, CommandState.ENDED)

    def test_disk_that_takes_no_request(self) -> None:
        """A request that can't be kept is not sent; the caller is told why."""
        with closing(sqlite3.connect(self.home / "commands.db")) as disk:
            disk.execute(
                "CREATE TRIGGER full BEFORE INSERT ON commands "
                "BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
            )
            disk.commit()
        error = self.refused(NotStored, self.commands.run(self.vm, AGENT, TRUE))
        self.assertIn("the disk is full", str(error))
        self.assertEqual((self.said, self.commands.registry.running()), ([], []))

    def test_text_that_is_none(self) -> None:
        """Halves of characters in what a guest says keep no result from being stored."""
        cmd_id = self.run_one()
        self.hearing.heard_result(self.result(cmd_id, error="BAD: \ud800"), GUEST)
        self.restart(killed=True)
        self.assertEqual(self.get(cmd_id).error, "BAD: ?")
