"""The broker itself: its connections, its router, and the balance between fast and slow peers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import ServerFactory
from twisted.logger import Logger
from typing_extensions import override

from vmcontroller.common.freed_memory import keep_freed_memory
from vmcontroller.common.model import GuestId
from vmcontroller.common.stomp.frames import Frame
from vmcontroller.host.broker.admission import Admission, counted_host
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.own_client import OwnClient
from vmcontroller.host.broker.peers import Peer
from vmcontroller.host.broker.protocol import BrokerConnection
from vmcontroller.host.broker.queues import Outgoing
from vmcontroller.host.broker.rates import Budget
from vmcontroller.host.broker.rights import Principal, Rights, Role
from vmcontroller.host.broker.router import Router
from vmcontroller.host.broker.seldom import Seldom
from vmcontroller.host.broker.sessions import GuestSessions
from vmcontroller.host.broker.stats import BrokerEvent, BrokerStats, EventKind, Reason, Traffic

_FULL_INTERVAL_S = 60.0
_LINES_OF_LOOPBACK = 100
_EVENTS: Final[Mapping[Reason, EventKind]] = {
    "takeover": "takeover",
    "login-refused": "login-refused",
    "slow-consumer": "slow-consumer",
    "protocol-error": "protocol-error",
}


class StompFactory(ServerFactory):
    """Accepts connections, and carries messages between them: MorbidQ's destinations.

    It can be listened with like any factory of Twisted. A peer that does not read what is meant for
    it is told and dropped; only when that peer is the host are its senders not read instead, so
    that TCP makes them wait and nothing is lost or piled up.
    """

    noisy = False
    _log = Logger()

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        rights: Rights,
        limits: BrokerLimits | None = None,
        on_event: Callable[[BrokerEvent], None] | None = None,
    ) -> None:
        keep_freed_memory()
        self.clock = reactor
        self.limits = limits or BrokerLimits()
        self.traffic = Traffic()
        self._on_event = on_event
        self._rights = rights
        self._admission = Admission(self.limits)
        self._seldom = Seldom(reactor)
        self._router = Router(rights=rights, limits=self.limits)
        self._connections: set[BrokerConnection | OwnClient] = set()
        self._by_peer: dict[Peer, BrokerConnection | OwnClient] = {}
        self._guests: GuestSessions[BrokerConnection] = GuestSessions(self.limits)
        self._full_hosts: set[BrokerConnection | OwnClient] = set()
        self._held: dict[BrokerConnection | OwnClient, None] = {}
        self._stopped: Deferred[None] | None = None

    @override
    def buildProtocol(self, addr: IAddress | None) -> BrokerConnection | None:
        host = counted_host(addr.host) if isinstance(addr, IPv4Address | IPv6Address) else ""
        reason = self._admission.turned_away(host, self.clock.seconds())
        if reason:
            self._turned_away(host, reason)
            return None
        return self._built(BrokerConnection(self, address=_written(addr), host=host))

    def build(self, address: str, principal: Principal) -> BrokerConnection:
        """Make the broker's end of a connection of the daemon's own; CONNECT needs no login."""
        return self._built(BrokerConnection(self, address=address, principal=principal))

    def adopt(self, own: OwnClient) -> None:
        """Begin the daemon's own session, which has no octets."""
        self._connections.add(own)
        self._by_peer[own.peer] = own

    def _built(self, connection: BrokerConnection) -> BrokerConnection:
        connection.factory = self
        return connection

    def close(self) -> Deferred[None]:
        """Tell all peers and close their connections. Fires when they are gone."""
        if not self._connections:
            return succeed(None)
        self._stopped = Deferred()
        stopped = self._stopped
        for connection in list(self._connections):
            connection.fail("the broker is stopping")
        return stopped

    def opened(self, connection: BrokerConnection) -> str:
        """Note a new connection. Returns why it may not stay, or nothing."""
        self._connections.add(connection)
        refusal = "" if connection.is_in_process else self._admission.enter(connection.host)
        return refusal if self._stopped is None else "the broker is stopping"

    def line_due(self, kind: str, connection: BrokerConnection) -> str | None:
        """Say whether to log something that a peer can cause again and again; see Seldom.due."""
        return self._seldom.due(
            kind,
            connection.host,
            interval_s=self.limits.log_interval_s,
            lines=1 if connection.host else _LINES_OF_LOOPBACK,
        )

    def dropped(self, connection: BrokerConnection, reason: Reason, detail: str) -> None:
        """Count it, and tell of it who wants to know."""
        self.traffic.drops[reason] += 1
        if self._on_event is not None and reason in _EVENTS:
            peer = connection.peer
            event = BrokerEvent(
                kind=_EVENTS[reason],
                principal=str(peer.principal) if peer else "",
                address=connection.address,
                detail=detail,
            )
            self._on_event(event)

    def stats(self) -> BrokerStats:
        """Return what there is now, and what has been counted."""
        now_s = self.clock.seconds()
        router = self._router
        queues = router.queues
        return BrokerStats(
            connections=len(self._connections),
            by_role=dict(Counter(peer.principal.kind for peer in self._by_peer)),
            subscriptions=sum(len(peer.subscriptions) for peer in self._by_peer),
            destinations=len(router.topics) + len(queues.by_name),
            queued_messages=sum(map(len, queues.by_name.values())),
            queued_bytes=queues.queued_bytes,
            totals=self.traffic.totals(),
            per_s=self.traffic.per_s(now_s),
            drops={str(reason): n for reason, n in self.traffic.drops.items()},
            held=sum(connection.is_unread for connection in self._connections),
        )

    def _turned_away(self, host: str, reason: str) -> None:
        self.traffic.drops["too-many"] += 1
        is_full = self._admission.is_full
        more = self._seldom.due(
            "turned away",
            "full" if is_full else host,
            interval_s=_FULL_INTERVAL_S if is_full else self.limits.log_interval_s,
        )
        if more is not None:
            self._log.warn(
                "a connection from {host} was closed at once: {reason}{more}",
                host=host or "this machine",
                reason=reason,
                more=more,
            )

    def authenticate(self, login: str, passcode: str, peer: str, *, bulk: bool) -> Principal | None:
        """Ask the rights who it is. Raises AccessDenied as GuestSessions.admit does."""
        principal = self._rights.authenticate(login, passcode, peer)
        if principal is None:
            return None
        return self._guests.admit(principal, bulk=bulk, now_s=self.clock.seconds())

    def joined(self, connection: BrokerConnection, peer: Peer) -> Budget | None:
        """Note a session. A guest has one of a kind: an older connection of that is closed."""
        self._by_peer[peer] = connection
        principal = peer.principal
        older = self._guests.join(connection, principal)
        if older is not None:
            more = self.line_due("again", connection)
            if more is not None:
                self._log.warn(
                    "{guest} has connected again from {address}; "
                    "its connection from {older} is closed{more}",
                    guest=principal,
                    address=connection.address,
                    older=older.address,
                    more=more,
                )
            reason = f"another connection of {principal.id} has come from {connection.address}"
            older.fail(reason, drop="takeover")
        return self._guests.budget(principal, self.clock.seconds())

    def end_session(self, guest: GuestId, reason: str) -> None:
        """Close the connections of a guest, if there are any: it has to log in anew."""
        connection = self._guests.words.get(guest)
        if connection is not None:
            connection.fail(reason)

    def receive(self, peer: Peer, frame: Frame) -> bool:
        """Route a frame. Returns whether its sender must not be read until the host has caught up.

        Raises ProtocolError, AccessDenied.
        """
        self._deliver(self._router.receive(peer, frame))
        if not self._full_hosts or peer.principal.role is Role.HOST:
            return False
        sender = self._by_peer.get(peer)
        if sender is None:
            return False
        self._held[sender] = None
        return True

    def room(self, guest: GuestId, *, bulk: bool) -> Awaitable[None]:
        """Return when this connection of a guest takes more, or is no more."""
        connection = (self._guests.bulk if bulk else self._guests.words).get(guest)
        return succeed(None) if connection is None else connection.outbox.room()

    def too_full(self, connection: BrokerConnection | OwnClient) -> None:
        """Hold whoever sends something from now on."""
        self._full_hosts.add(connection)

    def drained(self, connection: BrokerConnection | OwnClient) -> None:
        """Go on with what waited for this connection to take more."""
        if connection in self._full_hosts:
            if connection.outbox.size_bytes > self.limits.outbox_bytes // 2:
                return
            self._full_hosts.discard(connection)
            self._release_held()
        self._resume_queues()

    def left(self, connection: BrokerConnection | OwnClient) -> None:
        """End a session: what it had not acknowledged goes to others."""
        self._held.pop(connection, None)
        peer = connection.peer
        if peer is None:
            return
        self._by_peer.pop(peer, None)
        bulk = self._guests.leave(connection, peer.principal)
        if bulk is not None:
            bulk.fail("the session that this connection belongs to is over")
        self._deliver(self._router.lost(peer))
        if connection in self._full_hosts:
            self._full_hosts.discard(connection)
            self._release_held()

    def closed(self, connection: BrokerConnection | OwnClient) -> None:
        """Forget a connection."""
        self._connections.discard(connection)
        if not connection.is_in_process:
            self._admission.leave(connection.host)
        if self._stopped is not None and not self._connections and not self._stopped.called:
            self._stopped.callback(None)

    def _deliver(self, out: Iterable[Outgoing]) -> None:
        self._write(out)
        if self._router.throttled:
            self._resume_queues()

    def _write(self, out: Iterable[Outgoing]) -> None:
        for peer, head, message in out:
            connection = self._by_peer.get(peer)
            if connection is not None:
                connection.deliver(head, message)

    def _resume_queues(self) -> None:
        """Let queues give more to those consumers whose transport has taken everything."""
        while ready := [
            peer for peer in self._router.throttled if self._by_peer[peer].outbox.is_free
        ]:
            for peer in ready:
                self._write(self._router.resume(peer))

    def _release_held(self) -> None:
        for connection in list(self._held):
            if self._full_hosts:
                return
            self._held.pop(connection, None)
            connection.release()


def _written(addr: IAddress | None) -> str:
    if isinstance(addr, IPv4Address | IPv6Address):
        return f"[{addr.host}]:{addr.port}" if ":" in addr.host else f"{addr.host}:{addr.port}"
    return str(addr)
