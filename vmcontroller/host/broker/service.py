"""The broker as a service: on which addresses it listens, and the daemon's own way in."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IOpenSSLContextFactory,
    IProtocol,
    IProtocolFactory,
    IReactorSocket,
    IReactorSSL,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from typing_extensions import override
from zope.interface import implementer

from vmcontroller.host.broker.factory import StompFactory
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.listeners import Listeners, accept_few_at_once
from vmcontroller.host.broker.rights import Principal, Rights
from vmcontroller.host.broker.stats import BrokerEvent

_BACKLOG = 1024
"""A thousand guests come at once when their host restarts."""


class IBrokerReactor(IReactorTCP, IReactorTime, IReactorSocket, IReactorSSL, IReactorUNIX):
    """What the broker needs of a reactor."""


_Build = Callable[[IAddress], IProtocol | None]


class _OneConnection(ServerFactory):
    """Gives one protocol to one transport that exists already, and keeps it at hand."""

    noisy = False

    def __init__(self, build: _Build) -> None:
        self._build = build
        self.built: IProtocol | None = None

    @override
    def buildProtocol(self, addr: IAddress) -> IProtocol | None:  # type: ignore[override]
        self.built = self._build(addr)
        return self.built


@implementer(IStreamClientEndpoint)
class InProcessEndpoint:
    """Connects to the broker of this very process through a pair of sockets.

    No port is needed, nobody else can take this way, and the same protocol runs on it.
    """

    def __init__(
        self, reactor: IReactorSocket, factory: StompFactory, principal: Principal
    ) -> None:
        self._reactor = reactor
        self._factory = factory
        self._principal = principal

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; the broker's end belongs to the principal from its wiring."""
        ours, theirs = socket.socketpair()
        with ours, theirs:
            self._adopt(theirs, lambda _addr: self._factory.build("in-process", self._principal))
            return succeed(self._adopt(ours, protocolFactory.buildProtocol))

    def _adopt(self, end: socket.socket, build: _Build) -> IProtocol:
        end.setblocking(False)
        factory = _OneConnection(build)
        # The reactor duplicates the descriptor, so ours is closed afterwards.
        self._reactor.adoptStreamConnection(end.fileno(), end.family, factory)
        assert factory.built is not None
        return factory.built


class BrokerService(Service):
    """One broker and where it listens: nowhere until told."""

    _log = Logger()

    def __init__(
        self,
        *,
        reactor: IBrokerReactor,
        rights: Rights,
        limits: BrokerLimits | None = None,
        on_event: Callable[[BrokerEvent], None] | None = None,
    ) -> None:
        self.factory = StompFactory(
            reactor=reactor, rights=rights, limits=limits, on_event=on_event
        )
        self._reactor = reactor
        self._tcp = Listeners("STOMP", self._open_tcp)
        self._tls = Listeners("STOMP over TLS", self._open_tls)
        self._context: IOpenSSLContextFactory | None = None
        self._socket: IListeningPort | None = None

    def in_process_endpoint(self, principal: Principal) -> IStreamClientEndpoint:
        """Return the way in for the daemon itself; who connects by it is this principal."""
        endpoint: IStreamClientEndpoint = InProcessEndpoint(self._reactor, self.factory, principal)
        return endpoint

    async def listen(self, addresses: Sequence[str], port: int) -> dict[str, str]:
        """Make the set of listening addresses exactly this; call it again whenever it changes.

        Returns, by address, why one could not be opened (a network of guests may not be there yet);
        the others are open all the same. With port 0 each new address gets a port of its own.
        """
        return await self._tcp.listen(addresses, port)

    async def listen_tls(
        self, addresses: Sequence[str], port: int, context: IOpenSSLContextFactory
    ) -> dict[str, str]:
        """Do the same for TLS; `tls.server_context` makes a context."""
        self._context = context
        return await self._tls.listen(addresses, port)

    def listen_unix(self, path: str, mode: int = 0o660) -> None:
        """Listen on a Unix socket, which stands there until the service stops.

        What an earlier process left there is replaced, what another one listens on is not. Raises
        CannotListenError.
        """
        self._socket = self._reactor.listenUNIX(
            path, self.factory, backlog=_BACKLOG, mode=mode, wantPID=True
        )
        accept_few_at_once(self._socket)
        self._log.info("the broker listens on {path}", path=path)

    def listening(self) -> dict[str, int]:
        """Return the addresses that are open for TCP, and the real port of each."""
        return self._tcp.listening()

    def listening_tls(self) -> dict[str, int]:
        """Return those that are open for TLS."""
        return self._tls.listening()

    @override
    def stopService(self) -> Deferred[None]:
        """Close the addresses, tell all peers, close their connections."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._tcp.listen((), 0)
        await self._tls.listen((), 0)
        unix, self._socket = self._socket, None
        if unix is not None:
            await maybeDeferred(unix.stopListening)
        await self.factory.close()

    def _open_tcp(self, address: str, port: int) -> IListeningPort:
        return self._reactor.listenTCP(port, self.factory, backlog=_BACKLOG, interface=address)

    def _open_tls(self, address: str, port: int) -> IListeningPort:
        assert self._context is not None
        return self._reactor.listenSSL(
            port, self.factory, self._context, backlog=_BACKLOG, interface=address
        )
