"""Values as people read them; nothing in them can reach the terminal but as text. Pure."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

_UNITS: Final = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_ESCAPES: Final = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
_SUFFIXES: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def shown(text: str) -> str:
    """Return text in which everything is printable.

    Control characters, line breaks, marks that turn the direction of writing, half surrogate
    pairs become escapes as Python and C write them: a guest names itself, and prints what it will.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if char in _ESCAPES:
        return _ESCAPES[char]
    return (
        f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}"
    )


def shown_lines(data: bytes) -> str:
    """Return a guest's output as text that does nothing to a terminal but line feeds and tabs."""
    text = data.decode("utf-8", "backslashreplace").replace("\r\n", "\n")
    return "".join(
        char if char.isprintable() or char in {"\n", "\t"} else _escape(char) for char in text
    )


@dataclass(frozen=True, slots=True)
class Cell:
    """A value in a table: as people want it, and as programs do."""

    plain: str
    pretty: str
    style: str = ""


def size(count: float) -> Cell:
    """Write a number of bytes."""
    return Cell(f"{count:.0f}", human_size(count))


def human_size(count: float) -> str:
    """Write a number of bytes with a unit."""
    value = float(count)
    for unit in _UNITS:
        if abs(value) < 1024 or unit == _UNITS[-1]:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError("the last unit takes all")


def duration(seconds: float) -> Cell:
    """Write a length of time."""
    return Cell(f"{seconds:.3f}", human_duration(seconds))


def human_duration(seconds: float) -> str:
    """Write a length of time with units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def moment(at_s: float) -> Cell:
    """Write a time of day; 0 is none."""
    if not at_s:
        return Cell("", "")
    try:
        when = dt.datetime.fromtimestamp(at_s).astimezone()
    except (OverflowError, ValueError, OSError):
        return Cell(str(at_s), "?")
    return Cell(when.isoformat(timespec="milliseconds"), f"{when:%Y-%m-%d %H:%M:%S}")


def bytes_of(text: str) -> int:
    """Read a size such as 64M or 1.5GiB; without a unit it is bytes. Raises ValueError."""
    lower = text.strip().lower().removesuffix("ib").removesuffix("b")
    suffix = lower[-1:] if lower[-1:] in _SUFFIXES else ""
    number = float(lower.removesuffix(suffix).strip())
    if not 0 <= number < 2**60:
        raise ValueError(f"{text!r} is no size")
    return int(number * 1024 ** _SUFFIXES[suffix])
