"""The head of a frame: its command and headers, and how long its body may be. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import COMMANDS, NEGOTIATING, Version, quoted, unescape

_DIGITS: Final = re.compile("[0-9]+")
UNTIL_NUL: Final = -1
"""As a length: there is no content-length, the body ends with the first NUL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How large a frame may be; beyond it is a ProtocolError, so memory is bounded too."""

    line_bytes: int = 16 * 1024
    """Of the command line and of each header line, without its end of line."""
    header_count: int = 100
    body_bytes: int = (1 << 20) + (64 << 10)
    """1 MiB of payload, and room for the line of the word before it."""

    def check_line(self, length: int) -> None:
        """Raise ProtocolError when a line of so many octets is too long."""
        if length > self.line_bytes:
            raise ProtocolError(f"a header line is longer than {self.line_bytes} bytes")

    def check_count(self, count: int) -> None:
        """Raise ProtocolError when so many headers are too many."""
        if count > self.header_count:
            raise ProtocolError(f"a frame has more than {self.header_count} headers")


class Head(NamedTuple):
    """All of a frame that precedes its body."""

    command: str
    headers: tuple[tuple[str, str], ...]
    body_bytes: int

    @classmethod
    def parse(cls, octets: bytes, version: Version, limits: Limits) -> Self:
        """Read a head without the empty line. Raises ProtocolError naming what is wrong."""
        if len(octets) > limits.line_bytes:
            for line in octets.split(b"\n"):
                limits.check_line(len(line))
        try:
            text = octets.decode()
        except UnicodeDecodeError:
            raise ProtocolError(f"a header is not UTF-8: {octets[:60]!r}") from None
        command, *lines = text.split("\n")
        limits.check_count(len(lines))
        ends_in_cr = command.endswith("\r")
        command = command.removesuffix("\r")
        if command not in COMMANDS:
            raise ProtocolError(f"{quoted(command)} is not a command of STOMP")
        if "\r" in text:
            # 1.2 allows CR LF; before the version is known, and in a frame that began so, too.
            lenient = ends_in_cr or version is Version.V1_2 or command in NEGOTIATING
            if lenient:
                lines = [_without_cr(line) for line in lines]
        headers = _parse_headers(command, lines, version)
        return cls(command, headers, _body_bytes(headers, limits))


def _parse_headers(command: str, lines: list[str], version: Version) -> tuple[tuple[str, str], ...]:
    headers = []
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise ProtocolError(f"a header line has no colon: {quoted(line)}")
        if not name:
            raise ProtocolError(f"a header has no name: {quoted(line)}")
        if "\\" in line and command not in NEGOTIATING:
            name, value = unescape(name, version), unescape(value, version)
        headers.append((name, value))
    if _trims(command, headers, version):
        headers = [(name.strip(" \t\r"), value.strip(" \t\r")) for name, value in headers]
        if not all(name for name, _ in headers):
            raise ProtocolError("a header has a blank name")
    return tuple(headers)


def _trims(command: str, headers: list[tuple[str, str]], version: Version) -> bool:
    # 1.0 says trim, 1.1 and 1.2 say don't; a negotiating frame tells by itself which it is.
    if command in NEGOTIATING:
        return not any(name in {"accept-version", "version"} for name, _ in headers)
    return version is Version.V1_0


def _body_bytes(headers: tuple[tuple[str, str], ...], limits: Limits) -> int:
    for name, value in headers:
        if name == "content-length":
            if _DIGITS.fullmatch(value) is None:
                raise ProtocolError(f"content-length {quoted(value)} is not a number of octets")
            digits = value.lstrip("0")
            # Python refuses to convert thousands of digits; no body has that many.
            if len(digits) > 18 or int(digits or "0") > limits.body_bytes:
                raise too_large(limits)
            return int(digits or "0")
    return UNTIL_NUL


def too_large(limits: Limits) -> ProtocolError:
    """Return the error for a body beyond the limit."""
    return ProtocolError(f"a body is larger than {limits.body_bytes} bytes")


def _without_cr(line: str) -> str:
    line = line.removesuffix("\r")
    if "\r" in line:
        raise ProtocolError(f"a carriage return inside a header line: {quoted(line)}")
    return line
