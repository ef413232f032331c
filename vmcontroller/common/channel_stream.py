"""Sessions on a serial port as transports of Twisted: what both ends of a channel share."""

# Twisted's failures have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IConsumer,
    IProtocol,
    IPushProducer,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from vmcontroller.common.channel import MOST_PAYLOAD_BYTES, Deframer, Frame, Kind, Numbering
from vmcontroller.common.stomp.protocol import IStreamTransport

STREAM_BUFFER_BYTES = 1 << 16
"""What a session takes before it asks its producer to stop, as Twisted's transports do."""


@implementer(IAddress)
class ChannelAddress:
    """An end of a channel; there is nothing to tell it by but its connection."""


@implementer(IPushProducer)
class ChannelPort(Protocol):
    """One end of a port: frames from and to its transport, and the session that is on it, if any.

    A subclass hears frames in `heard`, and is told of the end in `port_lost`.
    """

    transport: IStreamTransport

    def __init__(self, clock: IReactorTime) -> None:
        self.clock = clock
        self.stream: ChannelStream | None = None
        self.is_blocked = False
        """Its transport has as much to write as it likes to have."""
        self._deframer = Deframer()
        self._postponed: Frame | None = None
        self._holds: set[str] = set()
        self._is_gone = False

    def heard(self, frame: Frame) -> None:
        """Do what the frame says."""
        raise NotImplementedError

    def port_lost(self, reason: Failure) -> None:
        """Note that the port is gone, and whatever session was on it."""

    @override
    def connectionMade(self) -> None:
        self.transport.registerProducer(self, streaming=True)

    @override
    def dataReceived(self, data: bytes) -> None:
        self._deframer.push(data)
        self._read_frames()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_gone = True
        if self.stream is not None:
            self.stream.lost(reason)
        self.port_lost(reason)

    def stream_lost(self) -> None:
        """Note that the session is over, and `stream` is None."""

    def say(self, kind: Kind, session: int, before: bytes = b"") -> None:
        """Write a frame without a payload, after `before`."""
        self.transport.write(before + Frame(kind=kind, session=session).encode())

    def hold(self, why: str) -> None:
        """Read no further until this, and every other reason, is released."""
        self._holds.add(why)
        self.transport.pauseProducing()

    def postpone(self, frame: Frame, why: str) -> None:
        """Read no further until `why` is released, and then this frame first."""
        self._postponed = frame
        self.hold(why)

    def release(self, why: str) -> None:
        """Read on soon, if there is no other reason not to."""
        if why in self._holds:
            self._holds.discard(why)
            if not self._holds and not self._is_gone:
                self.transport.resumeProducing()
                self.clock.callLater(0, self._read_frames)

    def heard_data(self, frame: Frame) -> None:
        """Give its octets to the session; one that lacks some of what went before them is over."""
        stream = self.stream
        if stream is None or not stream.is_of(frame):
            return
        if stream.numbering.follows(frame):
            stream.protocol.dataReceived(frame.payload)
        else:
            stream.abortConnection()

    def heard_close(self, frame: Frame) -> None:
        """End the session that the other side has ended."""
        if self.stream is not None and self.stream.is_of(frame):
            self.stream.closed_by_peer()

    def _read_frames(self) -> None:
        while not (self._holds or self._is_gone):
            frame, self._postponed = self._postponed or self._deframer.next_frame(), None
            if frame is None:
                return
            self.heard(frame)

    def pauseProducing(self) -> None:
        self.is_blocked = True

    def resumeProducing(self) -> None:
        self.is_blocked = False
        if self.stream is not None:
            self.stream.flush()
        if not self.is_blocked:
            self.release("room")

    def stopProducing(self) -> None:
        """Wait for `connectionLost`, which follows."""


