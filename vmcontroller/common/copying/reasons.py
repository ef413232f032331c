"""Why a copy failed, as published words, and which word an error of the system becomes."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final

from vmcontroller.common.errors import TransferFailed

DETAIL_CHARS: Final = 500


class Reason(StrEnum):
    """What FILE_FAILED and TransferFailed name; words are added, never renamed."""

    NO_SUCH_FILE = "NO_SUCH_FILE"
    IS_A_DIRECTORY = "IS_A_DIRECTORY"
    NOT_A_FILE = "NOT_A_FILE"
    """A device, a FIFO or a socket."""
    PERMISSION_DENIED = "PERMISSION_DENIED"
    DISK_FULL = "DISK_FULL"
    TOO_LARGE = "TOO_LARGE"
    """Larger than a file may be where it should go."""
    CHANGED = "CHANGED"
    """The file was written to while it was read, or is not as long as it says."""
    DIGEST_MISMATCH = "DIGEST_MISMATCH"
    CONNECTION_LOST = "CONNECTION_LOST"
    CANCELLED = "CANCELLED"
    EXISTS = "EXISTS"
    """Something lies where a directory should go, and a directory is never replaced."""
    ESCAPES_TREE = "ESCAPES_TREE"
    """A symbolic link in a directory may lead out of it."""
    IO_ERROR = "IO_ERROR"
    PROTOCOL = "PROTOCOL"
    """The other side said something that makes no sense at this point."""


_OF_ERRNO: Final = {
    errno.ENOENT: Reason.NO_SUCH_FILE,
    errno.ENOTDIR: Reason.NO_SUCH_FILE,
    errno.ENAMETOOLONG: Reason.NO_SUCH_FILE,
    errno.ELOOP: Reason.NO_SUCH_FILE,
    errno.EISDIR: Reason.IS_A_DIRECTORY,
    errno.ENXIO: Reason.NOT_A_FILE,
    errno.ENODEV: Reason.NOT_A_FILE,
    errno.EACCES: Reason.PERMISSION_DENIED,
    errno.EPERM: Reason.PERMISSION_DENIED,
    errno.EROFS: Reason.PERMISSION_DENIED,
    errno.EEXIST: Reason.EXISTS,
    errno.ENOSPC: Reason.DISK_FULL,
    errno.EDQUOT: Reason.DISK_FULL,
    errno.EFBIG: Reason.TOO_LARGE,
}


@contextmanager
def explained(path: str) -> Iterator[None]:
    """Turn an error of the system about `path` into TransferFailed with a published reason."""
    try:
        yield
    except OSError as error:
        reason = _OF_ERRNO.get(error.errno or 0, Reason.IO_ERROR)
        raise TransferFailed(reason, f"{path!r}: {error.strerror or error}") from error
    except ValueError as error:  # a NUL, or half a surrogate pair: no file has such a name
        raise TransferFailed(Reason.NO_SUCH_FILE, f"{path!r}: {error}") from error


def reported(reason: str, detail: str) -> TransferFailed:
    """Make an error of what the peer said, which may be hostile.

    An unpublished reason becomes PROTOCOL; control characters go, and length is limited.
    """
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in detail)
    if reason not in Reason.__members__:
        return TransferFailed(Reason.PROTOCOL, f"the peer failed for no known reason: {reason!r}")
    return TransferFailed(Reason(reason), text[:DETAIL_CHARS])
