"""A command whose stdin stays open: every byte once, in order, however often it is said."""

from __future__ import annotations

import os
import random

from twisted.internet.defer import Deferred

from tests.integration.running import Running, until
from vmcontroller.common.model import CommandResult, CommandSpec
from vmcontroller.common.words.running import CmdSignal, CmdStdin, CmdStdinRoom
from vmcontroller.guest.commands.feed import ROOM_BYTES

PIECE_BYTES = 60_000


class StdinTests(Running):
    """The host sends as it is told that there is room."""

    def open(self, cmd: str, *args: str, stdin: bytes = b"") -> Deferred[CommandResult]:
        spec = CommandSpec(cmd=cmd, args=args, stdin=stdin, stdin_open=True)
        return self.begin(spec)

    def rooms(self) -> list[CmdStdinRoom]:
        """Return, and forget, what was said of room."""
        return [word for word in self.host.words() if isinstance(word, CmdStdinRoom)]

    def send(self, offset: int, data: bytes, *, end: bool = False) -> None:
        self.runner.heard_cmd_stdin(CmdStdin(cmd_id="id", offset=offset, data=data, end=end))

    async def room(self) -> CmdStdinRoom:
        """Return the next that is said."""
        rooms: list[CmdStdinRoom] = []
        await until(lambda: rooms.extend(self.rooms()) or rooms)
        return rooms[-1]

    async def test_first_room(self) -> None:
        """It is said at the start, after the bytes of CMD_RUN; the end ends it."""
        ending = self.open("cat", stdin=b"first ")
        (room,) = self.rooms()
        self.assertEqual(room, CmdStdinRoom(cmd_id="id", taken_bytes=0, room_bytes=ROOM_BYTES))
        self.send(0, b"second")
        self.send(6, b"", end=True)
        self.assertEqual((await ending).exit_code_or_signal, 0)
        self.assertEqual(self.stdout, b"first second")
        self.assertTrue(self.rooms()[-1].closed)

    async def test_ten_megabytes(self) -> None:
        """Over lost connections, with words said again and again, cat prints the same bytes."""
        data = os.urandom(10 << 20)
        ending = self.open("cat")
        room, sent, dice = await self.room(), 0, random.Random(4)
        while not room.closed:
            while sent < min(len(data), room.room_bytes):
                until_byte = min(sent + PIECE_BYTES, room.room_bytes, len(data))
                self.send(sent, data[sent:until_byte], end=until_byte == len(data))
                if dice.random() < 0.1:
                    self.send(max(0, sent - 5), data[max(0, sent - 5) : until_byte])
                sent = until_byte
            if dice.random() < 0.2:
                self.host.lose()
                self.runner.connection_lost()
                self.host.connected = True
                self.runner.resume({"id": self.host.has("id")})
                room = await self.room()
                sent = room.taken_bytes
            else:
                room = await self.room()
        result = await ending
        self.assertEqual(result.stdout_bytes, len(data))
        self.assertEqual(self.stdout, data)

    async def test_nobody_reads(self) -> None:
        """What waits here is bounded: beyond the room nothing is taken."""
        ending = self.open("sleep", "60")
        data = bytes(ROOM_BYTES)
        self.send(0, data)
        taken = self.rooms()[-1].taken_bytes
        for _ in range(4):
            self.send(taken, data)
            last = self.rooms()[-1]
            self.assertLessEqual(last.taken_bytes, taken + ROOM_BYTES)
            taken = last.taken_bytes
        self.assertLessEqual(taken, 3 * ROOM_BYTES)
        self.runner.heard_cmd_signal(CmdSignal(cmd_id="id", signal="TERM"))
        await ending

    async def test_closed_by_the_command(self) -> None:
        """A command that reads no more is no fault, and the host is told to send no more."""
        ending = self.open("sh", "-c", "read line; exec <&-; echo $line; sleep 60")
        self.send(0, b"hello\n")
        await until(lambda: self.stdout)
        self.rooms()
        self.send(6, b"too late")
        self.assertTrue(self.rooms()[-1].closed)
        self.runner.heard_cmd_signal(CmdSignal(cmd_id="id", signal="TERM"))
        await ending

    async def test_ended(self) -> None:
        """A command that has ended without it wants no more; one that never was, neither."""
        await self.open("true")
        self.rooms()
        self.send(0, b"late")
        (room,) = self.rooms()
        self.assertTrue(room.closed)

    async def test_file_and_open(self) -> None:
        """It can't be both."""
        spec = CommandSpec(cmd="cat", stdin_open=True, file_for_stdin="/etc/passwd")
        result = await self.begin(spec)
        self.assertEqual((result.exit_code_or_signal, result.error[:10]), (126, "BAD_STDIN:"))

    async def test_much_in_front(self) -> None:
        """The bytes of CMD_RUN may be more than a pipe holds."""
        first = os.urandom(900_000)
        ending = self.open("cat", stdin=first)
        self.send(0, b"more", end=True)
        await ending
        self.assertEqual(self.stdout, first + b"more")
