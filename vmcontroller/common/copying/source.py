"""The file that is read: where it lies, what is kept of it, its blocks and its digest.

Everything here blocks on the disk and belongs in a thread; no reactor, no words.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vmcontroller.common.copying.ends import Hole
from vmcontroller.common.copying.extents import Extent, data_extents
from vmcontroller.common.copying.holding import HOLE_MOST_BYTES, hash_zeros
from vmcontroller.common.copying.owners import Owners
from vmcontroller.common.copying.reasons import Reason, explained
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.words.files import FileFacts

BLOCK_BYTES: Final = 512 * 1024
"""Read at once, as much as one frame carries; a hop to a thread costs as much as hashing some
100 KiB, so not much less."""

_ADVICE: Final = "; the option `recursive` copies one with all below it"

HOLE_LEAST_BYTES: Final = 16 * 1024
"""A shorter hole is read as the zeros that it stands for: a word costs more."""

DIRECTORY_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A name in a directory that is held open, so that nothing can be moved underneath."""

    directory_fd: int
    name: str
    shown: str
    """The path as errors name it."""

    def kind(self) -> os.stat_result | None:
        """Return what lies there, None when nothing does; a symbolic link is not followed."""
        with explained(self.shown):
            try:
                return os.stat(self.name, dir_fd=self.directory_fd, follow_symlinks=False)
            except FileNotFoundError:
                return None

    def close(self) -> None:
        os.close(self.directory_fd)


def place_at(path: str, *, home: str) -> Place:
    """Find a place anywhere on this machine; a relative path is one below `home`.

    Symbolic links are followed first, so that what a link names is read or replaced, as by cp.
    Raises TransferFailed when there is no such directory, or the path can only be a directory.
    """
    if not path:
        raise TransferFailed(Reason.NO_SUCH_FILE, "the path is empty")
    with explained(path):
        real = os.path.realpath(Path(home) / path)
        directory, name = os.path.split(real)
        if path.endswith("/") or not name:
            raise TransferFailed(Reason.IS_A_DIRECTORY, f"{path!r} names a directory")
        return Place(directory_fd=os.open(directory, DIRECTORY_FLAGS), name=name, shown=path)


def open_below(root: str, names: Sequence[str]) -> int:
    """Open a directory one name at a time, following no link below `root`.

    Returns a descriptor for `dir_fd` only. Raises OSError; NotADirectoryError for a link.
    """
    here_fd = os.open(root, DIRECTORY_FLAGS)
    for name in names:
        try:
            below_fd = os.open(name, DIRECTORY_FLAGS | os.O_NOFOLLOW, dir_fd=here_fd)
        finally:
            os.close(here_fd)
        here_fd = below_fd
    return here_fd


def must_be_file(found: os.stat_result, shown: str, advice: str = "") -> None:
    """Raise TransferFailed unless this is a regular file."""
    if stat.S_ISDIR(found.st_mode):
        raise TransferFailed(Reason.IS_A_DIRECTORY, f"{shown!r} is a directory{advice}")
    if not stat.S_ISREG(found.st_mode):
        raise TransferFailed(Reason.NOT_A_FILE, f"{shown!r} is not a regular file")


def open_file(place: Place, advice: str = "") -> int:
    """Open the regular file that lies there for reading, and close the place.

    Raises TransferFailed: NO_SUCH_FILE, IS_A_DIRECTORY (with `advice`), NOT_A_FILE,
    PERMISSION_DENIED …
    """
    try:
        found = place.kind()
        # Looked at before it is opened too: opening a watchdog's device arms it.
        if found is not None:
            must_be_file(found, place.shown, advice)
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC
        with explained(place.shown):
            return os.open(place.name, flags, dir_fd=place.directory_fd)
    finally:
        place.close()


