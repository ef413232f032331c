"""The stdin of a command that is open: bytes in order, each once, as far as there is room."""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IWriteDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from vmcontroller.common.words.running import CmdStdin, CmdStdinRoom
from vmcontroller.guest.commands.streams import ICommandReactor

ROOM_BYTES = 256 * 1024
"""So much may be on its way, or wait here for the command to read it."""

SAY_AFTER_BYTES = ROOM_BYTES // 4
_WRITE_BYTES = 64 * 1024


@implementer(IWriteDescriptor)
class StdinFeed:
    """Writes to a non-blocking pipe; owns and closes the descriptor."""

    def __init__(
        self,
        reactor: ICommandReactor,
        *,
        cmd_id: str,
        fd: int,
        first: bytes,
        say: Callable[[CmdStdinRoom], None],
    ) -> None:
        """`first` goes in front of what CMD_STDIN brings, and does not count in its offsets."""
        self._reactor = reactor
        self._cmd_id = cmd_id
        self._fd = fd
        self._waiting = bytearray(first)
        self._say = say
        self._taken_bytes = 0
        self._room_said_bytes = 0
        self._ended = False
        self._watched = False
        self._write()

    @property
    def open(self) -> bool:
        """False when the command has got its end of file, or has closed it."""
        return self._fd >= 0

    def room(self) -> CmdStdinRoom:
        """Return what is to be said of it now."""
        closed = self._ended or not self.open
        self._room_said_bytes = self._taken_bytes if closed else self._room_bytes
        return CmdStdinRoom(
            cmd_id=self._cmd_id,
            taken_bytes=self._taken_bytes,
            room_bytes=self._room_said_bytes,
            closed=closed,
        )

    def heard(self, word: CmdStdin) -> None:
        """Take what is new of it, and fits; the host is told where to go on from."""
        if self._ended or not self.open:
            self._say(self.room())
            return
        known_bytes = self._taken_bytes - word.offset
        fitting = word.data[max(known_bytes, 0) : self._room_bytes - word.offset]
        if known_bytes < 0 or (known_bytes > len(word.data)):
            self._say(self.room())
            return
        self._taken_bytes += len(fitting)
        self._waiting += fitting
        whole = self._taken_bytes == word.offset + len(word.data)
        self._ended = word.end and whole
        self._write()
        if self._ended or not self.open or not whole:
            self._say(self.room())
        else:
            self._tell_of_room()

    def close(self) -> None:
        """Give it up: the command has ended."""
        if self.open:
            self._unwatch()
            # Not before the turn ends, as with an OutputPipe.
            self._reactor.callLater(0, os.close, self._fd)
            self._fd = -1
        self._waiting.clear()

    @property
    def _room_bytes(self) -> int:
        """The offset up to which bytes may come: what waits here is never more than the room."""
        unread = min(len(self._waiting), self._taken_bytes)
        return self._taken_bytes - unread + ROOM_BYTES

    def _tell_of_room(self) -> None:
        if self._room_bytes - self._room_said_bytes >= SAY_AFTER_BYTES:
            self._say(self.room())

    def _write(self) -> None:
        try:
            while self._waiting:
                del self._waiting[: os.write(self._fd, self._waiting[:_WRITE_BYTES])]
        except BlockingIOError:
            self._watch()
            return
        except OSError:  # nobody reads it any more: no fault of anybody
            self.close()
            return
        self._unwatch()
        if self._ended:
            self.close()

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            self._reactor.addWriter(self)

    def _unwatch(self) -> None:
        if self._watched:
            self._watched = False
            self._reactor.removeWriter(self)

    def fileno(self) -> int:
        return self._fd

    def doWrite(self) -> None:
        if not self.open:
            return
        self._write()
        if self.open:
            self._tell_of_room()
        elif not self._ended:
            self._say(self.room())

    def connectionLost(self, reason: Failure) -> None:
        """See whether it was this pipe that broke, or one that had its number in this turn."""
        self._watched = False
        if isinstance(reason.value, ConnectionDone):
            self.doWrite()
        else:
            self.close()

    def logPrefix(self) -> str:
        return "stdin"
