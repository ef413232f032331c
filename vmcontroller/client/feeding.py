"""The stdin of a command, from a file object here: read, sent, and its end."""

from __future__ import annotations

import io
import os
import select
import stat
import threading
from typing import Final, Protocol

from vmcontroller.client.calls import Calls
from vmcontroller.client.errors import BadArgument, Busy, ConnectionLost
from vmcontroller.client.patience import Patience

PIECE_BYTES: Final = 2**20
BUSY_S: Final = 0.02


class Source(Protocol):
    """What stdin is read from: a binary file, a pipe, a terminal, or bytes in one."""

    def read(self, size: int, /) -> bytes:
        """Return up to so many bytes; none at the end."""
        ...


class Feeder:
    """Sends a source to a command, in a thread of its own."""

    def __init__(self, calls: Calls, cmd_id: str, source: Source) -> None:
        """`calls` is the thread's own."""
        self._calls = calls
        self._cmd_id = cmd_id
        self._source = source
        self._given_bytes = 0
        self._patience = Patience()
        self._woken, self._wake = os.pipe()
        self.error: Exception | None = None
        """Why it ended before the source did, unless the command wanted no more."""
        self._thread = threading.Thread(target=self._run, name=f"stdin {cmd_id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Read no more; what was read and not sent is lost."""
        self._patience.stop()
        os.write(self._wake, b"x")
        self._calls.abort()
        self._thread.join(5)
        if not self._thread.is_alive():  # else it is in a read() that nobody can end
            os.close(self._wake)
            os.close(self._woken)
        self._calls.close()

    def _run(self) -> None:
        try:
            while data := self._piece():
                self._send(data)
            if not self._patience.stopped:
                self._patience.ask(lambda: self._calls.close_cmd_stdin(self._cmd_id))
        except BadArgument:
            pass  # it has ended, or reads no more
        except Exception as error:  # noqa: BLE001 - told to whoever waits for the command
            if not self._patience.stopped:
                self.error = error

    def _piece(self) -> bytes:
        """Return what there is, as soon as there is any; b'' at the end, and when stopped."""
        fd = _slow_descriptor(self._source)
        if fd is None:
            return b"" if self._patience.stopped else self._source.read(PIECE_BYTES)
        found = bytearray()
        wait_ms: int | None = None
        while len(found) < PIECE_BYTES and self._is_readable(fd, wait_ms):
            more = os.read(fd, PIECE_BYTES - len(found))
            if not more:
                break
            found += more
            wait_ms = 0  # what else is there already goes with it
        return bytes(found)

    def _is_readable(self, fd: int, wait_ms: int | None) -> bool:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        ready = {each for each, _ in poll.poll(wait_ms)}
        return fd in ready and self._woken not in ready

    def _send(self, data: bytes) -> None:
        """Send it exactly once, also over a connection that breaks meanwhile."""
        wanted = self._given_bytes + len(data)
        while self._given_bytes < wanted:
            try:
                self._given_bytes = self._calls.send_cmd_stdin(self._cmd_id, data)
            except Busy:
                if not self._patience.rest(BUSY_S):
                    raise
            except ConnectionLost:
                if self._patience.stopped:
                    raise
                self._given_bytes = self._patience.ask(self._given)

    def _given(self) -> int:
        return int(self._calls.get_cmd_details(self._cmd_id)["stdin"]["given"])


def _slow_descriptor(source: Source) -> int | None:
    """Return the descriptor of a pipe, terminal or socket: what one may wait for without end."""
    try:
        fd: int = source.fileno()  # type: ignore[attr-defined]
    except (AttributeError, io.UnsupportedOperation):
        return None
    return None if stat.S_ISREG(os.fstat(fd).st_mode) else fd
