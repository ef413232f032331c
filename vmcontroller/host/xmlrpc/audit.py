"""What is written down of a call that changes something, or that was refused. Decisions only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

from twisted.internet.defer import CancelledError

from vmcontroller.common.errors import VMControllerError
from vmcontroller.host.callers import Caller
from vmcontroller.host.xmlrpc.head import clean
from vmcontroller.host.xmlrpc.kinds import Choice, Flag, Options, Seconds, Text, Whole
from vmcontroller.host.xmlrpc.literals import OldPath
from vmcontroller.host.xmlrpc.method import Method

OK: Final = "ok"
_PLAIN: Final = (Text, Choice, Flag, Whole, Seconds, OldPath)
"""Kinds of parameters whose values are written down. All others may hold secrets: environments,
arguments, what goes to a stdin, user-data."""


class Audited(Protocol):
    """A call that will be written down."""

    def ends(self, result: str) -> None:
        """Write it down, with how it ended."""
        ...


class Audit(Protocol):
    """Writes calls down."""

    def begins(self, caller: Caller, method: str, said: Mapping[str, object]) -> Audited:
        """Begin a call; `said` is what may be known of its arguments."""
        ...


def plain_arguments(method: Method, params: Sequence[object]) -> dict[str, object]:
    """Return those arguments that may be written down; of options only their names."""
    said: dict[str, object] = {}
    for parameter, value in zip(method.parameters, params, strict=False):
        if isinstance(parameter.kind, Options) and isinstance(value, Mapping):
            said[parameter.name] = sorted(clean(str(key), 40) for key in value)[:100]
        elif isinstance(parameter.kind, _PLAIN):
            if isinstance(value, str):
                said[parameter.name] = clean(value)
            elif isinstance(value, bool | int | float):
                said[parameter.name] = value
    return said


def result_of(error: BaseException) -> str:
    """Return the name of the Fault that a call ends with."""
    if isinstance(error, VMControllerError):
        return error.fault
    if isinstance(error, CancelledError) or not isinstance(error, Exception):
        return "CANCELLED"
    return "INTERNAL"
