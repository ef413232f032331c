"""The output of commands on the guest's disk, until the host has it. Not what is sent of it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from pathlib import Path

from twisted.logger import Logger

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


def fresh_folder(folder: Path) -> None:
    """Make an empty folder that only the agent can read; what an earlier run left is removed.

    Raises OSError.
    """
    if folder.is_symlink():
        folder.unlink()
    if folder.exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700)


def folder_name(cmd_id: str) -> str:
    """Return a name for a command's folder: its id, or a digest of an id that is no file name."""
    if _PLAIN_NAME.fullmatch(cmd_id):
        return cmd_id
    return hashlib.sha256(cmd_id.encode("utf-8", "surrogatepass")).hexdigest()


class StreamSpool:
    """One stream of one command. No descriptor stays open: hundreds of commands may be held."""

    _log = Logger()

    def __init__(self, path: Path, limit_bytes: int) -> None:
        self._path = path
        self._limit_bytes = limit_bytes
        self.size_bytes = 0
        self.truncated = False

    def append(self, data: bytes) -> None:
        """Keep what is below the limit; the rest, and what the disk refuses, is dropped."""
        kept = data[: self._limit_bytes - self.size_bytes]
        if len(kept) < len(data):
            self.truncated = True
        if not kept:
            return
        try:
            self._write(kept)
        except OSError as error:
            self._log.error("Output is dropped: {error}", error=error)
            self.truncated = True
            self._limit_bytes = self.size_bytes

    def _write(self, data: bytes) -> None:
        if self.size_bytes == 0:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(self._path, flags, 0o600)
        try:
            view = memoryview(data)
            while view:
                written = os.pwrite(fd, view, self.size_bytes)
                self.size_bytes += written
                view = view[written:]
        finally:
            os.close(fd)

    def read(self, offset: int, at_most: int) -> bytes:
        """Return bytes from `offset` on; where the disk has lost them, the stream ends there."""
        try:
            data = self._read(offset, min(at_most, self.size_bytes - offset))
        except OSError as error:
            self._log.error("Output is lost: {error}", error=error)
            data = b""
        if not data:
            self.truncated = True
            self._limit_bytes = self.size_bytes = offset
        return data

    def _read(self, offset: int, length: int) -> bytes:
        fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.pread(fd, length, offset)
        finally:
            os.close(fd)

    def remove(self) -> None:
        """Remove the file, and the folder when it was the last in it."""
        if self._path.parent.exists():
            self._path.unlink(missing_ok=True)
            if not any(self._path.parent.iterdir()):
                self._path.parent.rmdir()
