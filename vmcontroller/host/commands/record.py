"""One command as the host knows it: its request, its state, its stored output, its result."""

from __future__ import annotations

import enum
from dataclasses import replace
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
        self.problem = ""
        """Why nothing more is stored: the host's disk is full, or broken."""

    def store(self, offset: int, data: bytes) -> None:
        """Append what is new in `data`; a repetition or a piece behind a gap adds nothing.

        Nothing is stored beyond the limit that the command was sent with, whatever comes, and
        nothing after a `problem`.
        """
        if self.problem or not offset <= self.stored_bytes < offset + len(data):
            return
        new = data[self.stored_bytes - offset : self._limit_bytes - offset]
        try:
            self._append(new)
        except OSError as error:
            self.problem = error.strerror or str(error)
        else:
            self.stored_bytes += len(new)

    def _append(self, new: bytes) -> None:
        if self._memory is not None:
            if len(self._memory) + len(new) <= IN_MEMORY_BYTES:
                self._memory += new
                return
            self._write(0, bytes(self._memory))
        self._write(self.stored_bytes, new)
        self._memory = None

    def _write(self, offset: int, data: bytes) -> None:
        """Write at a place of its own: what an earlier failure left there is written over."""
        with self._path.open("r+b" if self._path.exists() else "w+b") as file:
            file.seek(offset)
            file.write(data)

    def read(self, offset: int, length_bytes: int) -> bytes:
        """Return up to `length_bytes` from `offset`; empty at the end."""
        if self._memory is not None:
            return bytes(self._memory[offset : offset + length_bytes])
        with self._path.open("rb") as file:
            file.seek(offset)
            return file.read(length_bytes)

    def close(self) -> None:
        """Give the bytes up."""
        self._path.unlink(missing_ok=True)


class Command:
    """A command's record."""

    def __init__(
        self,
        *,
        cmd_id: str,
        vm_name: str,
        vm_uuid: str,
        guest: GuestId,
        session: str,
        spec: CommandSpec,
        sent_s: float,
        spool_dir: str,
    ) -> None:
        """`session` is the agent's; `sent_s` is a monotonic time, as every time here."""
        self.cmd_id = cmd_id
        self.vm_name = vm_name
        self.vm_uuid = vm_uuid
        self.guest = guest
        self.session = session
        self.spec = spec
        self.sent_s = sent_s
        self.ended_s = 0.0
        self.state = CommandState.SENT
        self.pid = 0
        self.result: CommandResult | None = None
        self.error = ""
        self.asked_again = False
        """For output that was missing when the result came."""
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
        """Whether all the output is stored that the result speaks of, or can be."""
        told = {"stdout": result.stdout_bytes, "stderr": result.stderr_bytes}
        return all(
            stream.problem or stream.stored_bytes == told[name]
            for name, stream in self.streams.items()
        )

    def ended_with(self, result: CommandResult, now_s: float) -> None:
        """Note how it ended; a result that comes late is better than a command lost."""
        self.state = CommandState.ENDED
        self.error = result.error
        for name, stream in self.streams.items():
            if stream.problem:
                result = replace(result, truncated=True)
                self.error = f"OUTPUT_NOT_STORED: {name} on the host: {stream.problem}"
        self.result = result
        self.ended_s = now_s

    def lost(self, reason: str, now_s: float) -> None:
        """Note that its end will not be known."""
        self.state = CommandState.LOST
        self.error = reason
        self.ended_s = now_s

    def close(self) -> None:
        """Give its output up."""
        for stream in self.streams.values():
            stream.close()
