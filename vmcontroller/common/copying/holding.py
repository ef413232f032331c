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
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4
"""Of sync_file_range."""
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


def begin_writing(fd: int, offset: int, length_bytes: int) -> None:
    """Let the kernel begin to write these bytes of a file to the disk, and don't wait for it."""
    _sync_range(fd, offset, length_bytes, _WRITE)


def finish_writing(fd: int, offset: int, length_bytes: int) -> None:
    """Wait until these bytes are on the disk, and let go of the memory that they take.

    Only fsync makes sure that they are found there after a crash; it takes less time then.
    Raises OSError: EIO, ENOSPC …
    """
    if not _sync_range(fd, offset, length_bytes, _WAIT_BEFORE | _WRITE | _WAIT_AFTER):
        os.fdatasync(fd)
    os.posix_fadvise(fd, offset, length_bytes, os.POSIX_FADV_DONTNEED)


def release(fd: int, length_bytes: int) -> None:
    """Make the file so long, and give back the space that is held behind that."""
    os.ftruncate(fd, length_bytes)


def _sync_range(fd: int, offset: int, length_bytes: int, flags: int) -> bool:
    """Return whether the system can do that; raises OSError."""
    sync_file_range = _sync_file_range()
    if sync_file_range is None:
        return False
    while sync_file_range(fd, offset, length_bytes, flags):
        number = ctypes.get_errno()
        if number in {*_UNSUPPORTED, errno.ESPIPE}:
            return False
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number))
    return True


@cache
def _fallocate() -> Any:
    # With offsets of 64 bits, whatever the machine.
    arguments = (ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64)
    return _of_libc("fallocate64", arguments) or _of_libc("fallocate", arguments)


@cache
def _sync_file_range() -> Any:
    arguments = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return _of_libc("sync_file_range", arguments)


def _of_libc(name: str, arguments: tuple[Any, ...]) -> Any:
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is not None:
        function.argtypes = arguments
    return function
