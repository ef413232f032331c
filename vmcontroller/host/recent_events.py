"""What has happened lately at the broker that a person may want to know. Bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from vmcontroller.host.broker.stats import BrokerEvent

KEPT: Final = 100


class RecentEvents:
    """The last hundred events, numbered; `wall_s` is the time of day."""

    def __init__(self, wall_s: Callable[[], float]) -> None:
        self._wall_s = wall_s
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._number = 0

    def note(self, event: BrokerEvent) -> None:
        """Take in an event."""
        self._number += 1
        self._kept.append(
            {
                "number": self._number,
                "at": self._wall_s(),
                "kind": event.kind,
                "who": event.principal,
                "address": event.address,
                "detail": event.detail,
            }
        )

    def answer(self) -> Sequence[dict[str, Any]]:
        """Return them as the API tells them, the oldest first."""
        return list(self._kept)
