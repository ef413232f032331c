"""Work that nobody waits for: its failure is logged, never lost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger()


def in_background(work: Coroutine[Any, Any, object], doing: str) -> Deferred[None]:
    """Run a coroutine; the Deferred fires when it has ended, however, and cancels it."""

    def failed(failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            _log.failure("{doing} failed", failure=failure, doing=doing)

    running: Deferred[Any] = Deferred.fromCoroutine(work)
    return running.addCallbacks(lambda _: None, failed)


def pause(clock: IReactorTime, pause_s: float) -> Deferred[None]:
    """Return what fires after `pause_s` seconds; cancelling it stops the timer."""
    over: Deferred[None] = Deferred(lambda _: timer.cancel())
    timer = clock.callLater(pause_s, over.callback, None)
    return over


class Repeated:
    """Does something every so often, never twice at once; an error is logged, not the end."""

    def __init__(
        self,
        clock: IReactorTime,
        interval_s: float,
        doing: str,
        work: Callable[[], Awaitable[None] | None],
    ) -> None:
        self._clock = clock
        self._interval_s = interval_s
        self._doing = doing
        self._work = work
        self._running: Deferred[None] | None = None

    def start(self) -> None:
        """Begin, one interval from now."""
        self._running = in_background(self._repeat(), self._doing)

    def stop(self) -> None:
        """End; what is under way is cancelled."""
        if self._running is not None:
            self._running.cancel()
            self._running = None

    async def _repeat(self) -> None:
        while True:
            await pause(self._clock, self._interval_s)
            await in_background(self._once(), self._doing)

    async def _once(self) -> None:
        result = self._work()
        if result is not None:
            await result
