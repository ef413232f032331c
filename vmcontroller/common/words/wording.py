"""How a word lies in a STOMP message: what every word shares. No I/O.

Body: `NAME`, then optionally a space and one line of JSON (an object), then optionally a line
feed and raw bytes. JSON never holds a raw line feed, so the first one ends it; the bytes after
it are never encoded. Seed 001's short headers (`to`, `from`, `cmd-id`, `ping-id`, `timestamp`)
stay headers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vmcontroller.common.errors import ProtocolError


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


_NAME = re.compile(rb"[A-Z_]{1,32}")

# Made once: json.loads and json.dumps make a new one at each call with arguments.
_JSON_IN = json.JSONDecoder(parse_constant=_no_number)
_JSON_OUT = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True)

_EMPTY = memoryview(b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """A word ready to be sent, or just heard: STOMP headers and body."""

    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


def compose(
    name: str,
    fields: Mapping[str, Any] | None = None,
    payload: bytes | memoryview | None = None,
    **headers: str,
) -> Utterance:
    """Put a word together; header names are given with underscores for hyphens."""
    body: list[bytes | memoryview] = [name.encode()]
    if fields is not None:
        body += (b" ", _JSON_OUT.encode(fields).encode())
    if payload is not None:
        body += (b"\n", payload)
    return Utterance(
        headers={key.replace("_", "-"): value for key, value in headers.items()},
        body=b"".join(body),  # once: a payload may be large
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """A body taken apart: the word's name, its fields and its raw bytes."""

    name: str
    fields: Mapping[str, Any]
    raw: memoryview = _EMPTY
    """Part of the body."""
    headers: Mapping[str, str]

    @property
    def payload(self) -> bytes:
        """The raw bytes by themselves."""
        return bytes(self.raw)

    @property
    def kept(self) -> bytes | memoryview:
        """The raw bytes to be kept for a while: uncopied where they are most of the body."""
        return self.raw if 2 * len(self.raw) >= memoryview(self.raw.obj).nbytes else self.payload

    def text(self, key: str, default: str | None = None, *, max_chars: int = 65536) -> str:
        """Return a field that must be a string; ProtocolError names what else it was."""
        value = self.fields.get(key, default)
        if not isinstance(value, str):
            raise ProtocolError(f"{self.name}: {key} must be a string, not {value!r:.80}")
        if len(value) > max_chars:
            raise ProtocolError(f"{self.name}: {key} is longer than {max_chars} characters")
        return value

    def whole(self, key: str, default: int | None = None) -> int:
        """Return a field that must be a whole number within 0 … 2^63 - 1."""
        value = self.fields.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**63:
            raise ProtocolError(f"{self.name}: {key} must be a whole number, not {value!r:.80}")
        return value

    def integer(self, key: str, least: int, most: int, default: int) -> int:
        """Return a field that must be a whole number within bounds."""
        value = self.fields.get(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ProtocolError(
                f"{self.name}: {key} must be a whole number from {least} to {most}, "
                f"not {value!r:.80}"
            )
        return value

    def number(self, key: str, default: float | None = None) -> float:
        """Return a field that must be a finite number of at least 0."""
        value = self.fields.get(key, default)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**63:
            raise ProtocolError(f"{self.name}: {key} must be a number from 0, not {value!r:.80}")
        return float(value)

    def numbers(self, key: str, *, most: int = 100) -> Mapping[str, float]:
        """Return a field that must be an object of finite numbers with short names."""
        values = self.mapping(key)
        for name, value in values.items():
            good = isinstance(value, int | float) and not isinstance(value, bool)
            if len(name) > 64 or not good or not -(2**63) < value < 2**63:
                raise ProtocolError(f"{self.name}: {key} must hold numbers, not {value!r:.80}")
        if len(values) > most:
            raise ProtocolError(f"{self.name}: {key} has more than {most} entries")
        return values

    def truth(self, key: str, *, default: bool = False) -> bool:
        """Return a field that must be true or false."""
        value = self.fields.get(key, default)
        if not isinstance(value, bool):
            raise ProtocolError(f"{self.name}: {key} must be true or false, not {value!r:.80}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a field that must be a list of strings; absent is empty."""
        value = self.fields.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ProtocolError(f"{self.name}: {key} must be a list of strings")
        return tuple(value)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """Return a field that must be an object; absent is empty."""
        value = self.fields.get(key, {})
        if not isinstance(value, dict):
            raise ProtocolError(f"{self.name}: {key} must be an object, not {value!r:.80}")
        return value

    def header(self, key: str, *, max_chars: int = 200) -> str:
        """Return a header the word can't do without."""
        value = self.headers.get(key, "")
        if not value or len(value) > max_chars:
            raise ProtocolError(f"{self.name}: header {key} is missing or too long")
        return value


def take_apart(utterance: Utterance) -> Spoken:
    """Split a body into name, fields and payload.

    Raises ProtocolError for anything that no word can look like. Hostile input is expected:
    every value is checked again, by type, where a word takes it.
    """
    body = utterance.body
    end = body.find(b"\n")
    line = body if end < 0 else body[:end]
    name, _, text = line.partition(b" ")
    if _NAME.fullmatch(name) is None:
        raise ProtocolError(f"the body does not begin with a word: {line[:40]!r}")
    return Spoken(
        name=name.decode("ascii"),
        fields=_fields(name.decode("ascii"), text) if text else {},
        raw=_EMPTY if end < 0 else memoryview(body)[end + 1 :],
        headers=utterance.headers,
    )


def _fields(name: str, text: bytes) -> Mapping[str, Any]:
    try:
        fields = _JSON_IN.decode(text.decode())
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"{name}: not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise ProtocolError(f"{name}: the JSON must be an object")
    return fields
