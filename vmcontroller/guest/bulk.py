"""The agent's second connection, on which the bytes of files go, so that words never wait for them.

It is opened by the first copy, not before: a host has thousands of guests that copy nothing. A copy
that can't have it goes by the first one, as it must where there is only one stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vmcontroller.common.copying.course import Way
from vmcontroller.common.stomp.frames import quoted
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.files import FileCredit, FileDone, FileFailed, FileReady

OPEN_WITHIN_S: Final = 5.0
"""After that a copy goes by the first connection."""

CLOSED_AFTER_S: Final = 60.0
"""Without a copy."""

AGAIN_AFTER_S: Final = 60.0
"""Where it could not be had it is not tried again before; copies must not wait for it each time."""

SINCE_PROTOCOL: Final = 3
"""A broker of a daemon that speaks less takes a second connection for the guest's new first one."""


class Session(Protocol):
    """The second connection."""

    def start(self) -> None:
        """Begin to connect."""
        ...

    def stop(self) -> None:
        """Close it, or give up connecting."""
        ...

    def say(self, word: Word) -> None:
        """Say a word; raises NotConnected."""
        ...

    async def writable(self) -> None:
        """Return when the connection takes more; raises NotConnected."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Whom a session tells how it fares; each at most once, and nothing after `stop`."""

    ready: Callable[[], None]
    failed: Callable[[str], None]
    """It did not come to a session, and why."""
    lost: Callable[[str], None]


Build = Callable[[Outcome], Session | None]
"""Makes a session that has not begun; None where there can't be one."""


class Line:
    """The way of one copy's words: by the first connection, or since `open` by the second."""

    def __init__(self, bulk: Bulk) -> None:
        self.on_lost: Callable[[str], None]
        self._bulk = bulk
        self._second: Session | None = None

    async def open(self, on_lost: Callable[[str], None]) -> bool:
        """Take the second connection, if it can be had in time; tell whether it could.

        `on_lost` is told why when it is lost while the copy uses it.
        """
        self.on_lost = on_lost
        self._second = await self._bulk.take(self)
        return self._second is not None

    def say(self, word: Word) -> None:
        """Say a word of the copy; raises NotConnected.

        What bytes follow or end keeps its order with them. FILE_READY says which way they go, and
        that the second connection is lost, the first one tells.
        """
        second = self._second
        if second is None or isinstance(word, FileCredit | FileDone):
            self._bulk.first.say(word)
        elif isinstance(word, FileReady):
            second.say(replace(word, bulk=True))
        elif isinstance(word, FileFailed) and not self._bulk.has(second):
            self._bulk.first.say(word)
        else:
            second.say(word)

    async def writable(self) -> None:
        """Return when the way of the bytes takes more; raises NotConnected."""
        await (self._second or self._bulk.first).writable()

    def close(self) -> None:
        """The copy has ended."""
        self._bulk.leave(self)


class Bulk:
    """Keeps the second connection while copies use it, and a minute longer."""

    _log = Logger()

    def __init__(self, *, clock: IReactorTime, first: Way, build: Build) -> None:
        """`first` is the way of all words."""
        self.first = first
        self._clock = clock
        self._build = build
        self._allowed = False
        self._not_before_s = float("-inf")
        self._session: Session | None = None
        self._ready = False
        self._lines: set[Line] = set()
        self._waiting: list[Deferred[None]] = []
        self._timer: IDelayedCall | None = None

    def host_speaks(self, protocol: int) -> None:
        """Note that the host has answered HELLO: from now on there may be a second connection."""
        self._allowed = protocol >= SINCE_PROTOCOL
        self._not_before_s = float("-inf")

    def first_lost(self, reason: str) -> None:
        """Note that the first connection is gone; the broker ends the second one, too."""
        self._allowed = False
        self._end(reason)

    def line(self) -> Line:
        """Return the way for a copy that begins."""
        return Line(self)

    def has(self, session: Session) -> bool:
        """Tell whether this is the session that is there now."""
        return self._ready and session is self._session

    async def take(self, line: Line) -> Session | None:
        """Return the session, ready, for this copy; None when there is none in time."""
        if self._session is None and not self._begin():
            return None
        if not self._ready:
            waiting: Deferred[None] = Deferred()
            self._waiting.append(waiting)
            await waiting
        if not self._ready:
            return None
        self._lines.add(line)
        self._in_time(0, None)
        return self._session

    def leave(self, line: Line) -> None:
        """Note that this copy has ended."""
        if line in self._lines:
            self._lines.remove(line)
            if not self._lines:
                self._in_time(CLOSED_AFTER_S, self._unused)

    def _begin(self) -> bool:
        if not self._allowed or self._clock.seconds() < self._not_before_s:
            return False
        self._session = self._build(
            Outcome(ready=self._is_ready, failed=self._failed, lost=self._lost)
        )
        if self._session is None:
            return False
        self._in_time(OPEN_WITHIN_S, lambda: self._failed(f"none within {OPEN_WITHIN_S:g} s"))
        self._session.start()
        return True

    def _is_ready(self) -> None:
        self._ready = True
        self._in_time(CLOSED_AFTER_S, self._unused)
        self._go_on()

    def _failed(self, reason: str) -> None:
        self._log.info(
            "no second connection ({reason}): files are copied by the first", reason=quoted(reason)
        )
        self._not_before_s = self._clock.seconds() + AGAIN_AFTER_S
        self._end(reason)

    def _lost(self, reason: str) -> None:
        self._log.info("the connection for bulk is lost: {reason}", reason=quoted(reason))
        self._end(reason)

    def _unused(self) -> None:
        self._end("no copy uses it")

    def _end(self, reason: str) -> None:
        """Close the session; the copies that used it hear so, those that waited go on without."""
        session, self._session, self._ready = self._session, None, False
        lines, self._lines = self._lines, set()
        self._in_time(0, None)
        if session is not None:
            session.stop()
        for line in lines:
            line.on_lost(reason)
        self._go_on()

    def _go_on(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def _in_time(self, delay_s: float, what: Callable[[], None] | None) -> None:
        """Do this then, instead of what was to be done; None is nothing."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = self._clock.callLater(delay_s, what) if what is not None else None
