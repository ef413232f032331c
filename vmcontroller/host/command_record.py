"""One command as the host knows it: its request, its state, its stored output, its result."""

from __future__ import annotations

import enum
from pathlib import Path

from vmcontroller.common.model import CommandResult, CommandSpec, GuestId
from vmcontroller.common.words.commands import STREAMS

IN_MEMORY_BYTES = 16 * 1024
"""Output of a stream up to this size needs no file: most commands print less."""


class CommandState(enum.StrEnum):
    """Where a command is on its way."""

    SENT = "sent"
    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"
    """It will never be known how it ended; `error` says why."""


class Stream:
    """The stored bytes of stdout or stderr: without a gap from the first byte on.

    Up to IN_MEMORY_BYTES they need no file; beyond, they lie in one that is open only while it
    is read or written, so that ten thousand commands need no ten thousand descriptors.
    """

    def __init__(self, path: str, limit_bytes: int) -> None:
        self._path = Path(path)
        self._limit_bytes = limit_bytes
        self._memory: bytearray | None = bytearray()
        self.stored_bytes = 0

    def store(self, offset: int, data: bytes) -> None:
        """Append what is new in `data`; a repetition or a piece behind a gap adds nothing.

        Nothing is stored beyond the limit that the command was sent with, whatever comes.
        """
        if not offset <= self.stored_bytes < offset + len(data):
            return
        new = data[self.stored_bytes - offset : self._limit_bytes - offset]
        if self._memory is not None:
            self._memory += new
            if len(self._memory) > IN_MEMORY_BYTES:
                self._append(bytes(self._memory))
                self._memory = None
        else:
            self._append(new)
        self.stored_bytes += len(new)

    def read(self, offset: int, length_bytes: int) -> bytes:
        """Return up to `length_bytes` from `offset`; empty at the end."""
        if self._memory is not None:
            return bytes(self._memory[offset : offset + length_bytes])
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read(length_bytes)

    def close(self) -> None:
        """Give the bytes up."""
        if self._memory is None:
            self._path.unlink(missing_ok=True)

    def _append(self, data: bytes) -> None:
        with self._path.open("ab") as file:
            file.write(data)


class Command:
    """A command's record."""

    def __init__(
        self,
        *,
        cmd_id: str,
        vm_name: str,
        vm_uuid: str,
        guest: GuestId,
        spec: CommandSpec,
        sent_s: float,
        spool_dir: str,
    ) -> None:
        """`sent_s` is a monotonic time, as every time here."""
        self.cmd_id = cmd_id
        self.vm_name = vm_name
        self.vm_uuid = vm_uuid
        self.guest = guest
        self.spec = spec
        self.sent_s = sent_s
        self.ended_s = 0.0
        self.state = CommandState.SENT
        self.pid = 0
        self.result: CommandResult | None = None
        self.error = ""
        self.streams = {
            name: Stream(f"{spool_dir}/{cmd_id}.{name}", spec.output_limit_bytes)
            for name in STREAMS
        }

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.state in {CommandState.ENDED, CommandState.LOST}

    @property
    def stored_bytes(self) -> tuple[int, int]:
        """How many bytes of stdout and of stderr are stored."""
        return (self.streams["stdout"].stored_bytes, self.streams["stderr"].stored_bytes)

    def started(self, pid: int) -> None:
        """Note that the guest runs it."""
        if self.state is CommandState.SENT:
            self.state = CommandState.RUNNING
            self.pid = pid

    def has_all_of(self, result: CommandResult) -> bool:
        """Whether all the output is stored that the result speaks of."""
        return self.stored_bytes == (result.stdout_bytes, result.stderr_bytes)

    def ended_with(self, result: CommandResult, now_s: float) -> None:
        """Note how it ended; a result that comes late is better than a command lost."""
        self.state = CommandState.ENDED
        self.result = result
        self.error = result.error
        self.ended_s = now_s

    def lost(self, reason: str, now_s: float) -> None:
        """Note that its end will not be known."""
        self.state = CommandState.LOST
        self.error = f"LOST: {reason}"
        self.ended_s = now_s

    def close(self) -> None:
        """Give its output up."""
        for stream in self.streams.values():
            stream.close()
