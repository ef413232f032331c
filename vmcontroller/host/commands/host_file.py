"""A file of the host as the stdin of a command: it must stay as it was. Blocks on the disk."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable

from vmcontroller.common.copying.reasons import Reason, explained
from vmcontroller.common.copying.source import Place
from vmcontroller.common.errors import TransferFailed
from vmcontroller.host.commands.record import HostFile

OpenPlace = Callable[[str], Place]
"""Finds a file that may be read; raises AccessDenied and TransferFailed."""


def note(open_place: OpenPlace, path: str) -> HostFile:
    """Return what a file is now. Raises AccessDenied, and TransferFailed with a published word."""
    fd = _open(open_place, path)
    try:
        facts = os.fstat(fd)
    finally:
        os.close(fd)
    if stat.S_ISDIR(facts.st_mode):
        raise TransferFailed(Reason.IS_A_DIRECTORY, f"{path!r} is a directory")
    if not stat.S_ISREG(facts.st_mode):
        raise TransferFailed(Reason.NOT_A_FILE, f"{path!r} is not a regular file")
    return HostFile(path=path, size_bytes=facts.st_size, mtime_ns=facts.st_mtime_ns)


def read_part(open_place: OpenPlace, file: HostFile, offset: int, length_bytes: int) -> bytes:
    """Return bytes of it, at least one; TransferFailed CHANGED if it is not what was noted."""
    fd = _open(open_place, file.path)
    try:
        with explained(file.path):
            data = os.pread(fd, length_bytes, offset)
        facts = os.fstat(fd)  # after the reading: then nothing was changed before it either
    finally:
        os.close(fd)
    if (facts.st_size, facts.st_mtime_ns) != (file.size_bytes, file.mtime_ns) or not data:
        raise TransferFailed(Reason.CHANGED, f"{file.path!r} was changed while it was read")
    return data


def _open(open_place: OpenPlace, path: str) -> int:
    place = open_place(path)
    try:
        with explained(path):
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            return os.open(place.name, flags, dir_fd=place.directory_fd)
    finally:
        place.close()
