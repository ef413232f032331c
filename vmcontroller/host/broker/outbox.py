"""What waits to be written to one peer, counted, behind a transport that can say stop."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from vmcontroller.common.stomp.protocol import IStreamTransport

_LARGE_BYTES = 1 << 16
"""From here on, joining two pieces costs more than a second write."""


@implementer(IPushProducer)
class Outbox:
    """Writes through while the transport takes it (it keeps about 64 KiB), else keeps and counts.

    `on_drained` is called after some of what waited has been written.
    """

    def __init__(self, transport: IStreamTransport, on_drained: Callable[[], None]) -> None:
        self.size_bytes = 0
        self._transport = transport
        self._on_drained = on_drained
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._paused = False
        transport.registerProducer(self, streaming=True)

    @property
    def is_free(self) -> bool:
        """The next write goes straight to the transport."""
        return not self._paused

    def write(self, head: bytes, tail: bytes) -> None:
        """Write the two parts of a frame, now or when those before it have been."""
        if self._paused:
            self._waiting.append((head, tail))
            self.size_bytes += len(head) + len(tail)
        else:
            self._write_through(head, tail)

    def _write_through(self, head: bytes, tail: bytes) -> None:
        # Always a whole frame, even when the transport says stop after the first part.
        if len(tail) < _LARGE_BYTES:
            self._transport.write(head + tail)
        else:
            self._transport.writeSequence((head, tail))

    def finish(self) -> None:
        """Give the transport all that waits, and tell the peer that nothing more will come."""
        self._transport.unregisterProducer()
        for head, tail in self._waiting:
            self._write_through(head, tail)
        self.discard()
        self._transport.loseWriteConnection()

    def discard(self) -> None:
        """Forget what waits."""
        self._waiting.clear()
        self.size_bytes = 0

    def pauseProducing(self) -> None:
        self._paused = True

    def resumeProducing(self) -> None:
        self._paused = False
        while self._waiting and not self._paused:
            head, tail = self._waiting.popleft()
            self.size_bytes -= len(head) + len(tail)
            self._write_through(head, tail)
        self._on_drained()

    def stopProducing(self) -> None:
        self.discard()
