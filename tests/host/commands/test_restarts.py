"""Commands over restarts: what one daemon has kept, the next one has."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from tests.host.commands.case import GUEST, CommandsCase
from vmcontroller.common.errors import (
    ConfigError,
    NoSuchCommand,
)
from vmcontroller.common.model import CommandSpec
from vmcontroller.common.words.commands import CmdRun, CmdStarted, CmdStored
from vmcontroller.host.commands.output import INLINE_BYTES
from vmcontroller.host.commands.record import CommandState


class RestartTests(CommandsCase):
    """What a daemon has kept, the next one has."""

    def finished(self, out: bytes = b"hello", **changes) -> str:
        cmd_id = self.run_one()
        self.hearing.heard_output(self.output(cmd_id, out), GUEST)
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=len(out), **changes), GUEST)
        return cmd_id

    def test_result_is_kept(self) -> None:
        """A result, short and long output, and all that was asked for, come back as they were."""
        spec = CommandSpec(cmd="x", args=("a", "ü"), env={"A": "b"}, timeout_s=5.0, nice=3)
        for killed in (False, True):
            for out in (b"short", bytes(range(256)) * 256):
                cmd_id = self.run_one(spec)
                self.hearing.heard_output(self.output(cmd_id, out), GUEST)
                self.hearing.heard_result(
                    self.result(cmd_id, stdout_bytes=len(out), exit_code_or_signal=4), GUEST
                )
                before = self.get(cmd_id)
                self.restart(killed=killed)
                after = self.get(cmd_id)
                self.assertEqual((after.spec, after.result), (before.spec, before.result))
                self.assertEqual(after.ended_at, before.ended_at)
                self.assertEqual(self.read(cmd_id), out)
                [listed] = [
                    each for each in self.now(self.commands.ended()) if each.cmd_id == cmd_id
                ]
                self.assertEqual(listed.stored_bytes, after.stored_bytes)
                self.assertEqual(listed.spec, after.spec)

    def test_running_goes_on(self) -> None:
        """A command that runs over a restart goes on from the output that is on the disk."""
        out = bytes(range(256)) * 256
        for killed in (False, True):
            cmd_id = self.run_one()
            self.hearing.heard_started(CmdStarted(cmd_id=cmd_id, pid=7), GUEST)
            self.hearing.heard_output(self.output(cmd_id, out), GUEST)
            self.restart(killed=killed)
            self.assertEqual(self.get(cmd_id).pid, 7)
            offsets = self.hearing.reconcile(GUEST, {cmd_id}, "one")
            self.assertEqual(offsets[cmd_id], (len(out), 0))
            self.hearing.heard_output(self.output(cmd_id, b"!", offset=len(out)), GUEST)
            self.hearing.heard_result(self.result(cmd_id, stdout_bytes=len(out) + 1), GUEST)
            self.assertEqual(self.read(cmd_id), out + b"!")

    def test_little_output_over_an_orderly_end(self) -> None:
        """Output without a file is kept when the daemon stops in order."""
        cmd_id = self.run_one()
        self.hearing.heard_output(self.output(cmd_id, b"little"), GUEST)
        self.restart()
        self.assertEqual(self.read(cmd_id), b"little")
        self.assertEqual(self.hearing.reconcile(GUEST, {cmd_id}, "one"), {cmd_id: (6, 0)})

    def test_request_is_sent_again(self) -> None:
        """A request of before the restart that the same agent does not know is sent again."""
        cmd_id = self.run_one(CommandSpec(cmd="cat", stdin=b"\0bytes"))
        self.restart(killed=True)
        self.said.clear()
        self.hearing.reconcile(GUEST, (), "one")
        self.assertEqual(
            self.said,
            [(GUEST, CmdRun(cmd_id=cmd_id, spec=CommandSpec(cmd="cat", stdin=b"\0bytes")))],
        )

    def test_new_agent_that_holds_it(self) -> None:
        """A restarted agent that has taken its commands up again is as good as before."""
        cmd_id = self.run_one()
        self.hearing.heard_started(CmdStarted(cmd_id=cmd_id, pid=7), GUEST)
        self.assertEqual(self.hearing.reconcile(GUEST, {cmd_id}, "two"), {cmd_id: (0, 0)})
        lost = self.result(cmd_id, finished=False, lost=True, error="AGENT_RESTARTED: by kill")
        self.hearing.heard_result(lost, GUEST)
        command = self.get(cmd_id)
        self.assertIs(command.state, CommandState.LOST)
        self.assertEqual(command.error, "AGENT_RESTARTED: by kill")
        self.assertEqual(self.said[-1], (GUEST, CmdStored(cmd_id=cmd_id)))
        self.hearing.heard_result(lost, GUEST)
        self.assertEqual(self.said[-2:], [(GUEST, CmdStored(cmd_id=cmd_id))] * 2)

    def test_lost_may_still_end(self) -> None:
        """A command that was given up, and is held after all, comes to its true end."""
        cmd_id = self.run_one()
        self.hearing.guest_lost(GUEST, "it was away")
        self.assertIs(self.get(cmd_id).state, CommandState.LOST)
        self.restart()
        self.assertEqual(self.hearing.reconcile(GUEST, {cmd_id}, "one"), {cmd_id: (0, 0)})
        self.hearing.heard_output(self.output(cmd_id, b"x"), GUEST)
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=1), GUEST)
        self.assertIs(self.get(cmd_id).state, CommandState.ENDED)
        self.restart()
        self.assertEqual(self.read(cmd_id), b"x")

    def test_time_to_live_goes_on(self) -> None:
        """The time before a restart counts; a clock that was set back or ahead does no harm."""
        cmd_id = self.finished()
        self.clock.advance(60)
        self.restart()
        self.now(self.commands.expire())
        self.get(cmd_id)
        self.clock.advance(41)
        self.now(self.commands.expire())
        self.refused(NoSuchCommand, self.commands.find(cmd_id))
        self.restart()
        self.refused(NoSuchCommand, self.commands.find(cmd_id))

    def test_forgotten_stays_forgotten(self) -> None:
        """What was forgotten does not come back, and takes no space."""
        cmd_id = self.finished(bytes(INLINE_BYTES + 1))
        self.now(self.commands.forget(cmd_id))
        self.restart(killed=True)
        self.refused(NoSuchCommand, self.commands.find(cmd_id))
        self.assertEqual(list(self.spool.iterdir()), [])

    def test_keep(self) -> None:
        """Beyond the number that is kept the oldest ends are forgotten."""
        first, *others = [self.finished() for _ in range(3) if not self.clock.advance(1)]
        self.restart(keep=2)
        self.now(self.commands.expire())
        self.assertEqual(sorted(self.ended()), sorted(others))
        self.refused(NoSuchCommand, self.commands.find(first))

    def test_strange_files(self) -> None:
        """A file of no command is removed; one that is gone is said of its command, not fatal."""
        cmd_id = self.finished(bytes(INLINE_BYTES + 1))
        self.now(self.commands.stop())
        (self.spool / f"{cmd_id}.stdout").unlink()
        (self.spool / "nobody.stdout").write_bytes(b"?")
        self.restart(killed=True)
        self.assertEqual(list(self.spool.iterdir()), [])
        command = self.get(cmd_id)
        self.assertIn("OUTPUT_NOT_STORED: stdout", command.error)
        self.assertTrue(command.result.truncated)
        self.assertEqual(self.read(cmd_id), b"")

    def test_damaged_database(self) -> None:
        """A database that can't be used is named, with what to do; so is one of another version."""
        cmd_id = self.finished()
        self.now(self.commands.stop())
        file = self.home / "commands.db"
        good = file.read_bytes()
        for damage in (b"no database at all" * 100, good[:2000] + bytes(3000) + good[5000:]):
            file.write_bytes(damage)
            error = self.refused(ConfigError, self.unopened().open())
            self.assertIn("commands.db", str(error))
            self.assertIn("move it away", str(error))
        file.write_bytes(good)
        with closing(sqlite3.connect(file)) as disk:
            disk.execute("UPDATE commands SET request = 'no JSON'")
            disk.commit()
        self.assertIn("damaged", str(self.refused(ConfigError, self.unopened().open())))
        with closing(sqlite3.connect(file)) as disk:
            disk.execute("PRAGMA user_version = 99")
        self.assertIn("version 99", str(self.refused(ConfigError, self.unopened().open())))
        file.write_bytes(good)
        self.restart(killed=True)
        self.get(cmd_id)
