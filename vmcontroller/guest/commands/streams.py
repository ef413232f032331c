"""The reading end of a pipe in the reactor. Not what becomes of the bytes."""

from __future__ import annotations

import os
from collections.abc import Callable

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet, IReactorTime, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

READ_BYTES = 64 * 1024
"""What a pipe of Linux holds by default."""


class ICommandReactor(IReactorFDSet, IReactorTime):
    """What a command needs of the reactor."""


@implementer(IReadDescriptor)
class OutputPipe:
    """Reads a non-blocking pipe until its end; owns and closes the descriptor.

    It is read when it is drained, and from `begin` on whenever there is something.
    """

    def __init__(
        self,
        reactor: ICommandReactor,
        fd: int,
        on_data: Callable[[bytes], None],
        on_end: Callable[[], None],
    ) -> None:
        self._reactor = reactor
        self._fd = fd
        self._on_data = on_data
        self._on_end = on_end
        self._begun = False

    def begin(self) -> None:
        """Have the reactor read it from now on."""
        if self.open and not self._begun:
            self._begun = True
            self._reactor.addReader(self)

    @property
    def open(self) -> bool:
        """False after the end or `close`."""
        return self._fd >= 0

    def drain(self) -> None:
        """Read what a pipe can hold right now, so that an end is noticed without a turn more."""
        for _ in range(4):
            if not (self.open and self._read_once()):
                break

    def close(self) -> None:
        """Read no more; writers get EPIPE from the reactor's next turn on."""
        if self._fd >= 0 and not self._begun:
            os.close(self._fd)
            self._fd = -1
        elif self._fd >= 0:
            self._reactor.removeReader(self)
            # Not before the turn ends: it may hold a hang-up for this number still, and would
            # hand it to whatever is opened with the same number meanwhile.
            self._reactor.callLater(0, os.close, self._fd)
            self._fd = -1

    def _read_once(self) -> bool:
        try:
            data = os.read(self._fd, READ_BYTES)
        except BlockingIOError:
            return False
        if data:
            self._on_data(data)
            return True
        self.close()
        self._on_end()
        return False

    def fileno(self) -> int:
        return self._fd

    def doRead(self) -> None:
        self._read_once()

    def connectionLost(self, reason: Failure) -> None:
        """Look whether the pipe hung up, or another descriptor that had its number in this turn."""
        if self.open and isinstance(reason.value, ConnectionDone):
            self._read_once()
            if self.open:
                self._reactor.addReader(self)
        elif self.open:
            self.close()
            self._on_end()

    def logPrefix(self) -> str:
        return "output"
