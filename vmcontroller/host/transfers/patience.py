"""How long a copy waits for its guest, and when it goes on."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from vmcontroller.common.errors import NotConnected
from vmcontroller.host.transfers.world import FLOOR_BYTES

ASK_S: Final = 10.0
"""A guest that is waited for is asked for its HELLO every so often: it may be there."""

RETRY_S: Final = 1.0
"""A connection that brought nothing is followed by the next try no sooner."""


class Patience:
    """The waiting of one copy between two connections of its guest."""

    def __init__(self, *, clock: IReactorTime, grace_s: float, ask: Callable[[], None]) -> None:
        """`grace_s` is granted anew only to a guest that brought something meanwhile."""
        self._clock = clock
        self._grace_s = grace_s
        self._ask = ask
        self._began_s = 0.0
        self._done_bytes = 0
        self._until_s: float | None = None
        self._again: Deferred[None] | None = None
        self._is_there = False
        """Whether the guest has come since the last connection was begun to be used."""
        self._brought = False
        self._timers: list[IDelayedCall] = []

    def begins(self) -> None:
        """Note that a connection is made use of."""
        self._began_s = self._clock.seconds()
        self._is_there = False

    def away(self) -> None:
        """The guest is gone."""
        self._is_there = False

    def there(self) -> None:
        """The guest is there: whoever waits, now or in a moment, goes on, if not at once then soon.

        A guest that says so without end is heard once.
        """
        before, self._is_there = self._is_there, True
        if self._again is not None and not before:
            self._go_on_soon()

    def end(self, error: Exception) -> None:
        """Whoever waits does so no more."""
        if self._again is not None and not self._again.called:
            self._again.errback(error)

    async def wait(self, error: Exception, done_bytes: int) -> None:
        """Wait until the guest is there; raise `error`, the reason to wait, after the grace."""
        now_s = self._clock.seconds()
        # Less than it must send anyway does not count, nor what was begun anew.
        self._brought = abs(done_bytes - self._done_bytes) >= FLOOR_BYTES
        if self._until_s is None or self._brought:
            self._until_s = now_s + self._grace_s
            self._done_bytes = done_bytes
        left_s = self._until_s - now_s
        if left_s <= 0:
            raise error
        again = self._again = Deferred[None]()
        self._timers.append(self._clock.callLater(left_s, self.end, error))
        if self._is_there:
            self._go_on_soon()
        self._ask_again()
        try:
            await again
        finally:
            self._again = None
            timers, self._timers = self._timers, []
            for timer in timers:
                if timer.active():
                    timer.cancel()

    def _ask_again(self) -> None:
        if not self._is_there:
            with suppress(NotConnected):
                self._ask()
        self._timers[:] = [timer for timer in self._timers if timer.active()]
        self._timers.append(self._clock.callLater(ASK_S, self._ask_again))

    def _go_on_soon(self) -> None:
        delay_s = 0.0 if self._brought else self._began_s + RETRY_S - self._clock.seconds()
        if delay_s > 0:
            self._timers.append(self._clock.callLater(delay_s, self._go_on))
        else:
            self._go_on()

    def _go_on(self) -> None:
        if self._is_there and self._again is not None and not self._again.called:
            self._again.callback(None)
