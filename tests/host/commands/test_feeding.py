"""Stdin that is sent while a command runs: nothing lost, nothing twice, no more than fits."""

from __future__ import annotations

import os
import random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.host.commands.case import GUEST, STRANGER, TRUE, CommandsCase
from vmcontroller.common.errors import AccessDenied, BadArgument, Busy, TransferFailed
from vmcontroller.common.model import CommandSpec
from vmcontroller.common.words.running import CmdStdin, CmdStdinRoom
from vmcontroller.host.commands.answers import details_of
from vmcontroller.host.commands.feeding import PIECE_BYTES, WAITING_BYTES

OPEN = CommandSpec(cmd="cat", stdin_open=True)


class Taker:
    """The guest's end of a stdin, with room for so much; takes what follows what it has."""

    def __init__(self, case: FeedingCase, cmd_id: str, room_bytes: int) -> None:
        self.case, self.cmd_id, self.room_bytes = case, cmd_id, room_bytes
        self.got = bytearray()
        self.ended = False

    def say_room(self, **more) -> None:
        word = CmdStdinRoom(
            cmd_id=self.cmd_id,
            taken_bytes=len(self.got),
            room_bytes=len(self.got) + self.room_bytes,
            **more,
        )
        self.case.hearing.heard_room(word, GUEST)

    def take(self) -> bool:
        """Take what was said; tell whether there was anything."""
        words = [word for _, word in self.case.said if isinstance(word, CmdStdin)]
        self.case.said.clear()
        for word in words:
            self.case.assertLessEqual(word.offset + len(word.data), len(self.got) + self.room_bytes)
            new = word.data[len(self.got) - word.offset :]
            self.case.assertGreaterEqual(len(self.got), word.offset)
            self.got += new
            self.ended |= word.end
        return bool(words)

    def take_all(self) -> None:
        self.say_room()
        while self.take():
            self.say_room(closed=self.ended)


class FeedingCase(CommandsCase):
    def send(self, cmd_id: str, data: bytes) -> int:
        return self.now(self.commands.feeding.send(self.get(cmd_id), data))

    def close(self, cmd_id: str) -> None:
        self.now(self.commands.feeding.close(self.get(cmd_id)))

    def stdin(self, cmd_id: str):
        return self.get(cmd_id).stdin


