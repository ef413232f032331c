"""A file of the host as the stdin of a command: it must stay as it was. Blocks on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable

from vmcontroller.common.copying.reasons import Reason, explained
from vmcontroller.common.copying.source import Place, must_be_file, open_file
from vmcontroller.common.errors import TransferFailed
from vmcontroller.host.commands.record import HostFile

OpenPlace = Callable[[str, tuple[str, ...]], Place]
"""Finds a file that callers with these roles may read; raises AccessDenied and TransferFailed."""


def note(open_place: OpenPlace, path: str, roles: tuple[str, ...]) -> HostFile:
    """Return what a file is now. Raises AccessDenied, and TransferFailed with a published word."""
    fd = open_file(open_place(path, roles))
    try:
        facts = os.fstat(fd)
    finally:
        os.close(fd)
    must_be_file(facts, path)
    return HostFile(path=path, size_bytes=facts.st_size, mtime_ns=facts.st_mtime_ns, roles=roles)


def read_part(open_place: OpenPlace, file: HostFile, offset: int, length_bytes: int) -> bytes:
    """Return bytes of it, at least one; TransferFailed CHANGED if it is not what was noted."""
    fd = open_file(open_place(file.path, file.roles))
    try:
        with explained(file.path):
            data = os.pread(fd, length_bytes, offset)
        facts = os.fstat(fd)  # after the reading: then nothing was changed before it either
    finally:
        os.close(fd)
    if (facts.st_size, facts.st_mtime_ns) != (file.size_bytes, file.mtime_ns) or not data:
        raise TransferFailed(Reason.CHANGED, f"{file.path!r} was changed while it was read")
    return data
