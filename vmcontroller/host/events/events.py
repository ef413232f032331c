"""The daemon's events: noted by whoever causes them, waited for by callers, told to monitors."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vmcontroller.common.errors import NotConnected
from vmcontroller.host.events.log import KEPT, EventLog, Kind, Page, Wanted

TEXT_CHARS: Final = 1000
"""Of a text in an event more is cut off: some of it guests have written."""


class Events:
    """The log of what happens, and those who wait for more of it.

    Who waits is woken, and monitors are told, in the next turn of the reactor: noting an event
    does nothing but note it, and never raises.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        wall_s: Callable[[], float],
        publish: Callable[[bytes], None] | None = None,
        host: str = "",
        kept: int = KEPT,
    ) -> None:
        """`wall_s` is the time of day.

        `publish` gets each event as JSON, with this `host`; None: nobody can hear it.
        """
        self._clock = clock
        self._wall_s = wall_s
        self._publish = publish
        self._host = host
        self._events = EventLog(wall_s(), kept=kept)
        self._unseen = self._events.next
        """The first event that nobody was woken for yet."""
        self._waiting: dict[Wanted, dict[Deferred[int], None]] = {}
        self._telling: IDelayedCall | None = None
        self._ended = self._stopped = False

    def note(self, kind: Kind, vm: str = "", uuid: str = "", **detail: str | float) -> None:
        """Note that something has happened, to the VM with this name and UUID if any.

        `detail` is as docs/events-and-tasks.md says for this kind.
        """
        kept = {
            key: value[:TEXT_CHARS] if isinstance(value, str) else value
            for key, value in detail.items()
        }
        _ = self._events.add(self._wall_s(), kind, vm[:TEXT_CHARS], uuid, kept)
        if self._telling is None and not self._stopped:
            self._telling = self._clock.callLater(0, self._tell)

    async def wait(self, since: int, timeout_s: float, wanted: Wanted) -> Page:
        """Return the wanted events from number `since` on (below 0: from now on).

        Where there are none yet, wait for them until the time has passed. Raises NotConnected
        when the daemon stops.
        """
        begin = self._events.next if since < 0 else since
        until_s = self._clock.seconds() + timeout_s
        while True:
            page = self._events.page(begin, wanted)
            left_s = until_s - self._clock.seconds()
            if page.events or page.lost or left_s <= 0:
                return page
            # What has come and does not match has been looked at: it may be dropped meanwhile.
            begin = max(begin, await self._news(wanted, left_s))

    def end_waits(self) -> None:
        """Let everybody go who waits, while they can still be answered; monitors hear on."""
        self._ended = True
        for waiting in list(self._waiting.values()):
            for news in list(waiting):
                if not news.called:
                    news.errback(_stopping())

    def stop(self) -> None:
        """Tell monitors what was not told yet, and nothing more."""
        self._stopped = True
        if self._telling is not None:
            self._telling.cancel()
        self._tell()

    async def _news(self, wanted: Wanted, timeout_s: float) -> int:
        """Return the number from which on there may be such events, or when the time has passed."""
        if self._ended:
            raise _stopping()
        news: Deferred[int] = Deferred()
        self._waiting.setdefault(wanted, {})[news] = None
        timer = self._clock.callLater(timeout_s, lambda: news.callback(self._unseen))
        try:
            return await news
        finally:
            if timer.active():
                timer.cancel()
            del self._waiting[wanted][news]
            if not self._waiting[wanted]:
                del self._waiting[wanted]

    def _tell(self) -> None:
        self._telling = None
        first, self._unseen = self._unseen, self._events.next
        events = self._events.since(first)
        if self._publish is not None:
            for event in events:
                self._send(self._publish, {**event.answer(), "host": self._host})
        for wanted in [each for each in self._waiting if any(map(each.matches, events))]:
            for news in list(self._waiting.get(wanted, ())):
                if not news.called:
                    news.callback(first)

    def _send(self, publish: Callable[[bytes], None], event: dict[str, object]) -> None:
        try:
            publish(json.dumps(event).encode())
        except NotConnected:
            return  # waitEvents has it; the topic is silent while there is no broker
        except Exception:  # noqa: BLE001 - a monitor's copy must not keep callers waiting
            self._log.failure("an event could not be sent to the broker")


def _stopping() -> NotConnected:
    return NotConnected("the daemon stops; its numbers of events begin anew with the next one")
