"""The guest's end of the channel: a port in the reactor, and the way to begin a session on it."""

# Twisted's descriptors have no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import errno
import os
import select
import stat
import tty
from pathlib import Path
from random import SystemRandom
from typing import Any

from twisted.internet import fdesc
from twisted.internet.abstract import FileDescriptor
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionAborted
from twisted.internet.interfaces import (
    IAddress,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from vmcontroller.common.channel import (
    ANY_SESSION,
    CHANNEL_NAME,
    MOST_SESSION,
    PADDING,
    Frame,
    Kind,
)
from vmcontroller.common.channel_stream import ChannelAddress, ChannelPort, ChannelStream
from vmcontroller.common.errors import NotConnected

CHANNEL_PATH = f"/dev/virtio-ports/{CHANNEL_NAME}"

ANSWER_S = 10.0
"""How long an OPEN waits for OPENED. A daemon answers at once; before it has come to the port
the kernel says so."""

LINGER_S = 1.0
"""How long a port that is to be closed is kept for what is still to be written to it."""

_READ_BYTES = 1 << 16
_MOST_AT_ONCE_BYTES = 1 << 18
"""The kernel gives a page at a time; so many are put together before anybody looks at them."""


class PortTransport(FileDescriptor):
    """An open port as a transport: the host's going away is the end of it.

    The kernel then says so again and again, so the descriptor is closed at once.
    """

    def __init__(self, reactor: Any, descriptor: int, protocol: ChannelPort) -> None:
        super().__init__(reactor)
        self._clock: IReactorTime = reactor
        self._descriptor = descriptor
        self._protocol = protocol

    def begin(self) -> None:
        """Hand it to its protocol, and read."""
        self.connected = 1
        self._protocol.makeConnection(self)
        self.startReading()

    @override
    def fileno(self) -> int:
        return self._descriptor

    @override
    def doRead(self) -> Exception | None:
        pieces: list[bytes] = []
        end = self._read_into(pieces)
        if pieces:
            self._protocol.dataReceived(b"".join(pieces))
        return end

    def _read_into(self, pieces: list[bytes]) -> Exception | None:
        size = 0
        while size < _MOST_AT_ONCE_BYTES:
            try:
                octets = os.read(self._descriptor, _READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return None
            except OSError:
                return CONNECTION_LOST
            if not octets:
                return CONNECTION_DONE
            pieces.append(octets)
            size += len(octets)
        return None

    @override
    def writeSomeData(self, data: bytes) -> int | BaseException:
        written: int | BaseException = fdesc.writeToFD(self._descriptor, data)
        return written

    @override
    def connectionLost(self, reason: Failure) -> None:
        if self.disconnected:
            return
        super().connectionLost(reason)
        os.close(self._descriptor)
        self._descriptor = -1
        self._protocol.connectionLost(reason)

    def abortConnection(self) -> None:
        """Close without writing what waits."""
        self.stopReading()
        self.stopWriting()
        self._clock.callLater(0, self.connectionLost, Failure(ConnectionAborted()))

    @override
    def getHost(self) -> IAddress:
        return ChannelAddress()

    @override
    def getPeer(self) -> IAddress:
        return ChannelAddress()


class CallingPort(ChannelPort):
    """Begins a session on the port; when it ends the port is closed.

    `opened` fires with the protocol when the host has taken the session up, or fails.
    """

    def __init__(self, clock: Any, session: int, factory: IProtocolFactory) -> None:
        super().__init__(clock)
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self._give_up("cancelled"))
        self._session = session
        self._factory = factory
        self._deadline = clock.callLater(
            ANSWER_S, self._give_up, f"the host has not answered within {ANSWER_S:g} s"
        )

    @override
    def connectionMade(self) -> None:
        super().connectionMade()
        self._call()

    @override
    def heard(self, frame: Frame) -> None:
        match frame.kind:
            case Kind.OPENED if frame.session == self._session and not self.opened.called:
                self._begin()
            case Kind.CLOSE if frame.session == ANY_SESSION and not self.opened.called:
                self._call()  # the host has just come; what was said before is lost
            case Kind.CLOSE if frame.session == ANY_SESSION and self.stream is not None:
                self.stream.abortConnection()
            case Kind.CLOSE:
                self.heard_close(frame)
            case Kind.DATA:
                self.heard_data(frame)
            case _:
                pass

    @override
    def port_lost(self, reason: Failure) -> None:
        self._give_up("the host has left the channel")

    @override
    def stream_lost(self) -> None:
        self.transport.loseConnection()
        # A host that does not read would keep it open, and there is one opening only.
        self.clock.callLater(LINGER_S, self.transport.abortConnection)

    def _call(self) -> None:
        self.say(Kind.OPEN, self._session, before=PADDING)

    def _begin(self) -> None:
        self._deadline.cancel()
        protocol = self._factory.buildProtocol(ChannelAddress())
        if protocol is None:
            self._give_up("nobody wants the connection")
            return
        self.stream = ChannelStream(self, self._session, protocol)
        protocol.makeConnection(self.stream)
        self.opened.callback(protocol)

    def _give_up(self, why: str) -> None:
        if self._deadline.active():
            self._deadline.cancel()
        if not self.opened.called:
            self.opened.errback(NotConnected(why))
            self.transport.abortConnection()


@implementer(IStreamClientEndpoint)
class ChannelEndpoint:
    """Connects to the daemon through the port at `path`, opened anew each time."""

    def __init__(self, reactor: Any, path: str = CHANNEL_PATH) -> None:
        self.path = path
        self._reactor = reactor

    def is_there(self) -> bool:
        """Tell whether the machine has such a port."""
        return Path(self.path).exists()

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fails with NotConnected, and never raises."""
        try:
            descriptor = open_port(self.path)
        except NotConnected:
            return fail()
        session = SystemRandom().randint(1, MOST_SESSION)
        port = CallingPort(self._reactor, session, protocolFactory)
        PortTransport(self._reactor, descriptor, port).begin()
        return port.opened


def open_port(path: str) -> int:
    """Open a port that the host is on, too; raises NotConnected saying what is in the way.

    A UART will do as well: whether the host is on it, only an answer tells.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        reason = f"{path} cannot be opened: {error.strerror}"
        if error.errno == errno.EBUSY:
            reason = f"another process has {path} open, and one only can"
        raise NotConnected(reason) from error
    problem = _problem(descriptor)
    if problem:
        os.close(descriptor)
        raise NotConnected(f"{path} {problem}")
    return descriptor


def _problem(descriptor: int) -> str:
    if not stat.S_ISCHR(os.fstat(descriptor).st_mode):
        return "is no device"
    if os.isatty(descriptor):
        tty.setraw(descriptor)
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    if any(events & select.POLLHUP for _, events in poll.poll(0)):
        return "has no host at its other end"
    return ""
