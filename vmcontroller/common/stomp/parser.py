"""Octets in, frames out, however they are split. No socket, no clock, no reactor."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import (
    COMMANDS,
    NEGOTIATING,
    WITH_BODY,
    Frame,
    Version,
    quoted,
    unescape,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large a frame may be; beyond it is a ProtocolError, so memory is bounded too."""

    line_bytes: int = 16 * 1024
    """Of the command line and of each header line, without its end of line."""
    header_count: int = 100
    body_bytes: int = (1 << 20) + (64 << 10)
    """1 MiB of payload, and room for the line of the word before it."""


# The head of a frame ends with an empty line; a NUL before that is a malformed frame, and without
# looking for it the parser would wait for ever (stomper's DISCONNECT has no empty line).
_HEAD_END: Final = re.compile(rb"\n\r?\n|\0")
_NUL: Final = re.compile(rb"\0")
_LINE_END: Final = re.compile(rb"\n")
_EOLS: Final = re.compile(rb"[\r\n]*")
_DIGITS: Final = re.compile("[0-9]+")
_UNTIL_NUL: Final = -1


class Parser:
    """Turns a stream of octets into frames; one per connection and direction.

    `push` what has come, then call `next_frame` until it returns None. `version` may be set between
    two frames, since it is what the first one agrees upon. Linear in the number of octets: each is
    appended once, searched at most twice and copied out once.
    """

    def __init__(self, *, version: Version = Version.V1_0, limits: Limits | None = None) -> None:
        self.version = version
        self._limits = limits or Limits()
        self._buffer = bytearray()
        self._start = 0  # of what has not become part of a frame yet
        self._searched = 0  # up to here there is no end of the head, or of the body
        self._line = 0  # start of the last line of an unfinished head,
        self._lines = 0  # the number of lines before it,
        self._counted = 0  # and up to where they have been counted
        self._command = ""  # of the frame whose body is awaited
        self._headers: tuple[tuple[str, str], ...] = ()
        self._length = _UNTIL_NUL
        self._fault: str | None = None

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
        if self._start:
            # Cheap: a bytearray drops its front by moving its start.
            del self._buffer[: self._start]
            self._searched -= self._start
            self._line -= self._start
            self._counted -= self._start
            self._start = 0
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """Return the next whole frame, or None when more octets are needed.

        Raises ProtocolError naming what is wrong; from then on at every call.
        """
        if self._fault is not None:
            raise ProtocolError(self._fault)
        try:
            if not self._command and not self._read_head():
                return None
            return self._read_body()
        except ProtocolError as fault:
            self._fault = str(fault)
            self._buffer.clear()
            self._start = 0
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
        self._parse_head(bytes(buffer[start:end]))
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
            self._check_line(found.start() - self._line)
            self._line = self._counted = found.end()
            self._lines += 1
            self._check_count(self._lines - 1)
        self._counted = len(self._buffer)
        self._check_line(self._counted - self._line)

    def _check_line(self, length: int) -> None:
        if length > self._limits.line_bytes:
            raise ProtocolError(f"a header line is longer than {self._limits.line_bytes} bytes")

    def _check_count(self, count: int) -> None:
        if count > self._limits.header_count:
            raise ProtocolError(f"a frame has more than {self._limits.header_count} headers")

    def _parse_head(self, head: bytes) -> None:
        if len(head) > self._limits.line_bytes:
            for octets in head.split(b"\n"):
                self._check_line(len(octets))
        try:
            text = head.decode()
        except UnicodeDecodeError:
            raise ProtocolError(f"a header is not UTF-8: {head[:60]!r}") from None
        command, *lines = text.split("\n")
        self._check_count(len(lines))
        ends_in_cr = command.endswith("\r")
        command = command.removesuffix("\r")
        if command not in COMMANDS:
            raise ProtocolError(f"{quoted(command)} is not a command of STOMP")
        if "\r" in text:
            # 1.2 allows CR LF; before the version is known, and in a frame that began so, too.
            lenient = ends_in_cr or self.version is Version.V1_2 or command in NEGOTIATING
            if lenient:
                lines = [_without_cr(line) for line in lines]
        headers = self._parse_headers(command, lines)
        self._length = self._body_length(headers)
        self._command = command
        self._headers = headers

    def _parse_headers(self, command: str, lines: list[str]) -> tuple[tuple[str, str], ...]:
        headers = []
        for line in lines:
            name, colon, value = line.partition(":")
            if not colon:
                raise ProtocolError(f"a header line has no colon: {quoted(line)}")
            if not name:
                raise ProtocolError(f"a header has no name: {quoted(line)}")
            if "\\" in line and command not in NEGOTIATING:
                name, value = unescape(name, self.version), unescape(value, self.version)
            headers.append((name, value))
        if self._trims(command, headers):
            headers = [(name.strip(" \t\r"), value.strip(" \t\r")) for name, value in headers]
            if not all(name for name, _ in headers):
                raise ProtocolError("a header has a blank name")
        return tuple(headers)

    def _trims(self, command: str, headers: list[tuple[str, str]]) -> bool:
        # 1.0 says trim, 1.1 and 1.2 say don't; a negotiating frame tells by itself which it is.
        if command in NEGOTIATING:
            return not any(name in {"accept-version", "version"} for name, _ in headers)
        return self.version is Version.V1_0

    def _body_length(self, headers: tuple[tuple[str, str], ...]) -> int:
        for name, value in headers:
            if name == "content-length":
                if _DIGITS.fullmatch(value) is None:
                    raise ProtocolError(f"content-length {quoted(value)} is not a number of octets")
                digits = value.lstrip("0")
                # Python refuses to convert thousands of digits; no body has that many.
                if len(digits) > 18 or int(digits or "0") > self._limits.body_bytes:
                    raise self._too_large()
                return int(digits or "0")
        return _UNTIL_NUL

    def _read_body(self) -> Frame | None:
        buffer, start, limit = self._buffer, self._start, self._limits.body_bytes
        if self._length == _UNTIL_NUL:
            found = self._find(_NUL, self._searched)
            end = len(buffer) if found is None else found.start()
            if end - start > limit:
                raise self._too_large()
            self._searched = end
            if found is None:
                return None
        else:
            end = start + self._length
            if end >= len(buffer):
                return None
            if buffer[end] != 0:
                raise ProtocolError(
                    f"no NUL octet after the {self._length} octets of content-length"
                )
        body = b""
        if end > start:
            with memoryview(buffer) as view:
                body = bytes(view[start:end])
            if self._command not in WITH_BODY and self.version is not Version.V1_0:
                raise ProtocolError(f"a {self._command} frame has a body; none is allowed")
        frame = Frame(self._command, self._headers, body)
        self._begin(end + 1)
        self._command = ""
        return frame

    def _too_large(self) -> ProtocolError:
        return ProtocolError(f"a body is larger than {self._limits.body_bytes} bytes")


def _without_cr(line: str) -> str:
    line = line.removesuffix("\r")
    if "\r" in line:
        raise ProtocolError(f"a carriage return inside a header line: {quoted(line)}")
    return line
