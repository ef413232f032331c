"""Kinds of value that only methods about commands take: signals, and which VMs are meant."""

from __future__ import annotations

from dataclasses import dataclass
from signal import Signals
from typing import Final

from vmcontroller.common.errors import BadArgument
from vmcontroller.common.words.running import SIGNALS
from vmcontroller.host.xmlrpc.kinds import wrong

_NUMBERS: Final = {int(Signals[f"SIG{name}"]): name for name in SIGNALS}
VMS_MAX: Final = 1000
NAME_CHARS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalName:
    """A signal: its name with or without SIG, or its number, also in a string."""

    wire: str = "string"
    allowed: str = f"one of {', '.join(SIGNALS)}, or its number"

    def check(self, name: str, given: object) -> str:
        if isinstance(given, bool) or not isinstance(given, int | str):
            raise wrong(name, self.allowed, given)
        text = str(given) if abs(int_of(given)) < 1000 else ""
        known = _NUMBERS.get(int_of(given)) or text.upper().removeprefix("SIG")
        if known not in SIGNALS:
            raise BadArgument(name, f"must be {self.allowed}, not {given!r:.40}")
        return known


def int_of(given: int | str) -> int:
    """Return a number that is one, or stands in a short string; 0 for everything else."""
    if isinstance(given, int):
        return given
    return int(given) if len(given) <= 3 and given.isascii() and given.isdigit() else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Vms:
    """Which VMs: an array of names, UUIDs or MAC addresses, or a pattern of names."""

    wire: str = "array"
    allowed: str = f"an array of 1 to {VMS_MAX} names of VMs, or a pattern such as 'worker *'"

    def check(self, name: str, given: object) -> str | tuple[str, ...]:
        if isinstance(given, str):
            if not given or len(given) > NAME_CHARS:
                raise BadArgument(name, f"must be {self.allowed}")
            return given
        if not isinstance(given, list | tuple):
            raise wrong(name, self.allowed, given)
        if not 1 <= len(given) <= VMS_MAX:
            raise BadArgument(name, f"must be {self.allowed}, not of {len(given)}")
        for index, each in enumerate(given):
            if not isinstance(each, str):
                raise wrong(f"{name}[{index}]", "a string", each)
            if not each or len(each) > NAME_CHARS:
                raise BadArgument(f"{name}[{index}]", f"must have 1 to {NAME_CHARS} characters")
        return tuple(given)
