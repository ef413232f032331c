"""Output that comes in: exact, within its limits, and waited for no longer than it can come."""

from __future__ import annotations

import errno
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.host.commands.case import GUEST, STRANGER, CommandsCase
from vmcontroller.common.model import CommandSpec
from vmcontroller.common.words.commands import CmdStored
from vmcontroller.host.commands import ledger
from vmcontroller.host.commands.answers import results_of
from vmcontroller.host.commands.commands import BEHIND_S
from vmcontroller.host.commands.ledger import WAITING_BYTES, SpoolLedger
from vmcontroller.host.commands.output import INLINE_BYTES, Output

MIB = 2**20


def write_all(stream: Output, file: bytearray) -> None:
    """Do what a thread does with what waits."""
    offset, data = stream.to_write()
    assert offset == len(file)
    file += data
    stream.wrote()


class OutputTests(SynchronousTestCase):
    @given(
        data=st.binary(min_size=1, max_size=4 * INLINE_BYTES),
        pieces=st.lists(
            st.tuples(st.integers(0, 4 * INLINE_BYTES), st.integers(1, INLINE_BYTES), st.booleans())
        ),
        limit_bytes=st.integers(0, 5 * INLINE_BYTES),
        spool_bytes=st.integers(0, 8 * INLINE_BYTES),
    )
    def test_any_pieces(self, data, pieces, limit_bytes, spool_bytes) -> None:
        """Whatever pieces come, in whatever order and how often, what is kept is a prefix."""
        room = SpoolLedger(spool_bytes)
        stream, file = Output(limit_bytes=limit_bytes), bytearray()
        for start, length, writes in pieces:
            before = stream.size_bytes
            new = stream.take(start, data[start : start + length], room.room_of(GUEST))
            self.assertEqual(stream.size_bytes, before + new)
            if writes and not stream.is_written:
                write_all(stream, file)
        if not stream.is_written:
            write_all(stream, file)
        kept = bytes(file) if stream.inline is None else bytes(stream.inline)
        self.assertEqual(len(kept), stream.size_bytes)
        self.assertTrue(data.startswith(kept))
        self.assertLessEqual(len(kept), limit_bytes)
        self.assertEqual(room.kept_bytes, len(file))
        self.assertLessEqual(len(file), spool_bytes // 2)

    def test_limit(self) -> None:
        """A guest that sends more than was agreed fills nothing here."""
        room = SpoolLedger(MIB).room_of(GUEST)
        stream = Output(limit_bytes=10)
        for offset, data in ((0, b"12345678"), (8, b"90abc"), (10, b"abc")):
            stream.take(offset, data, room)
        self.assertEqual(bytes(stream.inline), b"1234567890")
        self.assertTrue(stream.is_full)


class LedgerTests(SynchronousTestCase):
    def test_half_for_one(self) -> None:
        """One guest gets half of the whole, all get all of it, and what is freed counts."""
        book = SpoolLedger(10)
        self.assertEqual(book.grant(GUEST, 4), (4, ""))
        granted, problem = book.grant(GUEST, 4)
        self.assertEqual(granted, 1)
        self.assertIn("this guest takes half", problem)
        self.assertEqual(book.grant(STRANGER, 5)[0], 5)
        granted, problem = book.grant("52:54:00:00:00:03", 1)
        self.assertEqual(granted, 0)
        self.assertIn("all output", problem)
        book.released(GUEST, 5)
        self.assertEqual(book.grant(STRANGER, 1)[0], 0)
        self.assertEqual(book.grant(GUEST, 6)[0], 5)


class LimitTests(CommandsCase):
    def end(self, cmd_id: str, stdout_bytes: int, **changes):
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=stdout_bytes, **changes), GUEST)
        return self.get(cmd_id)

    def test_spool_limit(self) -> None:
        """What doesn't fit is cut, and said; another guest's part stays free."""
        self.restart(spool_limit_mib=1)
        cmd_id = self.run_one()
        piece = bytes(100_000)
        for at in range(0, 10 * len(piece), len(piece)):
            self.hearing.heard_output(self.output(cmd_id, piece, offset=at), GUEST)
        command = self.end(cmd_id, 10 * len(piece))
        self.assertTrue(command.result.truncated)
        self.assertIn("OUTPUT_NOT_STORED: stdout", command.error)
        self.assertIn("commands.spool_limit_mib (1 MiB)", command.error)
        self.assertEqual(len(self.read(cmd_id)), MIB // 2)
        answer = results_of(command, b"", b"")
        self.assertEqual((answer["outTruncated"], answer["errTruncated"]), (True, False))
        self.now(self.commands.forget(cmd_id))
        again = self.run_one()
        self.hearing.heard_output(self.output(again, piece), GUEST)
        self.assertFalse(self.end(again, len(piece)).result.truncated)

    def test_space_is_counted_over_restarts(self) -> None:
        """What an earlier daemon has kept counts, until it is forgotten."""
        cmd_id = self.run_one()
        self.hearing.heard_output(self.output(cmd_id, bytes(MIB // 2)), GUEST)
        self.end(cmd_id, MIB // 2)
        self.restart(spool_limit_mib=1)
        again = self.run_one()
        self.hearing.heard_output(self.output(again, bytes(INLINE_BYTES + 1)), GUEST)
        self.assertTrue(self.end(again, INLINE_BYTES + 1).result.truncated)

    def test_which_stream_was_cut(self) -> None:
        """The guest says that output was cut; the stream at its limit is the one."""
        cmd_id = self.run_one(CommandSpec(cmd="x", output_limit_bytes=4))
        self.hearing.heard_output(self.output(cmd_id, b"1234"), GUEST)
        answer = results_of(self.end(cmd_id, 4, truncated=True), b"1234", b"")
        self.assertEqual((answer["outTruncated"], answer["errTruncated"]), (True, False))
        cmd_id = self.run_one()
        answer = results_of(self.end(cmd_id, 0, truncated=True), b"", b"")
        self.assertEqual((answer["outTruncated"], answer["errTruncated"]), (True, True))

    def test_disk_that_is_full(self) -> None:
        """Where less than the reserve would stay free, output is cut and the command ends."""
        cmd_id = self.run_one()
        full = OSError(errno.ENOSPC, "no room beside the reserve")
        with mock.patch("vmcontroller.host.commands.spool.must_fit", side_effect=full):
            self.hearing.heard_output(self.output(cmd_id, bytes(INLINE_BYTES + 1)), GUEST)
        command = self.end(cmd_id, INLINE_BYTES + 1)
        self.assertIn("no room beside the reserve", command.error)
        self.assertEqual(self.read(cmd_id), bytes(INLINE_BYTES))
        self.assertEqual(list(self.spool.iterdir()), [])
        self.assertEqual(self.said[-1], (GUEST, CmdStored(cmd_id=cmd_id)))


class SlowDiskTests(CommandsCase):
    def setUp(self) -> None:
        super().setUp()
        self.held = []
        self.restart()

    def in_thread(self, work, *arguments):
        """Hold up what writes into files."""
        if work.__name__ != "write":
            return super().in_thread(work, *arguments)
        later = Deferred()
        self.held.append((later, work, arguments))
        return later

    def let_go(self) -> None:
        while self.held:
            later, work, arguments = self.held.pop(0)
            later.callback(work(*arguments))

    def test_memory_is_bounded(self) -> None:
        """What comes faster than the disk writes is dropped, and asked for again afterwards."""
        cmd_id = self.run_one()
        piece = bytes(MIB)
        for at in range(0, 8 * MIB, MIB):
            self.hearing.heard_output(self.output(cmd_id, piece, offset=at), GUEST)
        self.assertLessEqual(sum(self.get(cmd_id).stored_bytes), WAITING_BYTES)
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=8 * MIB), GUEST)
        self.assertFalse(self.get(cmd_id).has_ended)
        self.asked.clear()
        self.let_go()
        self.clock.advance(BEHIND_S)
        self.assertEqual(self.asked, [GUEST])
        offset = self.hearing.reconcile(GUEST, {cmd_id}, "one")[cmd_id][0]
        for at in range(offset, 8 * MIB, MIB):
            self.hearing.heard_output(self.output(cmd_id, piece[: 8 * MIB - at], offset=at), GUEST)
            self.let_go()
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=8 * MIB), GUEST)
        self.assertEqual(len(self.read(cmd_id)), 8 * MIB)
        self.assertTrue(self.get(cmd_id).has_ended)

    def test_one_guest_holds_up_no_other(self) -> None:
        """A guest's output waits beside another's."""
        book = SpoolLedger(2**40)
        self.assertTrue(book.may_wait(GUEST, WAITING_BYTES))
        self.assertFalse(book.may_wait(GUEST, 1))
        self.assertTrue(book.may_wait(STRANGER, ledger.WAITING_BYTES))

    def test_reading_what_is_being_written(self) -> None:
        """Who reads gets what has come, also what is not in the file yet."""
        cmd_id = self.run_one()
        self.hearing.heard_output(self.output(cmd_id, b"x" * (INLINE_BYTES + 1)), GUEST)
        reading = Deferred.fromCoroutine(self.commands.output(cmd_id, "stdout", 0, 2**20))
        self.assertNoResult(reading)
        self.let_go()
        self.assertEqual(self.successResultOf(reading), b"x" * (INLINE_BYTES + 1))


class LongPollTests(CommandsCase):
    def poll(self, cmd_id: str, offset: int = 0, timeout_s: float = 10) -> Deferred:
        reading = self.commands.output(cmd_id, "stdout", offset, 100, timeout_s)
        return Deferred.fromCoroutine(reading)

    def test_first_byte(self) -> None:
        """Whoever waits for output has it as soon as it comes, and no timer remains."""
        cmd_id = self.run_one()
        waiting = self.poll(cmd_id)
        self.assertNoResult(waiting)
        self.hearing.heard_output(self.output(cmd_id, b"\0"), GUEST)
        self.assertEqual(self.successResultOf(waiting), b"\0")
        self.assertEqual(self.successResultOf(self.poll(cmd_id)), b"\0")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_other_news_does_not_count(self) -> None:
        """Output of the other stream, or before the offset, goes on waiting, up to the time."""
        cmd_id = self.run_one()
        waiting = self.poll(cmd_id, offset=5)
        self.hearing.heard_output(self.output(cmd_id, b"1234"), GUEST)
        self.clock.advance(9)
        self.assertNoResult(waiting)
        self.clock.advance(1)
        self.assertEqual(self.successResultOf(waiting), b"")

    def test_nothing_more_will_come(self) -> None:
        """The end of the command, and of what may be kept, ends the wait."""
        cmd_id = self.run_one(CommandSpec(cmd="x", output_limit_bytes=2))
        waiting = self.poll(cmd_id, offset=2)
        self.hearing.heard_output(self.output(cmd_id, b"123"), GUEST)
        self.assertEqual(self.successResultOf(waiting), b"")
        other = self.run_one()
        waiting = self.poll(other)
        self.hearing.vm_stopped("u", "the VM is PoweredOff")
        self.assertEqual(self.successResultOf(waiting), b"")

    def test_one_that_gives_up(self) -> None:
        """A caller that hangs up leaves nothing behind."""
        cmd_id = self.run_one()
        waiting = self.poll(cmd_id)
        waiting.cancel()
        self.failureResultOf(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.hearing.heard_output(self.output(cmd_id, b"x"), GUEST)
