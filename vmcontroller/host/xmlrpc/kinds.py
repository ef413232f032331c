"""The kinds of value a parameter can take: how each is checked, and how it is documented.

A kind takes what the XML-RPC parser made of an argument and returns the plain value that the
operation gets, or raises BadArgument with the parameter's name and what is allowed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from vmcontroller.common.errors import BadArgument

PATH_CHARS: Final = 4096
"""Linux' PATH_MAX."""

_WIRE_TYPES: Final[tuple[tuple[type, str], ...]] = (
    (bool, "a boolean"),
    (int, "an int"),
    (float, "a double"),
    (str, "a string"),
    (bytes, "base64"),
    (list, "an array"),
    (tuple, "an array"),
    (dict, "a struct"),
    (dt.datetime, "a dateTime"),
    (type(None), "nil"),
)


class Kind(Protocol):
    """One kind of value."""

    @property
    def wire(self) -> str:
        """The XML-RPC type, as `system.methodSignature` names it."""
        ...

    @property
    def allowed(self) -> str:
        """What is allowed, to follow 'must be'."""
        ...

    def check(self, name: str, given: object) -> Any:
        """Return the plain value; raises BadArgument about `name`."""
        ...


def wire_type(value: object) -> str:
    """Name a value's XML-RPC type, with its article."""
    return next((name for kind, name in _WIRE_TYPES if isinstance(value, kind)), "that")


def wrong(name: str, allowed: str, given: object) -> BadArgument:
    """Make the error for a value of the wrong type."""
    return BadArgument(name, f"must be {allowed}, not {wire_type(given)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A string, with or without content."""

    max_chars: int = PATH_CHARS
    empty: bool = True
    absolute: bool = False
    """It is an absolute path (or empty)."""
    wire: str = "string"

    @property
    def allowed(self) -> str:
        least = 0 if self.empty else 1
        form = "an absolute path" if self.absolute else "a string"
        return f"{form} of {least} to {self.max_chars} characters"

    def check(self, name: str, given: object) -> str:
        if not isinstance(given, str):
            raise wrong(name, self.allowed, given)
        if not given and not self.empty:
            raise BadArgument(name, f"must be {self.allowed}; it is empty")
        if len(given) > self.max_chars:
            raise BadArgument(name, f"must be {self.allowed}, not of {len(given)}")
        if self.absolute and given and not given.startswith("/"):
            raise BadArgument(name, f"must be {self.allowed}, not {given!r:.100}")
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of a few strings."""

    choices: tuple[str, ...]
    wire: str = "string"

    @property
    def allowed(self) -> str:
        return " or ".join(repr(choice) for choice in self.choices)

    def check(self, name: str, given: object) -> str:
        if not isinstance(given, str):
            raise wrong(name, self.allowed, given)
        if given not in self.choices:
            raise BadArgument(name, f"must be {self.allowed}, not {given!r:.100}")
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A boolean; 0 and 1 are taken for one, since many clients have no other."""

    wire: str = "boolean"
    allowed: str = "a boolean"

    def check(self, name: str, given: object) -> bool:
        if isinstance(given, int) and given in {0, 1}:
            return bool(given)
        raise wrong(name, self.allowed, given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """A whole number; a double without a fraction is taken, since an int ends at 32 bits."""

    least: int
    most: int
    unit: str = ""
    wire: str = "int"

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.least} to {self.most}{self.unit and ' ' + self.unit}"

    def check(self, name: str, given: object) -> int:
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise wrong(name, self.allowed, given)
        if not self.least <= given <= self.most or given != int(given):
            raise BadArgument(name, f"must be {self.allowed}, not {shown_number(given)}")
        return int(given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """A duration; an int is taken too."""

    least_s: float
    most_s: float
    wire: str = "double"

    @property
    def allowed(self) -> str:
        return f"a number from {self.least_s:.15g} to {self.most_s:.15g} seconds"

    def check(self, name: str, given: object) -> float:
        if isinstance(given, bool) or not isinstance(given, int | float):
            raise wrong(name, self.allowed, given)
        if not self.least_s <= given <= self.most_s:
            raise BadArgument(name, f"must be {self.allowed}, not {shown_number(given)}")
        return float(given)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Bytes: base64, or a string that is taken as UTF-8."""

    max_bytes: int
    wire: str = "base64"

    @property
    def allowed(self) -> str:
        return f"base64 or a string of at most {self.max_bytes} bytes"

    def check(self, name: str, given: object) -> bytes:
        if not isinstance(given, bytes | str):
            raise wrong(name, self.allowed, given)
        content = given.encode() if isinstance(given, str) else given
        if len(content) > self.max_bytes:
            raise BadArgument(name, f"must be {self.allowed}, not of {len(content)}")
        return content


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One key of an options struct, and the field it becomes."""

    key: str
    field: str
    kind: Kind
    doc: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A struct of options; an unknown key is an error. An empty string is an empty struct."""

    entries: tuple[Option, ...]
    build: Callable[..., Any]
    """Takes the fields of the given options by keyword."""
    wire: str = "struct"

    @property
    def allowed(self) -> str:
        return "a struct of " + ", ".join(entry.key for entry in self.entries)

    def check(self, name: str, given: object) -> Any:
        if given == "":
            given = {}
        if not isinstance(given, Mapping):
            raise wrong(name, self.allowed, given)
        known = {entry.key: entry for entry in self.entries}
        fields = {}
        for key, value in given.items():
            entry = known.get(key)
            if entry is None:
                raise BadArgument(name, f"{key!r:.100} is no option; allowed: {', '.join(known)}")
            fields[entry.field] = entry.kind.check(f"{name}.{key}", value)
        return self.build(**fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls of a multicall, as pairs of a method's name and its parameters."""

    most: int = 1000
    wire: str = "array"

    @property
    def allowed(self) -> str:
        return f"an array of at most {self.most} structs of methodName and params"

    def check(self, name: str, given: object) -> Sequence[tuple[str, Sequence[object]]]:
        if not isinstance(given, list | tuple):
            raise wrong(name, self.allowed, given)
        if len(given) > self.most:
            raise BadArgument(name, f"must be {self.allowed}, not of {len(given)}")
        return [_call(f"{name}[{index}]", call) for index, call in enumerate(given)]


def _call(name: str, given: object) -> tuple[str, Sequence[object]]:
    if not isinstance(given, Mapping):
        raise wrong(name, "a struct of methodName and params", given)
    method, params = given.get("methodName"), given.get("params", [])
    if not isinstance(method, str):
        raise wrong(f"{name}.methodName", "a string", method)
    if not isinstance(params, list | tuple):
        raise wrong(f"{name}.params", "an array", params)
    return method, params


def shown_number(number: float) -> str:
    """Write a number so that it is short whatever it is."""
    if isinstance(number, int):
        return str(number) if abs(number) < 10**18 else "an int of that size"
    return f"{number:.15g}"
