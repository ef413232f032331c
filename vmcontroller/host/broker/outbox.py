"""What waits to be written to one peer, counted, behind a transport that can say stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from vmcontroller.common.stomp.protocol import IStreamTransport
from vmcontroller.common.transports import WIDE_BYTES, say_no_more, widen

_SLICE_BYTES = 1 << 17
"""What the transport gets at once of a large frame. It copies what it gets: in slices the copies
stay small, and many peers that are sent the same large frame share the rest of it."""
_ROOM_BYTES = 1 << 20
"""Whoever asks for room writes only when no more than so much waits."""


@implementer(IPushProducer)
class Outbox:
    """Writes through while the transport takes it (it keeps about 64 KiB), else keeps and counts.

    `on_drained` is called after some of what waited has been written.
    """

    __slots__ = (
        "_for_room",
        "_on_drained",
        "_paused",
        "_rest",
        "_slice_bytes",
        "_transport",
        "_waiting",
        "size_bytes",
    )

    def __init__(self, transport: IStreamTransport, on_drained: Callable[[], None]) -> None:
        self.size_bytes = 0
        self._slice_bytes = _SLICE_BYTES
        self._transport = transport
        self._on_drained = on_drained
        self._waiting: deque[tuple[bytes, bytes]] | None = None  # most peers never need it
        self._rest: memoryview | None = None  # of a frame that has been written in part
        self._paused = False
        self._for_room: deque[Deferred[None]] | None = None
        transport.registerProducer(self, streaming=True)

    @property
    def is_free(self) -> bool:
        """The next write goes straight to the transport."""
        return not self._paused

    def widen(self) -> None:
        """Read and write more at once: files are copied here, to nobody else."""
        widen(self._transport)
        self._slice_bytes = 2 * WIDE_BYTES  # more than a frame has

    def room(self) -> Deferred[None]:
        """Return when so little waits that whoever asks may write; one at a time, in order."""
        if self.size_bytes <= _ROOM_BYTES and not self._for_room:
            return succeed(None)
        if self._for_room is None:
            self._for_room = deque()
        waiting: Deferred[None] = Deferred()
        self._for_room.append(waiting)
        return waiting

    def _give_room(self) -> None:
        while self._for_room and self.size_bytes <= _ROOM_BYTES:
            self._for_room.popleft().callback(None)
        if not self._for_room:
            self._for_room = None

    def write(self, head: bytes, tail: bytes) -> None:
        """Write the two parts of a frame, now or when those before it have been."""
        if self._paused:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append((head, tail))
            self.size_bytes += len(head) + len(tail)
        elif len(tail) <= self._slice_bytes:
            self._transport.writeSequence((head, tail))
        else:
            self._transport.write(head)
            self._rest = memoryview(tail)
            self.size_bytes += len(tail)
            self._write_rest()

    def _write_rest(self) -> None:
        while self._rest is not None and not self._paused:
            rest = self._rest
            self._transport.write(bytes(rest[: self._slice_bytes]))
            self.size_bytes -= min(len(rest), self._slice_bytes)
            self._rest = rest[self._slice_bytes :] if len(rest) > self._slice_bytes else None

    def finish(self) -> None:
        """Give the transport all that waits, and tell the peer that nothing more will come."""
        self._transport.unregisterProducer()
        self._paused = False
        self._write_on()
        say_no_more(self._transport)

    def _write_on(self) -> None:
        self._write_rest()
        while self._waiting and not self._paused:
            head, tail = self._waiting.popleft()
            self.size_bytes -= len(head) + len(tail)
            self.write(head, tail)

    def discard(self) -> None:
        """Forget the frames that wait, but for the end of one that has begun."""
        self._waiting = None
        self.size_bytes = 0 if self._rest is None else len(self._rest)
        waiting, self._for_room = self._for_room, None
        for each in waiting or ():
            each.callback(None)

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        self._write_on()
        if not self._waiting:
            self._waiting = None
        self._give_room()
        self._on_drained()

    def stopProducing(self) -> None:
        self._rest = None
        self.discard()
