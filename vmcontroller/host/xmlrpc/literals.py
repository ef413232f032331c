"""Kinds for the conventions of old clients, which send Python literals in strings.

The original passed args, env and path on as Python source, so its clients had to send
`'{}'`, `"{'A': 'b'}"`, `'None'` or `"'/tmp'"`. What they send goes on working; what is natural
works too.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from vmcontroller.common.errors import BadArgument
from vmcontroller.host.xmlrpc.kinds import PATH_CHARS, Text, wire_type, wrong

LITERAL_CHARS: Final = 65536
_NOTHING: Final = frozenset({"", "None"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Arguments:
    """An array of strings; '' is taken for none."""

    wire: str = "array"
    allowed: str = "an array of strings"

    def check(self, name: str, given: object) -> tuple[str, ...]:
        if isinstance(given, str) and given in {*_NOTHING, "[]", "()"}:
            return ()
        if not isinstance(given, list | tuple):
            raise wrong(name, self.allowed, given)
        return tuple(_plain(f"{name}[{index}]", item) for index, item in enumerate(given))


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A struct of strings, or a string that holds one as a Python literal."""

    wire: str = "struct"
    allowed: str = "a struct of strings"

    def check(self, name: str, given: object) -> Mapping[str, str]:
        if isinstance(given, str):
            given = {} if given in _NOTHING else _literal(name, given, self.allowed)
        if not isinstance(given, Mapping):
            raise wrong(name, self.allowed, given)
        for variable, value in given.items():
            if not isinstance(variable, str) or not variable or "=" in variable:
                raise BadArgument(name, f"{variable!r:.100} cannot be a variable's name")
            _plain(name, variable)
            _plain(f"{name}.{variable:.100}", value)
        return dict(given)


@dataclass(frozen=True, slots=True, kw_only=True)
class OldPath:
    """A path, also as a Python literal in its quotes; '' and 'None' are none."""

    wire: str = "string"

    @property
    def allowed(self) -> str:
        return Text().allowed

    def check(self, name: str, given: object) -> str:
        if not isinstance(given, str):
            raise wrong(name, self.allowed, given)
        if given in _NOTHING:
            return ""
        if len(given) > 1 and given[0] in "'\"" and given[-1] == given[0]:
            given = _plain(name, _literal(name, given, self.allowed))
        return Text(max_chars=PATH_CHARS).check(name, given)


def _literal(name: str, text: str, allowed: str) -> object:
    """Read a Python literal: a value, never code."""
    if len(text) > LITERAL_CHARS:
        raise BadArgument(name, f"a literal ends at {LITERAL_CHARS} characters; send {allowed}")
    try:
        value: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise BadArgument(
            name, f"must be {allowed}, and the string {text!r:.100} does not hold one"
        ) from None
    return value


def _plain(name: str, value: object) -> str:
    """Take a string that a process can be given."""
    if not isinstance(value, str):
        raise BadArgument(name, f"must be a string, not {wire_type(value)}")
    if "\0" in value or any("\ud800" <= char <= "\udfff" for char in value):
        raise BadArgument(name, "must not hold NUL or lone surrogates")
    return value
