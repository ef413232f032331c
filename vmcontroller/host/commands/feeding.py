"""The stdin of commands that is sent while they run: by sendCmdStdin, or from a file of the host.

The guest says how much it has room for, and what it has taken. What sendCmdStdin brings lies in
the database until the guest has taken it, so that neither side's restart loses any of it; a file
of the host is read where it lies, and must stay as it was.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from vmcontroller.common.background import in_background
from vmcontroller.common.errors import (
    BadArgument,
    Busy,
    NotConnected,
    NotStored,
    VMControllerError,
)
from vmcontroller.common.words.running import CmdStdin, CmdStdinRoom
from vmcontroller.host.commands import rows
from vmcontroller.host.commands.host_file import read_part
from vmcontroller.host.commands.record import Command, StdinState
from vmcontroller.host.commands.store import Store
from vmcontroller.host.commands.world import CommandWorld

WAITING_BYTES: Final = 16 * 2**20
"""What sendCmdStdin brings may wait here up to this size, for each command."""

PIECE_BYTES: Final = 128 * 1024
"""In one CMD_STDIN: an eighth of the largest frame, so that other words get in between."""


@dataclass(slots=True)
class _Flow:
    """What is known of the way to the guest; new with every start of the daemon."""

    sent_bytes: int = 0
    room_bytes: int = 0
    end_said: bool = False
    rewinding: bool = True
    """The next CMD_STDIN_ROOM says from where on to send."""
    pumping: bool = False
    noted_bytes: int = 0
    """What the database knows to be taken."""
    lock: DeferredLock = field(default_factory=DeferredLock)
    """For whoever changes what the database knows."""


class Feeding:
    """Gives commands their stdin."""

    _log = Logger()

    def __init__(self, world: CommandWorld, store: Store) -> None:
        self._world = world
        self._store = store
        self._flows: dict[str, _Flow] = {}

    async def send(self, command: Command, data: bytes) -> int:
        """Keep more of a command's stdin; return how many bytes it has been given in all.

        Raises BadArgument where it can't be given any, Busy while too much waits, NotStored.
        """
        _open_stdin(command)
        flow = self._flow(command)
        await flow.lock.acquire()
        try:
            stdin = _open_stdin(command)  # it may have been closed meanwhile
            waiting = stdin.waiting_bytes
            if waiting + len(data) > WAITING_BYTES:
                raise Busy(
                    f"{waiting} bytes wait for the guest to take them, of at most {WAITING_BYTES}; "
                    "try again when it has taken some"
                )
            after = replace(stdin, given_bytes=stdin.given_bytes + len(data))
            pieces = [
                (stdin.given_bytes + at, data[at : at + PIECE_BYTES])
                for at in range(0, len(data), PIECE_BYTES)
            ]
            await self._store.write(rows.fed(command.cmd_id, after, pieces))
            stdin.given_bytes = after.given_bytes
        finally:
            flow.lock.release()
        self._pump_soon(command, flow)
        return stdin.given_bytes

    async def close(self, command: Command) -> None:
        """Let a command's stdin end after what it has been given; raises BadArgument, NotStored."""
        if _is_closed(command):
            return
        _open_stdin(command)
        flow = self._flow(command)
        await flow.lock.acquire()
        try:
            if _is_closed(command):
                return
            stdin = _open_stdin(command)
            await self._store.write(rows.fed(command.cmd_id, replace(stdin, end=True)))
            stdin.end = True
        finally:
            flow.lock.release()
        self._pump_soon(command, flow)

    def heard_room(self, command: Command, word: CmdStdinRoom) -> None:
        """Send as much as the guest has room for now."""
        stdin = command.stdin
        if stdin is None or stdin.closed or command.has_ended:
            return
        flow = self._flow(command)
        if flow.rewinding:
            flow.rewinding = False
            flow.sent_bytes = min(word.taken_bytes, stdin.given_bytes)
            flow.end_said = False
        taken = min(word.taken_bytes, flow.sent_bytes)
        stdin.taken_bytes = max(stdin.taken_bytes, taken)
        flow.room_bytes = word.room_bytes
        if word.closed:
            stdin.closed = True
        if word.closed or stdin.taken_bytes - flow.noted_bytes >= PIECE_BYTES:
            flow.noted_bytes = stdin.taken_bytes
            _ = in_background(self._note(command, flow), "noting what stdin was taken")
        self._pump_soon(command, flow)

    async def _note(self, command: Command, flow: _Flow) -> None:
        """Let the database know what was taken, and drop it there."""
        await flow.lock.acquire()
        try:
            if command.stdin is not None and not command.has_ended:
                await self._store.write(rows.fed(command.cmd_id, command.stdin))
        except NotStored as error:
            self._log.warn("what stdin was taken: {error}", error=str(error))
        finally:
            flow.lock.release()

    def said_hello(self, command: Command) -> None:
        """Wait for the guest to say what it has taken: what was on the way may be lost."""
        if command.stdin is not None and not command.has_ended:
            self._flow(command).rewinding = True

    def has_ended(self, command: Command) -> None:
        """Nothing more is needed for it."""
        self._flows.pop(command.cmd_id, None)

    def _flow(self, command: Command) -> _Flow:
        return self._flows.setdefault(command.cmd_id, _Flow())

    def _pump_soon(self, command: Command, flow: _Flow) -> None:
        if not flow.pumping:
            flow.pumping = True
            _ = in_background(self._pump(command, flow), "sending stdin")

    async def _pump(self, command: Command, flow: _Flow) -> None:
        try:
            while await self._send_some(command, flow):
                pass
        except NotConnected:  # the guest says what it has taken when it is there again
            pass
        finally:
            flow.pumping = False

    async def _send_some(self, command: Command, flow: _Flow) -> bool:
        """Send a piece; tell whether there may be more to send."""
        stdin = command.stdin
        assert stdin is not None
        if stdin.closed or command.has_ended or flow.rewinding:
            return False
        at = flow.sent_bytes
        length_bytes = min(flow.room_bytes, stdin.given_bytes, at + PIECE_BYTES) - at
        if length_bytes <= 0:
            self._say_end(command, stdin, flow)
            return False
        try:
            data = await self._piece(command, stdin, at, length_bytes)
        except VMControllerError as error:
            await self._break_off(command, stdin, flow, str(error))
            return True
        if flow.rewinding or flow.sent_bytes != at:
            return True  # the guest has said HELLO meanwhile
        flow.end_said = stdin.end and at + len(data) == stdin.given_bytes
        self._world.say(
            command.guest,
            CmdStdin(cmd_id=command.cmd_id, offset=at, data=data, end=flow.end_said),
        )
        flow.sent_bytes += len(data)
        return True

    def _say_end(self, command: Command, stdin: StdinState, flow: _Flow) -> None:
        if stdin.end and flow.sent_bytes >= stdin.given_bytes and not flow.end_said:
            flow.end_said = True
            word = CmdStdin(cmd_id=command.cmd_id, offset=flow.sent_bytes, data=b"", end=True)
            self._world.say(command.guest, word)

    async def _piece(
        self, command: Command, stdin: StdinState, offset: int, length_bytes: int
    ) -> bytes:
        if stdin.host_file is not None:
            return await self._world.in_thread(
                read_part, self._world.open_file, stdin.host_file, offset, length_bytes
            )
        data = await self._store.read(
            lambda disk: rows.piece_at(disk, command.cmd_id, offset, length_bytes)
        )
        if not data and not command.has_ended:
            raise NotStored(f"bytes {offset} … of the stdin of {command.cmd_id} are gone")
        return data

    async def _break_off(
        self, command: Command, stdin: StdinState, flow: _Flow, problem: str
    ) -> None:
        """End the stdin where it is: nothing right can follow."""
        self._log.warn(
            "the stdin of {cmd_id} ends early: {problem}", cmd_id=command.cmd_id, problem=problem
        )
        stdin.given_bytes = flow.sent_bytes
        stdin.end = True
        stdin.error = problem
        await self._note(command, flow)


def _is_closed(command: Command) -> bool:
    return command.stdin is not None and command.stdin.end and command.stdin.host_file is None


def _open_stdin(command: Command) -> StdinState:
    """Return the stdin of a command that can be given more; BadArgument says why not."""
    stdin = command.stdin
    if command.has_ended:
        raise BadArgument("cmdId", f"{command.cmd_id} has ended")
    if stdin is None:
        raise BadArgument(
            "cmdId", f"{command.cmd_id} has no open stdin; runCmd opens one with stdinOpen"
        )
    if stdin.host_file is not None:
        raise BadArgument("cmdId", f"the stdin of {command.cmd_id} is a file of the host")
    if stdin.end:
        raise BadArgument("cmdId", f"the stdin of {command.cmd_id} has been closed")
    if stdin.closed:
        raise BadArgument("cmdId", f"{command.cmd_id} reads its stdin no more: it has closed it")
    return stdin
