"""Reads console logs that somebody else writes and rotates; offsets outlive the rotations.

A log is a file and, where it has been rotated, `FILE.0` (the one before), `FILE.1` and so on, the
oldest of which its writer removes. Where each of them begins in all that was ever written is noted
beside the daemon's state, with what tells the files apart, and carried on from one look to the
next. Blocks; called in threads.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from vmcontroller.host.hypervisor.screen import ConsolePiece

ROTATED_MOST: Final = 32
"""Of the rotated files so many are looked for; virtlogd keeps 3 unless it is told otherwise."""
LOG_SUFFIX: Final = ".log"
TRIES: Final = 10
"""How often the files are opened again because they were rotated meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One file of a log as it was found."""

    inode: int
    size: int
    mtime_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """One file of a log, and where it begins in all that was ever written."""

    seen: Seen
    begins: int

    @property
    def ends(self) -> int:
        """The offset after its last byte."""
        return self.begins + self.seen.size


def place(known: Sequence[Placed], found: Sequence[Seen]) -> tuple[Placed, ...]:
    """Say where each file `found` begins, from where those `known` earlier did; oldest first.

    Where none of them is known any more, more was dropped than can be told: what is there now
    begins after all that was ever known, with a gap of one byte at least. Pure.
    """
    if not found:
        return ()
    first, begins = 0, known[-1].ends + 1 if known else 0
    for rotations in range(len(found) if known else 0):
        if _fits(known, found, rotations):
            both = min(len(known), len(found) - rotations)
            first, begins = len(found) - rotations - both, known[-both].begins
            break
    placed = []
    for seen in found[first:]:
        placed.append(Placed(seen=seen, begins=begins))
        begins += seen.size
    return tuple(placed)


def _fits(known: Sequence[Placed], found: Sequence[Seen], rotations: int) -> bool:
    """Whether the files are those that were known, after so many rotations.

    Inodes alone don't tell: that of a removed file is soon given to a new one. A rotated file
    keeps its size and its time for ever; the newest one only grows.
    """
    if rotations == 0 and len(found) > len(known):
        return False
    pairs = list(zip(reversed(known), reversed(found[: len(found) - rotations]), strict=False))
    (newest, now), *older = pairs
    return (
        newest.seen.inode == now.inode
        and newest.seen.size <= now.size
        and all(before.seen == after for before, after in older)
    )


class ConsoleFiles:
    """Console logs, and what is noted of them in `directory`."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make the directory, for whoever writes logs into it."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def log_of(self, key: str) -> str:
        """Return the path of the log that is kept here under a key."""
        return str(self._directory / f"{key}{LOG_SUFFIX}")

    def remove(self, key: str) -> None:
        """Remove the log that is kept here under a key, and what is noted of it."""
        with self._lock:
            self._notes(key).unlink(missing_ok=True)
            for name in _names(self.log_of(key)):
                try:
                    os.unlink(name)
                except FileNotFoundError:
                    break

    def read(self, key: str, path: str, offset: int, length: int) -> ConsolePiece:
        """Return up to `length` bytes from `offset` on of the log at `path`.

        What begins earlier than what is kept begins with that; behind the end there is nothing.
        A log that does not exist yet is empty. Raises OSError.
        """
        with self._lock, _opened(path) as descriptors:
            found = [_seen(descriptor) for descriptor in descriptors]
            known = self._known(key)
            if not found:
                end = known[-1].ends if known else 0
                return ConsolePiece(data=b"", offset=end, begins=end)
            placed = place(known, found)
            if placed != known:
                self._note(key, placed)
            begins, ends = placed[0].begins, placed[-1].ends
            offset = min(max(offset, begins), ends)
            data = _bytes(placed, descriptors[-len(placed) :], offset, length)
            return ConsolePiece(data=data, offset=offset, begins=begins)

    def _notes(self, key: str) -> Path:
        return self._directory / f"{key}.offsets"

    def _known(self, key: str) -> tuple[Placed, ...]:
        try:
            notes = json.loads(self._notes(key).read_text(encoding="ascii"))
            return tuple(Placed(seen=Seen(**note["seen"]), begins=note["begins"]) for note in notes)
        except (OSError, ValueError, TypeError, KeyError):
            return ()

    def _note(self, key: str, placed: Sequence[Placed]) -> None:
        self.prepare()
        new = self._notes(key).with_suffix(".new")
        new.write_text(json.dumps([asdict(each) for each in placed]), encoding="ascii")
        new.rename(self._notes(key))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[list[int]]:
    """Open all files of a log, the oldest first, none of them twice and none left out."""
    for _ in range(TRIES):
        with contextlib.ExitStack() as stack:
            descriptors = []
            for name in _names(path):
                try:
                    descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                except FileNotFoundError:
                    break
                stack.callback(os.close, descriptor)
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError(f"{name} is not a file")
                descriptors.append(descriptor)
            if not descriptors and os.path.lexists(f"{path}.0"):
                continue  # the next one is about to be made
            if _inodes(path) == [os.fstat(descriptor).st_ino for descriptor in descriptors]:
                yield descriptors[::-1]
                return
    raise OSError(f"{path} is rotated faster than it can be read")


def _names(path: str) -> Iterator[str]:
    yield path
    for number in range(ROTATED_MOST):
        yield f"{path}.{number}"


def _inodes(path: str) -> list[int]:
    inodes = []
    for name in _names(path):
        try:
            inodes.append(os.stat(name).st_ino)
        except FileNotFoundError:
            break
    return inodes


def _seen(descriptor: int) -> Seen:
    status = os.fstat(descriptor)
    return Seen(inode=status.st_ino, size=status.st_size, mtime_ns=status.st_mtime_ns)


def _bytes(placed: Sequence[Placed], descriptors: Sequence[int], offset: int, length: int) -> bytes:
    data = b""
    for each, descriptor in zip(placed, descriptors, strict=True):
        if len(data) < length and each.begins <= offset + len(data) < each.ends:
            wanted = min(length - len(data), each.ends - offset - len(data))
            data += os.pread(descriptor, wanted, offset + len(data) - each.begins)
    return data
