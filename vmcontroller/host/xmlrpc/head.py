"""What the head of a request must be like, whoever sends it. Decisions only."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any, Final

from vmcontroller.host.xmlrpc.gate import Refusal

REASON_CHARS: Final = 200

_CONTENT_TYPES: Final = frozenset({b"text/xml", b"application/xml"})
_HOST = re.compile(r"(?P<name>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufffd]+")

Headers = Callable[[bytes], Sequence[bytes]]
"""Returns all values of a header, none where it is missing."""


def headers_of(request: Any) -> Headers:
    """Return what reads the headers of a Twisted request."""

    def values(name: bytes) -> Sequence[bytes]:
        return request.requestHeaders.getRawHeaders(name, ())  # type: ignore[no-any-return]

    return values


def wrong_host(headers: Headers, names: Collection[str], *, scheme: str) -> Refusal | None:
    """Return why a request was not meant for us: a web page's, under a name of its own.

    `names`: those of this host, and its addresses, in lower case. Without this a page of anybody
    could let its own name lead to this address, and call with its visitor's rights (DNS rebinding).
    """
    hosts = headers(b"Host")
    name = _name(hosts[0]) if len(hosts) == 1 else None
    if name is None or not (name in names or _is_loopback(name)):
        return Refusal(
            status="421 Misdirected Request",
            text="The header Host must name this host: by its address, localhost, or a name that "
            "`xmlrpc.allowed_hosts` allows.",
        )
    own = f"{scheme}://{hosts[0].decode('latin-1')}".lower()
    if any(origin.decode("latin-1").lower() != own for origin in headers(b"Origin")):
        return Refusal(status="400 Bad Request", text="Web pages of other origins may not call.")
    return None


def _name(host: bytes) -> str | None:
    found = _HOST.fullmatch(host.decode("latin-1"))
    return found["name"].lower().strip("[]").removesuffix(".") if found else None


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def wrong_content(headers: Headers) -> str:
    """Return what is wrong with the kind of body that is announced; '' if nothing is."""
    content_type = (headers(b"Content-Type") or (b"",))[0]
    if content_type.split(b";")[0].strip().lower() not in _CONTENT_TYPES:
        return "Content-Type must be text/xml."
    if any(coding.lower() != b"identity" for coding in headers(b"Content-Encoding")):
        return "No Content-Encoding is understood."
    return ""


def reason_of(headers: Headers) -> str:
    """Return why the caller calls, in their own words: one line of at most 200 characters."""
    values = headers(b"X-VMController-Reason")
    return clean(values[0].decode("utf-8", "replace")) if values else ""


def clean(text: str, most_chars: int = REASON_CHARS) -> str:
    """Return text as one short line without anything that moves a terminal's cursor."""
    line = _CONTROL.sub(" ", text[: 4 * most_chars]).encode("utf-8", "replace").decode()
    return line.strip()[:most_chars]
