"""HTTP with bounds: how much a client may send, and how long it may take. No XML here.

twisted.web reads a request body of any size, and its timeout begins anew with every byte.
"""

# Twisted's web server has no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from tempfile import SpooledTemporaryFile
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource
from twisted.web.server import Request, Site
from typing_extensions import override

from vmcontroller.common.transports import send_at_once

BODY_MAX_BYTES: Final = 16 * 2**20
IDLE_S: Final = 60.0
"""A connection on which nothing is read for so long, while no call is under way, is closed."""
REQUEST_S: Final = 120.0
"""A request that is not there as a whole after so long is given up, however it trickles."""
LINGER_S: Final = 2.0
"""How long a body that was refused is read and dropped, so that its sender sees the refusal."""

SPOOL_BYTES: Final = 64 * 1024
"""A body up to this size is kept in memory: slow clients take no second descriptor."""

_TOO_LARGE = b"The request is larger than %d bytes.\n" % BODY_MAX_BYTES
_RESPONSE_413 = (
    b"HTTP/1.1 413 Content Too Large\r\nContent-Type: text/plain\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_TOO_LARGE), _TOO_LARGE)
)


class BoundedRequest(Request):
    """A request whose body ends at BODY_MAX_BYTES, declared or not."""

    _received_bytes = 0
    _linger: IDelayedCall | None = None

    @override
    def gotLength(self, length: int | None) -> None:
        if length is not None and length > BODY_MAX_BYTES:
            self.requestHeaders.removeHeader(b"Expect")  # it is not to continue
            self._refuse()
        else:
            super().gotLength(length)

    @override
    def handleContentChunk(self, data: bytes) -> None:
        if self._linger is not None:
            return
        self._received_bytes += len(data)
        if self._received_bytes > BODY_MAX_BYTES:
            self._refuse()
        else:
            super().handleContentChunk(data)

    @override
    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        if self._linger is not None:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    @override
    def connectionLost(self, reason: Failure) -> None:
        if self._linger is not None and self._linger.active():
            self._linger.cancel()
        super().connectionLost(reason)

    def _refuse(self) -> None:
        """Answer at once; what still comes is dropped, for a while."""
        channel: Any = self.channel
        channel.transport.write(_RESPONSE_413)
        self._linger = channel.site.reactor.callLater(LINGER_S, channel.loseConnection)


class BoundedChannel(HTTPChannel):
    """A connection whose requests must arrive whole within REQUEST_S."""

    _log = Logger()
    _deadline: IDelayedCall | None = None

    @override
    def connectionMade(self) -> None:
        send_at_once(self.transport)
        self._begin()
        super().connectionMade()

    @override
    def allContentReceived(self) -> None:
        self._end()
        super().allContentReceived()

    @override
    def requestDone(self, request: Request) -> None:
        self._begin()
        super().requestDone(request)

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end()
        super().connectionLost(reason)

    def _begin(self) -> None:
        self._end()
        self._deadline = self.callLater(REQUEST_S, self._give_up)

    def _end(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def _give_up(self) -> None:
        transport: Any = self.transport
        self._log.info("{peer} was too slow with its request", peer=self.getPeer())
        transport.abortConnection()


class BoundedSite(Site):
    """Serves a resource within the bounds. It writes no log of its own: the resource does."""

    protocol: Any = BoundedChannel
    noisy = False

    def __init__(self, root: IResource, reactor: IReactorTime) -> None:
        super().__init__(
            root,
            requestFactory=BoundedRequest,
            reactor=reactor,
            timeout=IDLE_S,
            parsePOSTFormSubmission=False,
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
