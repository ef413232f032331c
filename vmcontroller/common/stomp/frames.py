"""STOMP frames as values, and their way to octets. No socket, no clock, no state.

The rules are those of the STOMP 1.0, 1.1 and 1.2 texts; where the three differ the version says so.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from vmcontroller.common.errors import ProtocolError


class Version(enum.StrEnum):
    """A version of STOMP that both ends may agree upon."""

    V1_0 = "1.0"
    V1_1 = "1.1"
    V1_2 = "1.2"


HEART_BEAT: Final = b"\n"
"""What either side sends when it has nothing else to say."""

CLIENT_COMMANDS: Final = frozenset(
    (
        *("CONNECT", "STOMP", "SEND", "SUBSCRIBE", "UNSUBSCRIBE", "ACK"),
        *("NACK", "BEGIN", "COMMIT", "ABORT", "DISCONNECT"),
    )
)
SERVER_COMMANDS: Final = frozenset(("CONNECTED", "MESSAGE", "RECEIPT", "ERROR"))
COMMANDS: Final = CLIENT_COMMANDS | SERVER_COMMANDS

WITH_BODY: Final = frozenset(("SEND", "MESSAGE", "ERROR"))
"""STOMP 1.1 and 1.2: no other frame may have a body."""

NEGOTIATING: Final = frozenset(("CONNECT", "STOMP", "CONNECTED"))
"""These are read before the version is known, so they never escape (1.2, "Value Encoding")."""

FRAME_END: Final = {Version.V1_0: b"\0\n", Version.V1_1: b"\0", Version.V1_2: b"\0"}
"""Clients of 1.0 that are built on stomper see no end of a frame without the line feed; it is
allowed behind every frame."""

_ALWAYS_WITH_LENGTH: Final = frozenset(("SEND", "MESSAGE"))

# Escapes by version; the backslash itself comes first in both directions.
_ESCAPES: Final[Mapping[Version, Mapping[str, str]]] = {
    Version.V1_0: {},
    Version.V1_1: {"\\": "\\\\", "\n": "\\n", ":": "\\c"},
    Version.V1_2: {"\\": "\\\\", "\n": "\\n", ":": "\\c", "\r": "\\r"},
}
_TO_WIRE: Final = {v: str.maketrans(dict(pairs)) for v, pairs in _ESCAPES.items()}
_FROM_WIRE: Final = {
    v: {escape: plain for plain, escape in pairs.items()} for v, pairs in _ESCAPES.items()
}
_SPECIAL: Final = re.compile(r"[\\\n\r:\0]")
_ESCAPE: Final = re.compile(r"\\.?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: the command, the headers in order (of a repeated name the first counts), the body.

    Values are plain text, never escaped; `content-length` is the codec's business and ignored here.
    """

    command: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def header(self, name: str, default: str | None = None) -> str | None:
        """Return the first value of a header, or the default when there is none."""
        for key, value in self.headers:
            if key == name:
                return value
        return default


def quoted(text: str) -> str:
    """Return text of a peer fit for a message or a log: control characters escaped, cut short."""
    return repr(text if len(text) <= 60 else text[:60] + "…")


def escape(text: str, version: Version) -> str:
    """Escape a header's name or value as the version asks. Raises ProtocolError if it cannot."""
    if _SPECIAL.search(text) is None:
        return text
    if "\0" in text:
        raise ProtocolError(f"a header cannot carry a NUL octet: {quoted(text)}")
    if version is Version.V1_0 and "\n" in text:
        raise ProtocolError(f"STOMP 1.0 cannot carry a line feed in a header: {quoted(text)}")
    return text.translate(_TO_WIRE[version])


def unescape(text: str, version: Version) -> str:
    """Undo `escape`. Raises ProtocolError on an escape that the version does not define."""
    if "\\" not in text or version is Version.V1_0:
        return text
    known = _FROM_WIRE[version]

    def plain(match: re.Match[str]) -> str:
        try:
            return known[match.group()]
        except KeyError:
            raise ProtocolError(
                f"undefined escape {quoted(match.group())} in a header of STOMP {version}; "
                f"allowed are {', '.join(known)}"
            ) from None

    return _ESCAPE.sub(plain, text)


def header_lines(headers: Iterable[tuple[str, str]], version: Version) -> bytes:
    """Encode headers, one line each, escaped. Raises ProtocolError when one cannot be carried."""
    lines = []
    for name, value in headers:
        if not name or (version is Version.V1_0 and ":" in name):
            raise ProtocolError(f"{quoted(name)} cannot be the name of a STOMP {version} header")
        lines.append(f"{escape(name, version)}:{escape(value, version)}\n")
    return _utf8("".join(lines))


def encode(frame: Frame, version: Version) -> bytes:
    """Return the octets of a frame, with content-length where there is or may be a body.

    Raises ProtocolError for a command that STOMP does not have, a header that this version cannot
    carry (a line feed in 1.0), or a body on a frame that may have none.
    """
    command, body = frame.command, frame.body
    if command not in COMMANDS:
        raise ProtocolError(f"{quoted(command)} is not a command of STOMP")
    if body and command not in WITH_BODY and version is not Version.V1_0:
        raise ProtocolError(f"a {command} frame cannot have a body in STOMP {version}")
    headers = [h for h in frame.headers if h[0] != "content-length"]
    lines = _plain_lines(headers) if command in NEGOTIATING else header_lines(headers, version)
    if body or command in _ALWAYS_WITH_LENGTH:
        lines += b"content-length:%d\n" % len(body)
    # Formatting would take more memory than a large body needs, and give it back.
    return b"".join((command.encode(), b"\n", lines, b"\n", body, FRAME_END[version]))


def _plain_lines(headers: Iterable[tuple[str, str]]) -> bytes:
    lines = []
    for name, value in headers:
        if not name or ":" in name or any(c in name + value for c in "\n\r\0"):
            raise ProtocolError(
                f"CONNECT and CONNECTED frames have no escapes and cannot carry the header "
                f"{quoted(name)}: {quoted(value)}"
            )
        lines.append(f"{name}:{value}\n")
    return _utf8("".join(lines))


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ProtocolError(f"a header is not valid Unicode text: {error.reason}") from None