class SourceFile:
    """A regular file, open for reading, hashed as it is read: a Source."""

    def __init__(self, fd: int, shown: str, *, holes: bool = False, owner: bool = False) -> None:
        """Take over an open file; TransferFailed when it is not a regular one.

        `holes`: holes are told, not read. `owner`: the facts name its user and its group.
        """
        found = os.fstat(fd)
        must_be_file(found, shown, _ADVICE)
        owners = Owners().names(found) if owner else ("", "")
        taken_bytes = found.st_blocks * 512
        self.facts = FileFacts(
            size_bytes=found.st_size,
            mode=stat.S_IMODE(found.st_mode),
            mtime_ns=max(0, found.st_mtime_ns),
            owner=owners[0],
            group=owners[1],
            data_bytes=taken_bytes if holes and taken_bytes < found.st_size else None,
        )
        self._fd = fd
        self._shown = shown
        self._mtime_ns = found.st_mtime_ns
        self._digest = hashlib.sha256()
        self._at_bytes = 0
        self._extents: Iterator[Extent] | None = None
        if self.facts.data_bytes is not None:
            self._extents = data_extents(fd, found.st_size)
        self._extent = Extent(0, 0)
        """The stretch with data that this is in or comes to, where holes are told."""

    @classmethod
    def open(cls, place: Place, *, holes: bool = False, owner: bool = False) -> SourceFile:
        """Open what lies there, and close the place; raises TransferFailed as open_file."""
        fd = open_file(place, _ADVICE)
        try:
            return cls(fd, place.shown, holes=holes, owner=owner)
        except BaseException:
            os.close(fd)
            raise

    def read(self) -> bytes | Hole:
        """Return the next block, at most BLOCK_BYTES, or hole, at most HOLE_MOST_BYTES.

        Raises TransferFailed CHANGED when the file got shorter.
        """
        return self._read(BLOCK_BYTES, HOLE_MOST_BYTES)

    def skip(self, to_bytes: int) -> str:
        """Read and hash up to this offset, at least to where it is; see Source.skip."""
        while (left_bytes := to_bytes - self._at_bytes) > 0:
            self._read(min(BLOCK_BYTES, left_bytes), min(HOLE_MOST_BYTES, left_bytes))
        return self._digest.hexdigest()

    def _read(self, most_bytes: int, most_hole_bytes: int) -> bytes | Hole:
        with explained(self._shown):
            hole_bytes = self._before_data()
            if hole_bytes:
                hole = Hole(min(hole_bytes, most_hole_bytes))
                hash_zeros(self._digest, hole.length_bytes)
                self._at_bytes += hole.length_bytes
                return hole
            end_bytes = self.facts.size_bytes if self._extents is None else self._extent.end
            length_bytes = min(most_bytes, end_bytes - self._at_bytes)
            block = os.pread(self._fd, length_bytes, self._at_bytes)
        if not block:
            raise self._changed()
        self._at_bytes += len(block)
        self._digest.update(block)
        return block

    def _before_data(self) -> int:
        """Return the length of the hole that begins here; 0 for none that is worth a word."""
        if self._extents is None:
            return 0
        size_bytes = self.facts.size_bytes
        while self._extent.end <= self._at_bytes < size_bytes:
            # Behind the last there is a hole to the end; then data that is never reached.
            self._extent = next(self._extents, Extent(size_bytes, 1))
        gap_bytes = self._extent.offset - self._at_bytes
        last = self._extent.offset >= size_bytes
        return gap_bytes if gap_bytes >= HOLE_LEAST_BYTES or (last and gap_bytes > 0) else 0

    def finish(self) -> str:
        """Return the SHA-256 of all that was read, in hex.

        Raises TransferFailed CHANGED when the file was written to meanwhile: a copy of some old
        and some new bytes is no copy. So it does for a file of /proc, which says it is empty.
        """
        with explained(self._shown):
            found = os.fstat(self._fd)
            more = os.pread(self._fd, 1, self._at_bytes)
        if more or (found.st_size, found.st_mtime_ns) != (self.facts.size_bytes, self._mtime_ns):
            raise self._changed()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _changed(self) -> TransferFailed:
        return TransferFailed(
            Reason.CHANGED, f"{self._shown!r} changed while it was read, or has no true size"
        )
