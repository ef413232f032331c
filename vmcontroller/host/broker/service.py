"""The broker as a service: on which addresses it listens, and the daemon's own way in."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import cast

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IReactorSocket,
    IReactorTCP,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from typing_extensions import override
from zope.interface import implementer

from vmcontroller.host.broker.factory import StompFactory
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.rights import Principal, Rights

_BACKLOG = 1024
"""A thousand guests come at once when their host restarts."""


class IBrokerReactor(IReactorTCP, IReactorTime, IReactorSocket):
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
    """One broker and the addresses it listens on. Listens nowhere until told where."""

    _log = Logger()

    def __init__(
        self, *, reactor: IBrokerReactor, rights: Rights, limits: BrokerLimits | None = None
    ) -> None:
        self.factory = StompFactory(reactor=reactor, rights=rights, limits=limits)
        self._reactor = reactor
        self._port = 0
        self._ports: dict[str, IListeningPort] = {}
        self._told: dict[str, str] = {}
        self._changing = DeferredLock()

    def in_process_endpoint(self, principal: Principal) -> IStreamClientEndpoint:
        """Return the way in for the daemon itself; who connects by it is this principal."""
        endpoint: IStreamClientEndpoint = InProcessEndpoint(self._reactor, self.factory, principal)
        return endpoint

    async def listen(self, addresses: Sequence[str], port: int) -> dict[str, str]:
        """Make the set of listening addresses exactly this; call it again whenever it changes.

        Returns, by address, why one could not be opened (a network of guests may not be there yet);
        the others are open all the same. With port 0 each new address gets a port of its own.
        """
        await self._changing.acquire()
        try:
            for address, real_port in self.listening().items():
                if address not in addresses or port not in {0, real_port}:
                    await self._stop_listening(address)
            self._port = port
            failed = {}
            for address in addresses:
                if address not in self._ports and (problem := self._open(address)):
                    failed[address] = problem
            return failed
        finally:
            self._changing.release()

    def listening(self) -> dict[str, int]:
        """Return the addresses that are open, and the real port of each."""
        return {address: _number(port) for address, port in self._ports.items()}

    @override
    def stopService(self) -> Deferred[None]:
        """Close the addresses, tell all peers, close their connections."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self.listen((), self._port)
        await self.factory.close()

    def _open(self, address: str) -> str:
        try:
            port = self._reactor.listenTCP(
                self._port, self.factory, backlog=_BACKLOG, interface=address
            )
        except CannotListenError as error:
            problem = str(error.socketError)
            if self._told.get(address) != problem:  # tried again and again: told once
                self._told[address] = problem
                self._log.warn(
                    "the broker cannot listen on {address} port {port}: {problem}",
                    address=address,
                    port=self._port,
                    problem=problem,
                )
            return problem
        self._told.pop(address, None)
        self._ports[address] = port
        self._log.info(
            "the broker listens on {address} port {port}", address=address, port=_number(port)
        )
        return ""

    async def _stop_listening(self, address: str) -> None:
        port = self._ports.pop(address)
        await maybeDeferred(port.stopListening)
        self._log.info("the broker no longer listens on {address}", address=address)


def _number(port: IListeningPort) -> int:
    return cast("IPv4Address | IPv6Address", port.getHost()).port
