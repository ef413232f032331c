"""The output of commands on the guest's disk, until the host has it. Not what is sent of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Collection
from pathlib import Path

from twisted.logger import Logger

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


def open_folder(folder: Path) -> None:
    """Make the folder of all commands, which only the agent can read, if it is not there.

    A symbolic link in its place is not followed but replaced. Raises OSError.
    """
    if folder.is_symlink():
        folder.unlink()
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)


def sweep(folder: Path, keep: Collection[str]) -> None:
    """Remove what is in the folder but what is to be kept, by name; no link is followed."""
    for entry in os.scandir(folder):
        if entry.name in keep:
            continue
        with contextlib.suppress(OSError):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path)
            else:
                os.unlink(entry.path)


def folder_name(cmd_id: str) -> str:
    """Return a name for a command's folder: its id, or a digest of an id that is no file name."""
    if _PLAIN_NAME.fullmatch(cmd_id):
        return cmd_id
    return hashlib.sha256(cmd_id.encode("utf-8", "surrogatepass")).hexdigest()


def remove_folder(folder: str) -> None:
    """Remove the folder of one command; blocks while the disk works. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


class Room:
    """What all streams together may take of the disk."""

    def __init__(self, limit_bytes: int) -> None:
        self.free_bytes = limit_bytes

    def take(self, wanted_bytes: int) -> int:
        """Return how much of it may be written."""
        granted_bytes = max(0, min(wanted_bytes, self.free_bytes))
        self.free_bytes -= granted_bytes
        return granted_bytes

    def give_back(self, given_bytes: int) -> None:
        """Take note of what has been removed, or was not written."""
        self.free_bytes += given_bytes


class StreamSpool:
    """One stream of one command. No descriptor stays open: hundreds of commands may be held."""

    _log = Logger()

    def __init__(self, folder: str, name: str, limit_bytes: int, room: Room) -> None:
        self._folder = folder
        self._path = f"{folder}/{name}"
        self._limit_bytes = limit_bytes
        self._room = room
        self.size_bytes = 0
        self.truncated = False

    def append(self, data: bytes) -> None:
        """Keep what is below the limit; the rest, and what the disk refuses, is dropped."""
        if self.size_bytes >= self._limit_bytes:
            self.truncated = True
            return
        granted_bytes = self._room.take(min(len(data), self._limit_bytes - self.size_bytes))
        before_bytes = self.size_bytes
        try:
            self._write(data[:granted_bytes])
        except OSError as error:
            self._log.error("Output is dropped: {error}", error=error)
        kept_bytes = self.size_bytes - before_bytes
        self._room.give_back(granted_bytes - kept_bytes)
        if kept_bytes < len(data):
            self.truncated = True
            self._limit_bytes = self.size_bytes

    def take_up(self, counted_bytes: int | None) -> None:
        """Go on with what an earlier run of the agent has left: at most what it had counted."""
        try:
            found = os.lstat(self._path)
            there_bytes = found.st_size if stat.S_ISREG(found.st_mode) else 0
        except OSError:
            there_bytes = 0
        wanted_bytes = there_bytes if counted_bytes is None else counted_bytes
        # Without asking for room: it is on the disk already.
        self.size_bytes = self._limit_bytes = min(there_bytes, wanted_bytes)
        self._room.give_back(-self.size_bytes)
        self.truncated = self.size_bytes < wanted_bytes

    def _write(self, data: bytes) -> None:
        if not data:
            return
        if self.size_bytes == 0:
            with contextlib.suppress(FileExistsError):
                os.mkdir(self._folder, 0o700)
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
            self._room.give_back(self.size_bytes - offset)
            self._limit_bytes = self.size_bytes = offset
        return data

    def _read(self, offset: int, length: int) -> bytes:
        fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            return os.pread(fd, length, offset)
        finally:
            os.close(fd)

    def release(self) -> None:
        """Be empty from now on; the file is somebody else's to remove."""
        self._room.give_back(self.size_bytes)
        self.size_bytes = self._limit_bytes = 0
