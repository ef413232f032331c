"""The numbered log: what an event is, which are kept, and who wants which. No clock and no I/O."""

from __future__ import annotations

import enum
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import translate
from functools import lru_cache
from itertools import takewhile
from typing import Any, Final

KEPT: Final = 10_000
"""Events; of more the oldest go, and who still wants them is told that they are lost."""
PAGE: Final = 1000
"""The most events of one answer; `next` leads on to the rest."""


class Kind(enum.StrEnum):
    """What has happened."""

    DAEMON_STARTED = "daemon-started"
    VM_ADDED = "vm-added"
    VM_REMOVED = "vm-removed"
    VM_STATE = "vm-state"
    AGENT_UP = "agent-up"
    AGENT_GONE = "agent-gone"
    COMMAND_ENDED = "command-ended"
    TRANSFER_ENDED = "transfer-ended"
    TASK_ENDED = "task-ended"
    SNAPSHOT_TAKEN = "snapshot-taken"
    SNAPSHOT_RESTORED = "snapshot-restored"
    ACTION = "action"
    """A control loop has done something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that has happened."""

    number: int
    at: float
    """Seconds since 1970."""
    kind: Kind
    vm: str = ""
    """The VM's name; empty where it is about none, or about one that is not known."""
    uuid: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    def answer(self) -> dict[str, Any]:
        """Return it as clients see it."""
        return {
            "number": self.number,
            "at": self.at,
            "kind": self.kind.value,
            "vm": self.vm,
            "uuid": self.uuid,
            "detail": dict(self.detail),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which events somebody wants: those that match one glob of each, where there are any."""

    kinds: tuple[str, ...] = ()
    vms: tuple[str, ...] = ()
    """Globs of names; an event about no VM matches only `*`."""

    def matches(self, event: Event) -> bool:
        """Tell whether this is one of them."""
        if self.kinds and event.kind not in kinds_of(self.kinds):
            return False
        return not self.vms or _names(self.vms).match(event.vm) is not None


@lru_cache(maxsize=1024)
def kinds_of(globs: tuple[str, ...]) -> frozenset[Kind]:
    """Return the kinds that one of these globs matches."""
    pattern = _names(globs)
    return frozenset(kind for kind in Kind if pattern.match(kind))


@lru_cache(maxsize=1024)
def _names(globs: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(translate, globs)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What there is for somebody who asks."""

    events: tuple[Event, ...]
    next: int
    """What to ask for next."""
    lost: bool
    """Events may be missing before these: some were asked for that are not kept."""

    def answer(self) -> dict[str, Any]:
        """Return it as clients see it."""
        return {
            "events": [event.answer() for event in self.events],
            "next": self.next,
            "lost": self.lost,
        }


class EventLog:
    """The latest events, with numbers that go up by one.

    They begin at the microseconds since 1970 of the daemon's start. So a later daemon's are
    higher than all of an earlier one's: who asks it for an event of before its start is told that
    events are lost, even if the clock was set back meanwhile, since a number that is still to
    come is taken for another log's, too.
    """

    def __init__(self, begins_s: float, *, kept: int = KEPT) -> None:
        """`begins_s` is the time of day of the daemon's start."""
        self._events: deque[Event] = deque(maxlen=kept)
        self._next = int(begins_s * 1e6)

    @property
    def next(self) -> int:
        """The number of the event that comes next."""
        return self._next

    @property
    def oldest(self) -> int:
        """The number of the oldest that is kept."""
        return self._next - len(self._events)

    def add(self, at: float, kind: Kind, vm: str, uuid: str, detail: Mapping[str, Any]) -> Event:
        """Take in what has happened."""
        event = Event(number=self._next, at=at, kind=kind, vm=vm, uuid=uuid, detail=detail)
        self._events.append(event)
        self._next += 1
        return event

    def page(self, since: int, wanted: Wanted) -> Page:
        """Return the wanted events from number `since` on, the oldest first."""
        if since > self._next:
            return Page(events=(), next=self._next, lost=True)
        found = [event for event in self.since(since) if wanted.matches(event)]
        events = tuple(found[:PAGE])
        return Page(
            events=events,
            next=self._next if len(events) == len(found) else events[-1].number + 1,
            lost=since < self.oldest,
        )

    def since(self, number: int) -> list[Event]:
        """Return what is kept from this number on, the oldest first."""
        found = list(takewhile(lambda event: event.number >= number, reversed(self._events)))
        found.reverse()  # who waits wants the newest, so these are looked at first
        return found
