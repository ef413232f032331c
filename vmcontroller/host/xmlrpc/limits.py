"""HTTP with bounds: who comes in, how much a client may send, how long it may take. No XML here.

twisted.web reads a request body of any size, and its timeout begins anew with every byte.
"""

# Twisted's web server has no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from tempfile import SpooledTemporaryFile
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ISSLTransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from typing_extensions import override

from vmcontroller.common.transports import send_at_once
from vmcontroller.host.callers import Caller
from vmcontroller.host.xmlrpc.connections import Connections
from vmcontroller.host.xmlrpc.gate import Gate, Peer, Refusal, Verdict
from vmcontroller.host.xmlrpc.head import headers_of, wrong_content

BODY_MAX_BYTES: Final = 16 * 2**20
IDLE_S: Final = 60.0
"""A connection on which nothing is read for so long, while no call is under way, is closed."""
REQUEST_S: Final = 120.0
"""A request that is not there as a whole after so long is given up, however it trickles."""
LINGER_S: Final = 2.0
"""How long a request that was refused is waited with, so that its sender sees the refusal."""
STRANGER_BYTES: Final = 64 * 1024
"""Of what a refused stranger still sends so much is taken from the wire and dropped."""

SPOOL_BYTES: Final = 32 * 1024
"""A body up to this size is kept in memory: slow clients take no second descriptor."""

TOO_LARGE: Final = Refusal(
    status="413 Content Too Large", text=f"The request is larger than {BODY_MAX_BYTES} bytes."
)
NO_ROOM: Final = Refusal(
    status="503 Service Unavailable",
    text="There are too many connections, and a call is under way on each.",
    headers=(("Retry-After", "1"),),
)
BROKEN: Final = Refusal(status="500 Internal Server Error", text="It is in the daemon's log.")


class BoundedRequest(Request):
    """A request that is admitted by its head, and whose body ends at BODY_MAX_BYTES."""

    _log = Logger()
    channel: Any
    caller: Caller | None = None
    """Who makes it, once that is known."""
    _received_bytes = 0
    _linger: IDelayedCall | None = None
    _refused = False
    _deciding = False
    _whole: tuple[bytes, bytes, bytes] | None = None
    """What came while it was decided about, if all has come."""
    _awaits_invitation = False

    @override
    def gotLength(self, length: int | None) -> None:
        channel = self.channel
        if self.requestHeaders.hasHeader(b"Expect"):
            expects = self.requestHeaders.getRawHeaders(b"Expect", ())
            self._awaits_invitation = expects[0].lower() == b"100-continue"
            self.requestHeaders.removeHeader(b"Expect")  # it is answered here
        verdict = channel.site.gate.admit(self, channel.peer, channel.transport)
        if isinstance(verdict, Deferred):
            super().gotLength(0)  # a place for what has come already
            self._deciding = True
            channel.hold()
            _ = verdict.addCallbacks(self._decided, self._failed, callbackArgs=(length,))
        else:
            self._take(verdict, length)

    def _failed(self, failure: Failure) -> None:
        self._log.failure("admitting a request failed", failure=failure)
        self._decided(BROKEN, 0)

    def _decided(self, verdict: Verdict, length: int | None) -> None:
        self._deciding = False
        if self._disconnected or self.channel is None:
            return
        self.channel.release()
        self._take(verdict, length)
        if self._whole is not None:
            self.requestReceived(*self._whole)

    def _take(self, verdict: Verdict, length: int | None) -> None:
        if isinstance(verdict, Refusal):
            self._refuse(verdict, most_bytes=STRANGER_BYTES)
            return
        self.caller = verdict
        if length is not None and length > BODY_MAX_BYTES:
            self._refuse(TOO_LARGE)
        elif length != 0 and (problem := wrong_content(headers_of(self))):
            self._refuse(Refusal(status="415 Unsupported Media Type", text=problem))
        else:
            if self.content is None:
                super().gotLength(length)
            if self._awaits_invitation and self._whole is None:
                self.channel.invite()

    @override
    def handleContentChunk(self, data: bytes) -> None:
        self._received_bytes += len(data)
        if self._refused:
            if self._received_bytes > self._most_bytes:
                self.channel.hold()
        elif self._received_bytes > BODY_MAX_BYTES:
            self._refuse(TOO_LARGE)
        else:
            super().handleContentChunk(data)

    @override
    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._deciding:
            self._whole = command, path, version
        elif self._refused:
            self.channel.loseConnection()
        else:
            self.channel.site.connections.calls(self.channel)
            super().requestReceived(command, path, version)

    @override
    def connectionLost(self, reason: Failure) -> None:
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        super().connectionLost(reason)

    def _refuse(self, refusal: Refusal, *, most_bytes: float = float("inf")) -> None:
        """Answer at once; what still comes is dropped, for a while, or not even taken."""
        channel: Any = self.channel
        self._refused = True
        self._most_bytes = most_bytes
        channel.transport.write(refusal.response())
        self._linger = channel.site.reactor.callLater(LINGER_S, channel.loseConnection)


