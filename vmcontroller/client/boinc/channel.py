"""The channels between BOINC's client and an application: eight of 1 KiB in one mapped file. Pure.

The first byte of a channel says whether there is a message that its reader has not taken yet;
the sender sets it, the reader clears it, and a sender who finds it set does not write. The rest
is text that ends with a NUL.
"""

from __future__ import annotations

import enum
from typing import Final, Protocol

CHANNEL_BYTES: Final = 1024
FILE_NAME: Final = "boinc_mmap_file"


class Channel(enum.IntEnum):
    """Which channel, in their order in the file."""

    PROCESS_CONTROL_REQUEST = 0
    """To the application: <suspend/>, <resume/>, <quit/>, <abort/>."""
    PROCESS_CONTROL_REPLY = 1
    GRAPHICS_REQUEST = 2
    GRAPHICS_REPLY = 3
    HEARTBEAT = 4
    """To the application: <heartbeat/> every second."""
    APP_STATUS = 5
    """From the application: CPU time, fraction done."""
    TRICKLE_UP = 6
    TRICKLE_DOWN = 7


MAP_BYTES: Final = CHANNEL_BYTES * len(Channel)


class Buffer(Protocol):
    """A mapped file, or a bytearray."""

    def __getitem__(self, key: slice, /) -> bytes | bytearray: ...
    def __setitem__(self, key: slice, value: bytes, /) -> None: ...


def receive(buffer: Buffer, channel: Channel) -> str | None:
    """Take the message of a channel; None when there is none."""
    start = channel * CHANNEL_BYTES
    if buffer[start : start + 1] == b"\0":
        return None
    message = bytes(buffer[start + 1 : start + CHANNEL_BYTES]).partition(b"\0")[0]
    buffer[start : start + 1] = b"\0"
    return message.decode("utf-8", "replace")


def send(buffer: Buffer, channel: Channel, message: str) -> bool:
    """Put a message there; false when the one before was not taken yet.

    A message that is too long is cut, as BOINC's own library does.
    """
    start = channel * CHANNEL_BYTES
    if buffer[start : start + 1] != b"\0":
        return False
    data = message.encode().replace(b"\0", b"")[: CHANNEL_BYTES - 2] + b"\0"
    buffer[start + 1 : start + 1 + len(data)] = data
    buffer[start : start + 1] = b"\1"
    return True
