"""Writing all of some bytes to a descriptor: the system may take a part of them at a time."""

from __future__ import annotations

import os


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write where the descriptor stands, and move it. Raises OSError; a part may be written."""
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def write_all_at(fd: int, data: bytes | bytearray | memoryview, offset: int) -> None:
    """Write from `offset` on; the descriptor stays where it stands. Raises OSError as write_all."""
    left = memoryview(data)
    while left:
        written_bytes = os.pwrite(fd, left, offset)
        left = left[written_bytes:]
        offset += written_bytes
