"""The broker as a service: on which addresses it listens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import (
    IListeningPort,
    IOpenSSLContextFactory,
    IReactorSSL,
    IReactorTCP,
    IReactorTime,
    IReactorUNIX,
)
from twisted.logger import Logger
from typing_extensions import override

from vmcontroller.host.broker.factory import StompFactory
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.listeners import Listeners, accept_few_at_once
from vmcontroller.host.broker.rights import Rights
from vmcontroller.host.broker.stats import BrokerEvent

_BACKLOG = 1024
"""A thousand guests come at once when their host restarts."""


class IBrokerReactor(IReactorTCP, IReactorTime, IReactorSSL, IReactorUNIX):
    """What the broker needs of a reactor."""


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
