"""A stream with sessions over a serial port that has none: octets in, frames out. No I/O.

A virtio-serial port is opened once by the guest and once by the host, each when it likes. What
one of them left half-written or unread when it ended meets whoever comes next. So what is said
travels in frames:

    kind (1)  session (4)  number (4)  length (2)  CRC-32 (4)  payload (0 to 16384)

* A zero octet between frames is nothing. Who begins writes so many (`PADDING`) that any frame the
  other side still waits for is completed by them, and dropped: its checksum is wrong.
* `session` is chosen by the guest, at random, for each connection. Frames of another are not
  delivered.
* `number` counts the frames of a session in one direction, so that a loss, or a guest put back to
  an older state, is noticed and ends the session.

Whatever comes in is a frame, or is skipped; never more than one frame is kept.
"""

from __future__ import annotations

import enum
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

CHANNEL_NAME: Final = "org.vmcontroller.agent.0"
"""Of the virtio-serial port, and of the file that udev makes of it in a guest."""

MOST_PAYLOAD_BYTES: Final = 16 << 10

_HEADER: Final = struct.Struct(">BIIHI")
_SEALED_BYTES: Final = _HEADER.size - 4
"""What of the header the checksum covers: all but itself."""

PADDING: Final = bytes(_HEADER.size + MOST_PAYLOAD_BYTES)
"""Completes whatever frame its reader is in the middle of."""

ANY_SESSION: Final = 0
"""CLOSE of this one is of whichever there was: the host has just come to the port."""
MOST_SESSION: Final = 2**32 - 1


class Kind(enum.IntEnum):
    """What a frame says. The numbers are no text, so that text is skipped quickly."""

    OPEN = 0xC1
    """The guest begins this session."""
    OPENED = 0xC2
    """The host has taken it up."""
    DATA = 0xC3
    """The next octets of the stream."""
    CLOSE = 0xC4
    """This session is over; from either side."""


_BEGINNING: Final = re.compile(b"[" + bytes(Kind) + b"]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame, as it was written or has come whole."""

    kind: Kind
    session: int
    number: int = 0
    """Of DATA: how many of its session went before it, in this direction, modulo 2³²."""
    payload: bytes = b""

    def encode(self) -> bytes:
        """Return the octets of it."""
        head = _HEADER.pack(self.kind, self.session, self.number, len(self.payload), 0)
        seal = zlib.crc32(self.payload, zlib.crc32(head[:_SEALED_BYTES]))
        return head[:_SEALED_BYTES] + seal.to_bytes(4) + self.payload


class Deframer:
    """Finds the frames in what is read from a port, wherever the reading begins.

    Time is linear in what is pushed: what has been taken for a frame and is none is skipped as a
    whole, and looked at no more.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0

    def push(self, octets: bytes) -> None:
        """Take in octets; ask for `next_frame` until there is none."""
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += octets

    def next_frame(self) -> Frame | None:
        """Return the next frame that is whole and sound; None until more has come."""
        while (found := _BEGINNING.search(self._buffer, self._at)) is not None:
            self._at = found.start()
            if len(self._buffer) - self._at < _HEADER.size:
                return None
            kind, session, number, length, seal = _HEADER.unpack_from(self._buffer, self._at)
            if length > MOST_PAYLOAD_BYTES:
                self._at += 1
                continue
            end = self._at + _HEADER.size + length
            if end > len(self._buffer):
                return None
            with memoryview(self._buffer) as octets:
                payload = bytes(octets[self._at + _HEADER.size : end])
                sealed = octets[self._at : self._at + _SEALED_BYTES]
                is_sound = zlib.crc32(payload, zlib.crc32(sealed)) == seal
                sealed.release()
            self._at = end
            if is_sound:
                return Frame(kind=Kind(kind), session=session, number=number, payload=payload)
        self._at = len(self._buffer)
        return None


class Numbering:
    """The frames of one session: those that are sent, in order, and whether all have come."""

    def __init__(self, session: int) -> None:
        self.session = session
        self.has_heard = False
        self._sent = 0
        self._heard = 0

    def frames(self, octets: bytes | memoryview) -> Iterator[bytes]:
        """Cut octets into the DATA frames that carry them."""
        for start in range(0, len(octets), MOST_PAYLOAD_BYTES):
            yield Frame(
                kind=Kind.DATA,
                session=self.session,
                number=self._sent,
                payload=bytes(octets[start : start + MOST_PAYLOAD_BYTES]),
            ).encode()
            self._sent = (self._sent + 1) % 2**32

    def follows(self, frame: Frame) -> bool:
        """Count a DATA frame of this session; False: some before it are missing, or it is old."""
        if frame.number != self._heard:
            return False
        self.has_heard = True
        self._heard = (self._heard + 1) % 2**32
        return True