class BoundedChannel(HTTPChannel):
    """A connection whose requests must arrive whole within REQUEST_S."""

    _log = Logger()
    _deadline: IDelayedCall | None = None
    site: Any
    peer: Peer
    _held = False
    _away = False
    """There was no room for it."""

    @property
    def client(self) -> str:
        """Whose connection it is."""
        return self.peer.key

    @override
    def connectionMade(self) -> None:
        send_at_once(self.transport)
        self.peer = self.site.gate.peer_of(self.transport)
        may_stay, leaving = self.site.connections.room_for(self.peer.key)
        if not may_stay:
            self._turn_away()
            return
        if leaving is not None:
            leaving.transport.abortConnection()
        self.site.connections.add(self)
        self._begin()
        super().connectionMade()

    @override
    def dataReceived(self, data: bytes) -> None:
        if not self._away:
            super().dataReceived(data)

    @override
    def allContentReceived(self) -> None:
        self._end()
        super().allContentReceived()

    @override
    def requestDone(self, request: Request) -> None:
        self._begin()
        self.site.connections.rests(self)
        super().requestDone(request)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end()
        self.site.connections.remove(self)
        super().connectionLost(reason)

    def hold(self) -> None:
        """Take nothing more from the wire for now."""
        self._held = True
        self._networkProducer.pauseProducing()

    def release(self) -> None:
        """Go on."""
        self._held = False
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()

    @override
    def resumeProducing(self) -> None:
        super().resumeProducing()
        if self._held:
            self._networkProducer.pauseProducing()

    def invite(self) -> None:
        """Tell a client that asked to send its body."""
        if self._version == b"HTTP/1.1":
            self._send100Continue()

    def _turn_away(self) -> None:
        """Say that there is no room, where that can be said without shaking hands first."""
        self.site.refused(self.peer)
        self._away = True
        transport: Any = self.transport
        if ISSLTransport.providedBy(transport):
            transport.abortConnection()
        else:
            transport.write(NO_ROOM.response())
            transport.loseConnection()

    def _begin(self) -> None:
        self._end()
        self._deadline = self.callLater(REQUEST_S, self._give_up)

    def _end(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def _give_up(self) -> None:
        transport: Any = self.transport
        self._log.info("{peer} was too slow with its request", peer=self.peer.address)
        transport.abortConnection()


class BoundedSite(Site):
    """Serves a resource within the bounds. It writes no log of its own: the resource does."""

    protocol: Any = BoundedChannel
    noisy = False
    _log = Logger()

    def __init__(
        self, root: IResource, reactor: IReactorTime, gate: Gate, *, connections: int = 1000
    ) -> None:
        super().__init__(
            root,
            requestFactory=BoundedRequest,
            reactor=reactor,
            timeout=IDLE_S,
            parsePOSTFormSubmission=False,
        )
        self.gate = gate
        self.connections: Connections[BoundedChannel] = Connections(connections)
        self._told_s = float("-inf")

    def refused(self, peer: Peer) -> None:
        """Log that there was no room, seldom."""
        now_s = self.reactor.seconds()
        if now_s - self._told_s >= 10:
            self._told_s = now_s
            self._log.warn(
                "{peer} was refused: {count} connections have calls under way",
                peer=peer.address,
                count=len(self.connections),
            )

    def getContentFile(self, _length: int | None) -> SpooledTemporaryFile[bytes]:
        """Give a request a place for its body; a file only when there is much of it."""
        return SpooledTemporaryFile(SPOOL_BYTES)

    @override
    def startFactory(self) -> None:
        """Open no log file and keep no clock for it."""

    @override
    def log(self, request: Any) -> None:
        """Write nothing."""
