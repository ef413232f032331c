"""Use cases of events: to wait for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmcontroller.host.events.events import Events
from vmcontroller.host.events.log import Wanted


class EventOperations:
    """What happens on this host."""

    def __init__(self, *, event_log: Events) -> None:
        self._event_log = event_log

    async def wait_events(self, since: int, timeout_s: float, wanted: Wanted) -> Mapping[str, Any]:
        """Answer the events from a number on, as soon as there are any."""
        return (await self._event_log.wait(since, timeout_s, wanted)).answer()
