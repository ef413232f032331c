"""Space of a file: held before it is written, left out where there are zeros. Blocks on the disk.

Held space does not count as the file's length (FALLOC_FL_KEEP_SIZE), so that the length of a file
that a killed process left tells how far it was written.
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache
from typing import Any, Final, Protocol

_KEEP_SIZE: Final = 1
_UNSUPPORTED: Final = {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}
_ZEROS: Final = bytes(2**20)

HOLE_MOST_BYTES: Final = 64 * 2**20
"""A longer hole is said, hashed and left out in pieces, so that no step takes long."""


class Digest(Protocol):
    """What hashlib makes."""

    def update(self, data: bytes, /) -> None:
        """Take in more."""
        ...


def hash_zeros(digest: Digest, length_bytes: int) -> None:
    """Let a digest take in so many zeros."""
    for _ in range(length_bytes // len(_ZEROS)):
        digest.update(_ZEROS)
    digest.update(_ZEROS[: length_bytes % len(_ZEROS)])


def hold(fd: int, offset: int, length_bytes: int) -> None:
    """Take space for these bytes of a file; nothing happens where a file system can't.

    Raises OSError: ENOSPC, EDQUOT …
    """
    fallocate = _fallocate()
    if fallocate is None:
        return
    while fallocate(fd, _KEEP_SIZE, offset, length_bytes):
        number = ctypes.get_errno()
        if number in _UNSUPPORTED:
            return
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))


def release(fd: int, length_bytes: int) -> None:
    """Make the file so long, and give back the space that is held behind that."""
    os.ftruncate(fd, length_bytes)


@cache
def _fallocate() -> Any:
    libc = ctypes.CDLL(None, use_errno=True)
    for name in ("fallocate64", "fallocate"):  # with offsets of 64 bits, whatever the machine
        function = getattr(libc, name, None)
        if function is not None:
            function.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
            return function
    return None