class SendingTests(FeedingCase):
    def test_within_the_room(self) -> None:
        """Bytes go to the guest as far as it has room, in order, and then their end."""
        cmd_id = self.run_one(OPEN)
        taker = Taker(self, cmd_id, 1000)
        self.said.clear()
        data = random.Random(1).randbytes(3 * PIECE_BYTES)
        self.assertEqual(self.send(cmd_id, data[:10]), 10)
        self.assertEqual(self.said, [])
        self.assertEqual(self.send(cmd_id, data[10:]), len(data))
        self.close(cmd_id)
        taker.take_all()
        self.assertEqual((bytes(taker.got), taker.ended), (data, True))
        details = details_of(self.get(cmd_id))["stdin"]
        self.assertEqual((details["given"], details["taken"]), (len(data), len(data)))

    def test_over_restarts(self) -> None:
        """What waits lies on the disk: a killed daemon's successor sends the rest, none twice."""
        cmd_id = self.run_one(OPEN)
        taker = Taker(self, cmd_id, 1000)
        data = random.Random(2).randbytes(2 * PIECE_BYTES + 77)
        self.send(cmd_id, data)
        taker.say_room()
        taker.take()
        self.restart(killed=True)
        self.hearing.reconcile(GUEST, {cmd_id}, "one")
        self.said.clear()
        self.close(cmd_id)
        self.restart()
        self.hearing.reconcile(GUEST, {cmd_id}, "one")
        self.said.clear()
        taker.take_all()
        self.assertEqual((bytes(taker.got), taker.ended), (data, True))

    def test_lost_on_the_way(self) -> None:
        """After a lost connection it goes on from what the guest has taken."""
        cmd_id = self.run_one(OPEN)
        taker = Taker(self, cmd_id, 100)
        self.send(cmd_id, bytes(range(200)))
        taker.say_room()
        self.said.clear()  # lost on the way
        self.hearing.reconcile(GUEST, {cmd_id}, "one")
        taker.take_all()
        self.assertEqual(bytes(taker.got), bytes(range(200)))

    def test_without_a_broker(self) -> None:
        """While the broker is away bytes are taken here, and sent afterwards."""
        cmd_id = self.run_one(OPEN)
        taker = Taker(self, cmd_id, 100)
        taker.say_room()
        self.connected = False
        self.assertEqual(self.send(cmd_id, b"kept"), 4)
        self.connected = True
        self.hearing.reconcile(GUEST, {cmd_id}, "one")
        taker.take_all()
        self.assertEqual(bytes(taker.got), b"kept")

    def test_bounded(self) -> None:
        """What waits is bounded; who sends too much is told to wait, until some was taken."""
        cmd_id = self.run_one(OPEN)
        half = WAITING_BYTES // 2
        self.send(cmd_id, bytes(half))
        self.send(cmd_id, bytes(half))
        error = self.refused(Busy, self.commands.feeding.send(self.get(cmd_id), b"x"))
        self.assertIn("try again", str(error))
        taker = Taker(self, cmd_id, 4 * PIECE_BYTES)
        taker.take_all()
        self.assertEqual(self.send(cmd_id, b"x"), WAITING_BYTES + 1)

    def test_taken_is_dropped(self) -> None:
        """What the guest has taken takes no more space in the database."""
        cmd_id = self.run_one(OPEN)
        self.send(cmd_id, bytes(4 * PIECE_BYTES))
        Taker(self, cmd_id, PIECE_BYTES).take_all()
        count = self.now(
            self.commands.store.read(
                lambda disk: disk.execute("SELECT count(*) FROM stdin_pieces").fetchone()[0]
            )
        )
        self.assertEqual(count, 0)

    def test_when_none_is_wanted(self) -> None:
        """Where nothing can be given any more, the caller is told why."""
        closed, shut, plain, ended = (self.run_one(spec) for spec in (OPEN, OPEN, TRUE, OPEN))
        self.close(closed)
        self.close(closed)
        Taker(self, shut, 10).say_room(closed=True)
        self.hearing.heard_result(self.result(ended), GUEST)
        for cmd_id, why in (
            (closed, "has been closed"),
            (shut, "reads its stdin no more"),
            (plain, "no open stdin"),
            (ended, "has ended"),
        ):
            feeding = self.commands.feeding
            error = self.refused(BadArgument, feeding.send(self.get(cmd_id), b"x"))
            self.assertIn(why, str(error))
        for cmd_id in (plain, ended):
            self.refused(BadArgument, self.commands.feeding.close(self.get(cmd_id)))

    def test_lies(self) -> None:
        """A guest that says it has taken what it was never sent, or a stranger, does no harm."""
        cmd_id = self.run_one(OPEN)
        self.said.clear()
        word = CmdStdinRoom(cmd_id=cmd_id, taken_bytes=2**62, room_bytes=2**62)
        self.hearing.heard_room(word, STRANGER)
        self.send(cmd_id, b"abc")
        self.assertEqual(self.said, [])
        self.hearing.heard_room(word, GUEST)
        self.hearing.heard_room(word, GUEST)
        self.send(cmd_id, b"def")
        self.assertEqual(self.stdin(cmd_id).given_bytes, 6)
        self.assertLessEqual(self.stdin(cmd_id).taken_bytes, 6)
        self.hearing.heard_room(
            CmdStdinRoom(cmd_id="none", taken_bytes=0, room_bytes=9, closed=True), GUEST
        )


