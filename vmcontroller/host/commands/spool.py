"""The files that hold what is too much for memory: STATE_DIR/commands/CMD-ID.STREAM.

A file is open only while it is read or written, so that ten thousand commands need no ten
thousand descriptors. Everything here blocks on the disk and belongs in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vmcontroller.common.copying.space import must_fit
from vmcontroller.common.whole_writes import write_all_at


class Spool:
    """A directory of such files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, name: str, offset: int, data: bytes) -> None:
        """Write at a place of its own: what an earlier failure left there is written over.

        Raises OSError; ENOSPC also where less than a reserve of the disk would stay free.
        """
        fd = os.open(self._directory / name, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            must_fit(fd, more_bytes=len(data), more_files=0, keep_reserve=True)
            write_all_at(fd, data, offset)
        finally:
            os.close(fd)

    def sync(self, name: str) -> None:
        """Let the disk have it all, and that there is this file. Raises OSError."""
        for path in (self._directory / name, self._directory):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def read(self, name: str, offset: int, length_bytes: int) -> bytes:
        """Return up to so many bytes; nothing behind the end, or where there is no file."""
        try:
            fd = os.open(self._directory / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return b""
        try:
            return os.pread(fd, length_bytes, offset)
        finally:
            os.close(fd)

    def remove(self, names: Iterable[str]) -> None:
        """Remove these files, as far as they are there. Raises OSError."""
        for name in names:
            (self._directory / name).unlink(missing_ok=True)

    def sizes(self) -> dict[str, int]:
        """Return the size of each file by name. Raises OSError."""
        with os.scandir(self._directory) as entries:
            return {each.name: each.stat(follow_symlinks=False).st_size for each in entries}

    def cut(self, name: str, size_bytes: int) -> None:
        """Drop what is behind `size_bytes`. Raises OSError."""
        os.truncate(self._directory / name, size_bytes)


def file_of(cmd_id: str, stream: str) -> str:
    """Return the name of the file of a stream."""
    return f"{cmd_id}.{stream}"
