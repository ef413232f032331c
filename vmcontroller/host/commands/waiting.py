"""Callers who wait for news of a command, each until its own time has passed."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Waiting:
    """Those who wait, by a key."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[str, list[Deferred[None]]] = {}

    async def until_woken(self, key: str, timeout_s: float) -> None:
        """Return when `key` is woken, or when the time has passed."""
        if timeout_s <= 0:
            return
        news: Deferred[None] = Deferred()
        self._waiting.setdefault(key, []).append(news)
        timer = self._clock.callLater(timeout_s, news.callback, None)
        try:
            await news
        finally:
            if timer.active():
                timer.cancel()
            others = self._waiting.get(key, [])
            if news in others:
                others.remove(news)
            if not others:
                self._waiting.pop(key, None)

    def wake(self, key: str) -> None:
        """Let all go that wait for it."""
        for news in self._waiting.pop(key, []):
            if not news.called:
                news.callback(None)

    def end(self, error: Exception) -> None:
        """Let everybody go with an error."""
        for key in list(self._waiting):
            for news in self._waiting.pop(key, []):
                if not news.called:
                    news.errback(error)
