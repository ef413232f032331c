"""One stream of a command's output as it comes in. No I/O: who writes it down, asks here what.

The bytes that are kept have no gap from the first one on. Few of them stay in memory (and go into
the database with the result); more go into a file.
"""

from __future__ import annotations

from typing import Final, Protocol

INLINE_BYTES: Final = 16 * 1024
"""Output of a stream up to this size needs no file: most commands print less."""


class Room(Protocol):
    """How much may be kept, and may wait to be written."""

    def may_wait(self, size_bytes: int) -> bool:
        """Tell whether so much more may wait in memory for the disk; if so, it counts."""
        ...

    def grant(self, size_bytes: int) -> int:
        """Return how much of that may be kept in files; it counts from now on."""
        ...

    def give_back(self, size_bytes: int) -> None:
        """Count no more what was granted and is not kept."""
        ...

    @property
    def problem(self) -> str:
        """Why there is no more."""
        ...


class Output:
    """The bytes of stdout or stderr that have come."""

    __slots__ = ("_limit_bytes", "_pending", "_writing", "behind", "inline", "problem", "written")

    def __init__(
        self, *, limit_bytes: int, inline: bytes = b"", file_bytes: int | None = None
    ) -> None:
        """`file_bytes`: so much lies in the file, instead of `inline`."""
        self._limit_bytes = limit_bytes
        self._pending = bytearray()
        self._writing = b""
        self.inline = bytearray(inline) if file_bytes is None else None
        """All of it; None: it is in a file."""
        self.written = file_bytes or 0
        """How many bytes are in the file."""
        self.problem = ""
        """Why nothing more is kept."""
        self.behind = False
        """The disk was too slow and something was dropped, to be asked for again."""

    @property
    def size_bytes(self) -> int:
        """How much has come, and is kept."""
        if self.inline is not None:
            return len(self.inline)
        return self.written + len(self._writing) + len(self._pending)

    @property
    def is_full(self) -> bool:
        """Whether it is as long as it may be."""
        return self.size_bytes >= self._limit_bytes

    @property
    def is_written(self) -> bool:
        """Whether nothing waits to be written."""
        return not (self._pending or self._writing)

    def take(self, offset: int, data: bytes, room: Room) -> int:
        """Keep what is new in `data`; return how much that is.

        A repetition, or a piece behind a gap, adds nothing. Nothing is kept beyond the limit that
        the command was sent with, whatever comes, and nothing after a `problem`.
        """
        size = self.size_bytes
        if self.problem or not offset <= size < offset + len(data):
            return 0
        new = data[size - offset : max(0, self._limit_bytes - offset)]
        if not new:
            return 0
        if self.inline is not None:
            if size + len(new) <= INLINE_BYTES:
                self.inline += new
                return len(new)
            return self._move_to_file(self.inline, new, room)
        return self._append(new, room)

    def _move_to_file(self, inline: bytearray, new: bytes, room: Room) -> int:
        if not room.may_wait(len(inline)):
            self.behind = True
            return 0
        granted = room.grant(len(inline))
        if granted < len(inline):
            room.give_back(granted)
            self.problem = room.problem
            return 0
        self._pending += inline
        self.inline = None
        return self._append(new, room)

    def _append(self, new: bytes, room: Room) -> int:
        if not room.may_wait(len(new)):
            self.behind = True
            return 0
        granted = room.grant(len(new))
        if granted < len(new):
            self.problem = room.problem
        self._pending += new[:granted]
        return granted

    def to_write(self) -> tuple[int, bytes]:
        """Take what waits, and the offset it goes to; `wrote` or `failed` must follow."""
        self._writing = bytes(self._pending)
        self._pending.clear()
        return self.written, self._writing

    def wrote(self) -> None:
        """Note that it is in the file."""
        self.written += len(self._writing)
        self._writing = b""

    def failed(self, problem: str) -> int:
        """Keep nothing more: the disk is full, or broken. Return how much room is free again.

        Where nothing is in the file yet, what is short enough is kept without one.
        """
        unwritten = len(self._writing) + len(self._pending)
        if not self.written:
            self.inline = bytearray(self._writing[:INLINE_BYTES])
        self.problem = problem
        self._writing = b""
        self._pending.clear()
        return unwritten

    def found(self, file_bytes: int | None) -> None:
        """Go on with the file that a daemon before this one has left, of this size; None: none.

        A file holds what was inline before it was made. The file system writes the bytes before
        the size that covers them, so all of it counts even after the host has crashed.
        """
        if file_bytes is not None and file_bytes >= len(self.inline or b""):
            self.inline = None
            self.written = min(file_bytes, self._limit_bytes)
        elif self.inline is None:
            self.inline = bytearray()
            self.written = 0

    def inline_from(self, offset: int, length_bytes: int) -> bytes:
        """Return bytes of one that has no file."""
        assert self.inline is not None
        return bytes(self.inline[offset : offset + length_bytes])
