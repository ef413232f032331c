"""How much room a file system has for a copy. Blocks on the disk."""

from __future__ import annotations

import errno
import os
from typing import Final

RESERVE_MOST_BYTES: Final = 256 * 2**20
RESERVE_MOST_FILES: Final = 10_000
RESERVE_PART: Final = 20
"""Of a file system's size; the reserve is this part of it, or the most above if that is less."""


def must_fit(fd: int, *, more_bytes: int, more_files: int, keep_reserve: bool) -> None:
    """Raise OSError ENOSPC unless this fits beside the reserve, if one is kept."""
    space = os.fstatvfs(fd)
    root = os.geteuid() == 0
    free_bytes = (space.f_bfree if root else space.f_bavail) * space.f_frsize
    free_files = space.f_ffree if root else space.f_favail
    kept_bytes = kept_files = 0
    if keep_reserve:
        kept_bytes = min(space.f_blocks * space.f_frsize // RESERVE_PART, RESERVE_MOST_BYTES)
        kept_files = min(space.f_files // RESERVE_PART, RESERVE_MOST_FILES)
    if free_bytes < more_bytes + kept_bytes:
        kept = f", of which {kept_bytes} stay free" if kept_bytes else ""
        raise OSError(errno.ENOSPC, f"{more_bytes} more bytes don't fit on the disk{kept}")
    # Some file systems make room for files as they come, and say that there is none at all.
    if space.f_files and free_files < more_files + kept_files:
        kept = f", of which {kept_files} stay free" if kept_files else ""
        raise OSError(errno.ENOSPC, f"{more_files} more files don't fit on the disk{kept}")
