"""What the broker counts while it works, and what it tells of that. Pure."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final, Literal, get_args

EventKind = Literal["takeover", "login-refused", "slow-consumer", "protocol-error"]
Reason = Literal[
    "slow-consumer",
    "rate-held",
    "login-refused",
    "too-many",
    "protocol-error",
    "access-denied",
    "takeover",
    "silent",
]

WINDOW_S: Final = 10.0
_STEP_S: Final = 1.0

Totals = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerEvent:
    """Something about a peer that a person may want to know."""

    kind: EventKind
    principal: str
    """`guest ID`, `host`, `anyone`; empty when nobody has logged in yet."""
    address: str
    detail: str


@dataclass(slots=True)
class Traffic:
    """Frames and bytes each way, added up by whoever moves them; `look` comes before adding."""

    frames_in: int = 0
    bytes_in: int = 0
    frames_out: int = 0
    bytes_out: int = 0
    drops: Counter[Reason] = field(default_factory=Counter)
    """By reason; `rate-held` counts the times that a guest was made to wait, not dropped."""
    _samples: deque[tuple[float, Totals]] = field(default_factory=lambda: deque(maxlen=12))
    _next_s: float = float("-inf")

    def look(self, now_s: float) -> None:
        """Remember the totals, about once in a second. Between two looks nothing has come."""
        if now_s >= self._next_s:
            self._samples.append((now_s, self.totals()))
            self._next_s = now_s + _STEP_S

    def totals(self) -> Totals:
        """Return frames and bytes in, frames and bytes out."""
        return self.frames_in, self.bytes_in, self.frames_out, self.bytes_out

    def per_s(self, now_s: float) -> tuple[float, float, float, float]:
        """Return the same for each second, on average of the last ten."""
        before = next((t for at, t in self._samples if at > now_s - WINDOW_S), self.totals())
        a, b, c, d = (new - old for new, old in zip(self.totals(), before, strict=True))
        return a / WINDOW_S, b / WINDOW_S, c / WINDOW_S, d / WINDOW_S


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerStats:
    """The state of a broker at one moment."""

    connections: int
    by_role: dict[str, int]
    subscriptions: int
    destinations: int
    queued_messages: int
    queued_bytes: int
    totals: Totals
    per_s: tuple[float, float, float, float]
    drops: dict[str, int]
    held: int
    """Connections that are not read now."""

    def answer(self) -> dict[str, Any]:
        """Return it as the API tells it."""
        names = ("framesIn", "bytesIn", "framesOut", "bytesOut")
        return {
            "connections": self.connections,
            "roles": self.by_role,
            "subscriptions": self.subscriptions,
            "destinations": self.destinations,
            "queuedMessages": self.queued_messages,
            "queuedBytes": self.queued_bytes,
            "held": self.held,
            "totals": dict(zip(names, self.totals, strict=True)),
            "perSecond": dict(zip(names, self.per_s, strict=True)),
            "drops": dict.fromkeys(get_args(Reason), 0) | self.drops,
        }
