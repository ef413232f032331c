"""Octets in, frames out, however they are split. No socket, no clock, no reactor."""

from __future__ import annotations

import re
from typing import Final

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import WITH_BODY, Frame, Version
from vmcontroller.common.stomp.head import UNTIL_NUL, Head, Limits, too_large

__all__ = ["Limits", "Parser"]


# The head of a frame ends with an empty line; a NUL before that is a malformed frame, and without
# looking for it the parser would wait for ever (stomper's DISCONNECT has no empty line).
_HEAD_END: Final = re.compile(rb"\n\r?\n|\0")
_NUL: Final = re.compile(rb"\0")
_LINE_END: Final = re.compile(rb"\n")
_EOLS: Final = re.compile(rb"[\r\n]*")

_APART_BYTES: Final = 1 << 15
"""Of a body that much or more of which is missing, what comes is kept apart and joined once."""
_PIECE_BYTES: Final = 1 << 12
"""Smaller pieces are joined at once: each has a cost of its own, and they could be of one octet."""
_MEMO_BYTES: Final = 512
"""A longer head is not remembered."""


class Parser:
    """Turns a stream of octets into frames; one per connection and direction.

    `push` what has come, then call `next_frame` until it returns None. `version` may be set between
    two frames, since it is what the first one agrees upon. Linear in the number of octets: each is
    appended once, searched at most twice and copied out once; most of a large body is only joined.
    """

    __slots__ = (
        "_buffer",
        "_counted",
        "_fault",
        "_head",
        "_in_body",
        "_limits",
        "_line",
        "_lines",
        "_memo",
        "_missing",
        "_pieces",
        "_searched",
        "_start",
        "_version",
    )

    def __init__(self, *, version: Version = Version.V1_0, limits: Limits | None = None) -> None:
        self._version = version
        self._limits = limits or Limits()
        self._buffer = bytearray()
        self._start = 0  # of what has not become part of a frame yet
        self._searched = 0  # up to here there is no end of the head, or of the body
        self._line = 0  # start of the last line of an unfinished head,
        self._lines = 0  # the number of lines before it,
        self._counted = 0  # and up to where they have been counted
        self._in_body = False  # of the frame with this head:
        self._head = Head("", (), UNTIL_NUL)
        self._pieces: list[bytes | bytearray] = []  # of a large body,
        self._missing = 0  # and how much of it has not come yet
        self._memo = b""  # the head of the last SEND or MESSAGE: the next one is often the same
        self._fault: str | None = None

    @property
    def version(self) -> Version:
        """By which the next frame is read."""
        return self._version

    @version.setter
    def version(self, version: Version) -> None:
        self._version = version
        self._memo = b""  # it was read by another version

    def feed(self, data: bytes) -> list[Frame]:
        """Take octets, return the frames that they complete, read by the version set now.

        Raises ProtocolError at a fault; when frames precede it in the same data those are returned
        and the fault is raised by the next call. After a fault every call raises it.
        """
        self.push(data)
        frames: list[Frame] = []
        try:
            while (frame := self.next_frame()) is not None:
                frames.append(frame)
        except ProtocolError:
            if not frames:
                raise
        return frames

    def push(self, data: bytes) -> None:
        """Take octets, to be read by `next_frame`."""
        if self._missing:
            data = self._push_piece(data)
            if not data:
                return
        if self._start:
            # Cheap: a bytearray drops its front by moving its start.
            del self._buffer[: self._start]
            self._searched -= self._start
            self._line -= self._start
            self._counted -= self._start
            self._start = 0
        self._buffer += data

    def _push_piece(self, data: bytes) -> bytes:
        """Add to a large body what belongs to it; return the rest."""
        rest = b""
        if len(data) > self._missing:
            data, rest = data[: self._missing], data[self._missing :]
        self._missing -= len(data)
        last = self._pieces[-1]
        if isinstance(last, bytearray) and len(last) < _PIECE_BYTES:
            last += data
        elif len(data) < _PIECE_BYTES:
            self._pieces.append(bytearray(data))
        else:
            self._pieces.append(data)
        return rest

    def next_frame(self) -> Frame | None:
        """Return the next whole frame, or None when more octets are needed.

        Raises ProtocolError naming what is wrong; from then on at every call.
        """
        if self._fault is not None:
            raise ProtocolError(self._fault)
        try:
            if not self._in_body and not self._read_head():
                return None
            return self._read_body()
        except ProtocolError as fault:
            self._fault = str(fault)
            self._buffer.clear()
            self._start = 0
            self._pieces.clear()
            self._missing = 0
            raise

    def _find(self, what: re.Pattern[bytes], start: int) -> re.Match[bytes] | None:
        return what.search(self._buffer, start)

    def _read_head(self) -> bool:
        buffer, start = self._buffer, self._start
        if start == len(buffer):
            return False
        if buffer[start] in b"\r\n":
            found = _EOLS.match(buffer, start)
            assert found is not None
            start = found.end()
            self._begin(start)
        found = self._find(_HEAD_END, max(self._searched, start))
        if found is None:
            self._check_unfinished()
            # The end of the head may have begun in the last two octets.
            self._searched = max(start, len(buffer) - 2)
            return False
        end = found.start()
        if buffer[end] == 0:
            raise ProtocolError("a NUL octet before the empty line that ends the headers")
        head = bytes(buffer[start:end])
        if head != self._memo:
            self._head = Head.parse(head, self._version, self._limits)
            is_memorable = len(head) <= _MEMO_BYTES and self._head.command in WITH_BODY
            self._memo = head if is_memorable else b""
        self._in_body = True
        self._begin(found.end())
        return True

    def _begin(self, start: int) -> None:
        self._start = self._searched = self._line = self._counted = start
        self._lines = 0

    def _check_unfinished(self) -> None:
        if len(self._buffer) - self._start <= min(
            self._limits.line_bytes, self._limits.header_count
        ):
            return
        while (found := self._find(_LINE_END, self._counted)) is not None:
            self._limits.check_line(found.start() - self._line)
            self._line = self._counted = found.end()
            self._lines += 1
            self._limits.check_count(self._lines - 1)
        self._counted = len(self._buffer)
        self._limits.check_line(self._counted - self._line)

    def _read_body(self) -> Frame | None:
        if self._missing:
            return None
        buffer, start, head = self._buffer, self._start, self._head
        if head.body_bytes == UNTIL_NUL:
            found = self._find(_NUL, self._searched)
            end = len(buffer) if found is None else found.start()
            if end - start > self._limits.body_bytes:
                raise too_large(self._limits)
            self._searched = end
            if found is None:
                return None
        else:
            end = start if self._pieces else start + head.body_bytes
            if end >= len(buffer):
                if end - len(buffer) >= _APART_BYTES:
                    self._set_apart(end - len(buffer))
                return None
            if buffer[end] != 0:
                raise ProtocolError(
                    f"no NUL octet after the {head.body_bytes} octets of content-length"
                )
        body = self._take_body(start, end)
        if body and head.command not in WITH_BODY and self._version is not Version.V1_0:
            raise ProtocolError(f"a {head.command} frame has a body; none is allowed")
        frame = Frame(head.command, head.headers, body)
        self._begin(end + 1)
        self._in_body = False
        return frame

    def _set_apart(self, missing: int) -> None:
        """Keep the beginning of a large body apart; what is `missing` goes there, too."""
        self._pieces = [self._buffer[self._start :]]
        self._missing = missing
        self._buffer = bytearray()
        self._begin(0)

    def _take_body(self, start: int, end: int) -> bytes:
        if self._pieces:
            body = b"".join(self._pieces)
            self._pieces = []
            return body
        if end == start:
            return b""
        with memoryview(self._buffer) as view:
            return bytes(view[start:end])