@implementer(ITransport, IConsumer, IPushProducer)
class ChannelStream:
    """One session on a port, as the transport of `protocol`.

    Half a close is a CLOSE that waits for the other side's: who hears CLOSE answers with it.
    """

    def __init__(self, port: ChannelPort, session: int, protocol: IProtocol) -> None:
        self.numbering = Numbering(session)
        self.protocol = protocol
        self.disconnecting = False
        self._port = port
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._producer: IPushProducer | None = None
        self._is_producer_paused = False
        self._is_ending = False
        """Nothing more is written; CLOSE is said when all has been."""
        self._has_said_close = False
        self._is_deaf = False
        """What comes is not delivered any more."""
        self._is_over = False

    def is_of(self, frame: Frame) -> bool:
        """Tell whether a frame belongs to this session, and to somebody who still listens."""
        return self.is_named(frame) and not self._is_deaf

    @property
    def is_fresh(self) -> bool:
        """Nothing has come on it yet, and it goes on."""
        return not (self.numbering.has_heard or self._is_ending)

    def is_named(self, frame: Frame) -> bool:
        """Tell whether a frame has the number of this session."""
        return frame.session == self.numbering.session

    # What its protocol does.

    def write(self, data: bytes) -> None:
        if self._is_ending or not data:
            return
        self._waiting.append(memoryview(data))
        self._waiting_bytes += len(data)
        self.flush()
        if self._waiting_bytes > STREAM_BUFFER_BYTES and self._producer is not None:
            self._is_producer_paused = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Iterable[bytes]) -> None:
        self.write(b"".join(data))

    def loseWriteConnection(self) -> None:
        self._is_ending = True
        self.flush()

    def loseConnection(self) -> None:
        self.disconnecting = True
        self._is_ending = True
        self.flush()

    def abortConnection(self) -> None:
        self._end(ConnectionAborted())

    def registerProducer(  # type: ignore[override]
        self, producer: IPushProducer, streaming: bool
    ) -> None:
        assert streaming, "nothing here waits to be asked for each piece"
        self._producer = producer

    def unregisterProducer(self) -> None:
        self._producer = None
        self._is_producer_paused = False
        self.flush()

    def pauseProducing(self) -> None:
        self._port.hold("session")

    def resumeProducing(self) -> None:
        self._port.release("session")

    def stopProducing(self) -> None:
        self.loseConnection()

    def getPeer(self) -> IAddress:
        return ChannelAddress()

    def getHost(self) -> IAddress:
        return ChannelAddress()

    # What its port does.

    def flush(self) -> None:
        """Give the port what it takes; when all has been given, what waited for that goes on."""
        while self._waiting and not self._port.is_blocked:
            octets = self._waiting.popleft()
            piece, rest = octets[:MOST_PAYLOAD_BYTES], octets[MOST_PAYLOAD_BYTES:]
            if rest:
                self._waiting.appendleft(rest)
            self._waiting_bytes -= len(piece)
            for frame in self.numbering.frames(piece):
                self._port.transport.write(frame)
        if self._waiting:
            return
        if self._producer is not None and self._is_producer_paused:
            self._is_producer_paused = False
            self._producer.resumeProducing()
        elif self._producer is None and self._is_ending:
            self._say_close()
            if self.disconnecting:
                self._end(ConnectionDone())

    def closed_by_peer(self) -> None:
        """Take the other side's CLOSE."""
        self._say_close()
        self.lost(Failure(ConnectionDone()))

    def lost(self, reason: Failure) -> None:
        """End it; its protocol is told."""
        if self._is_over:
            return
        self._is_over = True
        self._stop()
        if self._producer is not None:
            self._producer.stopProducing()
        if self._port.stream is self:
            self._port.stream = None
        self.protocol.connectionLost(reason)
        self._port.release("session")
        self._port.stream_lost()

    def _end(self, why: Exception) -> None:
        """End it from this side: not within a call of its protocol, which may have more to do."""
        if not self._is_deaf:
            self._stop()
            self._say_close()
            self._port.clock.callLater(0, self.lost, Failure(why))

    def _stop(self) -> None:
        self._is_deaf = True
        self._is_ending = True
        self._waiting.clear()
        self._waiting_bytes = 0

    def _say_close(self) -> None:
        if not self._has_said_close:
            self._has_said_close = True
            self._port.say(Kind.CLOSE, self.numbering.session)
