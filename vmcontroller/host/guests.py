"""Which agents are there: a record per guest and the rules of its coming and going.

No clock and no I/O: `now_s` is an argument, a monotonic time of the host. What a guest writes
of itself is data; who it is, the broker says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vmcontroller.common.model import GuestId
from vmcontroller.common.words.presence import Descriptor


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """One agent that has said HELLO and is not gone."""

    id: GuestId
    descriptor: Descriptor
    session: str
    agent_version: str
    since_s: float
    last_heard_s: float
    protocol: int = 1
    """What both sides speak: the lower version of the two."""
    capabilities: tuple[str, ...] = ()
    boot_id: str = ""
    epoch: int = 0
    load: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    """How it fares, as its last beacon says."""
    figures_s: float = 0.0
    """When that came."""
    latency_s: float = -1.0
    """From a PING to its PONG; below 0: not measured yet."""
    measured_s: float = float("-inf")
    """When that was."""

    def comes_anew_after(self, before: Guest | None) -> bool:
        """Tell whether this HELLO came by another connection than the one `before`.

        Agents of old don't count their connections.
        """
        if before is None or self.protocol < 3:
            return True
        return (before.session, before.epoch) != (self.session, self.epoch)


class Guests:
    """The agents that are there, by id."""

    def __init__(self, *, gc_grace_s: float, gone: Callable[[Guest, str], None]) -> None:
        """`gone` is called with each guest that leaves, and why."""
        self._gc_grace_s = gc_grace_s
        self._gone = gone
        self._guests: dict[GuestId, Guest] = {}
        self._why_gone: dict[GuestId, str] = {}

    def get(self, guest: GuestId) -> Guest | None:
        """Return the record of a guest that is there."""
        return self._guests.get(guest)

    def everyone(self) -> Sequence[Guest]:
        """Return the records of all that are there."""
        return list(self._guests.values())

    def hello(self, guest: Guest) -> Guest | None:
        """Take in a guest; return its record of before, from an earlier session or this one."""
        before = self._guests.get(guest.id)
        if before is not None and before.session == guest.session:
            guest = replace(
                guest,
                since_s=before.since_s,
                load=before.load,
                figures=before.figures,
                figures_s=before.figures_s,
                latency_s=before.latency_s,
                measured_s=before.measured_s,
            )
        self._guests[guest.id] = guest
        self._why_gone.pop(guest.id, None)
        return before

    def heard(self, guest: GuestId, now_s: float) -> bool:
        """Note that a guest has spoken; False for one that has not said HELLO."""
        record = self._guests.get(guest)
        if record is None:
            return False
        self._guests[guest] = replace(record, last_heard_s=now_s)
        return True

    def note(self, guest: GuestId, **news: float | Mapping[str, float]) -> None:
        """Put `load`, `figures` and the like into the record of a guest that is there."""
        record = self._guests.get(guest)
        if record is not None:
            self._guests[guest] = replace(record, **news)  # type: ignore[arg-type]

    def why_gone(self, guest: GuestId) -> str:
        """Return why a guest that was there is not any more; empty for one that never was."""
        return self._why_gone.get(guest, "")

    def leave(self, guest: GuestId, why: str) -> None:
        """Let a guest go that said BYE, or whose VM is off. Unknown ones are no error."""
        record = self._guests.pop(guest, None)
        if record is not None:
            self._why_gone[guest] = why
            self._gone(record, why)

    def expire(self, now_s: float) -> None:
        """Let go of every guest that was unheard for longer than the grace."""
        for record in list(self._guests.values()):
            silent_s = now_s - record.last_heard_s
            if silent_s > self._gc_grace_s:
                self.leave(record.id, f"unheard for {silent_s:.0f} s")
