"""A serial cable in memory: two ends that are slow, stuck or cut as a test likes."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from vmcontroller.common.channel_stream import ChannelPort

BUFFER_BYTES = 1 << 16


class End:
    """What one end writes waits here until the other reads; as a transport it says stop and go."""

    def __init__(self) -> None:
        self.waiting = bytearray()
        self.is_stuck = False
        """Nobody reads what is written here."""
        self.is_paused = False
        """Its own protocol does not read."""
        self.is_lost = False
        self.most_bytes = 0
        self.producer = None
        self.protocol: ChannelPort | None = None

    def write(self, data: bytes) -> None:
        assert isinstance(data, bytes)
        if self.is_lost:
            return
        self.waiting += data
        self.most_bytes = max(self.most_bytes, len(self.waiting))
        if self.producer is not None and len(self.waiting) > BUFFER_BYTES:
            self.producer.pauseProducing()

    def take(self, size: int) -> bytes:
        """Return what the other end reads now."""
        data = bytes(self.waiting[:size])
        del self.waiting[:size]
        if data and not self.waiting and self.producer is not None:
            self.producer.resumeProducing()
        return data

    def registerProducer(self, producer, streaming):
        self.producer = producer

    def unregisterProducer(self):
        self.producer = None

    def pauseProducing(self):
        self.is_paused = True

    def resumeProducing(self):
        self.is_paused = False

    def loseConnection(self):
        self.abortConnection()

    def abortConnection(self):
        if not self.is_lost:
            self.is_lost = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


class Cable:
    """A guest's end and a host's. Each may be plugged anew; what waits in between stays."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.guest = End()
        self.host = End()

    def plug(self, side: str, port: ChannelPort) -> End:
        """Put a protocol to an end, after whoever was there before; what that wrote still waits."""
        end = End()
        end.waiting = getattr(self, side).waiting
        end.is_stuck = getattr(self, side).is_stuck
        end.protocol = port
        setattr(self, side, end)
        port.makeConnection(end)
        return end

    def run(self, size: int = 4096) -> None:
        """Let everything flow, so many octets at a time, until nothing moves any more."""
        moved = True
        while moved:
            self.clock.advance(0)
            moved = self._move(self.guest, self.host, size) | self._move(
                self.host, self.guest, size
            )

    def _move(self, source: End, target: End, size: int) -> bool:
        if source.is_stuck or target.is_paused or target.is_lost or target.protocol is None:
            return False
        data = source.take(size)
        if data:
            target.protocol.dataReceived(data)
        return bool(data)


class Talk(Protocol):
    """Notes what it hears, and that it ended."""

    def __init__(self) -> None:
        self.heard = bytearray()
        self.end: Failure | None = None
        self.is_paused = False

    def dataReceived(self, data: bytes) -> None:
        assert self.end is None
        self.heard += data

    def connectionLost(self, reason):
        assert self.end is None
        self.end = reason

    def pauseProducing(self):
        self.is_paused = True

    def resumeProducing(self):
        self.is_paused = False

    def stopProducing(self):
        self.is_paused = False
