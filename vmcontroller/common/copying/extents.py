"""Where a file has bytes and where it has holes. Blocks on the disk, and belongs in a thread."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_NOT_KNOWN: Final = {errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.ESPIPE}
"""What file systems answer that can't tell holes from zeros."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A stretch of a file that takes space on the disk."""

    offset: int
    length_bytes: int
    """At least 1."""

    @property
    def end(self) -> int:
        return self.offset + self.length_bytes


def data_extents(fd: int, size_bytes: int) -> Iterator[Extent]:
    """Find the stretches with data below `size_bytes`, in order; what is between is zeros.

    One after the other, so that a file of a million stretches takes no memory; they never touch.
    Moves the position of `fd`. A file system that knows no holes has one stretch, the whole file.
    Raises OSError.
    """
    at = 0
    while at < size_bytes:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
            end = os.lseek(fd, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on, or a shorter file
                return
            if error.errno not in _NOT_KNOWN:
                raise
            start, end = at, size_bytes
        start, end = min(start, size_bytes), min(end, size_bytes)
        if end > start:
            yield Extent(start, end - start)
        # A file that is cut short meanwhile may answer with no progress.
        at = max(end, at + 1)