class HostFileTests(FeedingCase):
    def setUp(self) -> None:
        super().setUp()
        self.file = self.home / "input"
        self.data = random.Random(3).randbytes(2 * PIECE_BYTES + 5)
        self.file.write_bytes(self.data)

    def run_with(self, path: str = "input") -> str:
        stdin = self.now(self.commands.stdin_from(path))
        return self.now(self.commands.run(self.vm, self.guests[GUEST], OPEN, stdin))

    def test_whole(self) -> None:
        """The guest gets the file as it is, also over a restart, and then its end."""
        cmd_id = self.run_with()
        taker = Taker(self, cmd_id, 70_000)
        taker.say_room()
        taker.take()
        self.restart(killed=True)
        self.hearing.reconcile(GUEST, {cmd_id}, "one")
        self.said.clear()
        taker.take_all()
        self.assertEqual((bytes(taker.got), taker.ended), (self.data, True))
        self.refused(BadArgument, self.commands.feeding.send(self.get(cmd_id), b"x"))
        self.refused(BadArgument, self.commands.feeding.close(self.get(cmd_id)))

    def test_empty(self) -> None:
        """An empty file is the end at once."""
        self.file.write_bytes(b"")
        taker = Taker(self, self.run_with(), 10)
        taker.take_all()
        self.assertEqual((bytes(taker.got), taker.ended), (b"", True))

    def test_changed(self) -> None:
        """A file that changes meanwhile ends the stdin there, and the command says so."""
        for change in (
            lambda: self.file.write_bytes(self.data[:-1]),
            lambda: os.utime(self.file, (1, 1)),
            self.file.unlink,
        ):
            self.file.write_bytes(self.data)
            cmd_id = self.run_with()
            taker = Taker(self, cmd_id, 1000)
            taker.say_room()
            taker.take()
            change()
            taker.take_all()
            self.assertTrue(taker.ended)
            self.assertEqual(bytes(taker.got), self.data[: len(taker.got)])
            error = details_of(self.get(cmd_id))["stdin"]["error"]
            self.assertRegex(error, "CHANGED|NO_SUCH_FILE")

    def test_what_may_not_be_read(self) -> None:
        """Nothing outside of the roots, no directory, nothing that isn't there."""
        os.symlink("/etc/passwd", self.home / "link")
        for path, error in (
            ("/etc/passwd", AccessDenied),
            ("link", AccessDenied),
            ("../../etc/passwd", AccessDenied),
            ("commands", TransferFailed),
            ("none", TransferFailed),
        ):
            self.refused(error, self.commands.stdin_from(path))


class AnyOrderTests(SynchronousTestCase):
    @settings(max_examples=60, deadline=None)
    @given(
        pieces=st.lists(st.binary(max_size=300), max_size=6),
        room_bytes=st.integers(1, 400),
        cuts=st.lists(st.sampled_from(["room", "lose", "restart", "kill", "take"]), max_size=12),
    )
    def test_any_order(self, pieces, room_bytes, cuts) -> None:
        """Whatever is lost and restarted between, the command reads exactly what was given."""
        case = FeedingCase("mktemp")
        case.setUp()
        cmd_id = case.run_one(OPEN)
        taker = Taker(case, cmd_id, room_bytes)
        case.said.clear()
        for index, cut in enumerate([*cuts, *["room"] * len(pieces)]):
            if index < len(pieces):
                case.send(cmd_id, pieces[index])
            if cut == "room":
                taker.say_room()
            elif cut == "take":
                taker.take()
            else:
                case.said.clear()
                if cut != "lose":
                    case.restart(killed=cut == "kill")
                case.hearing.reconcile(GUEST, {cmd_id}, "one")
                case.said.clear()
        case.close(cmd_id)
        case.hearing.reconcile(GUEST, {cmd_id}, "one")
        case.said.clear()
        taker.take_all()
        self.assertEqual((bytes(taker.got), taker.ended), (b"".join(pieces), True))
        case.now(case.commands.stop())
