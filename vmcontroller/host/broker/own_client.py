"""The daemon's own session with the broker of its process: messages pass as they are, unencoded.

A pair of sockets between the two took half of the daemon's time for a copied file: each byte was
written, read, framed and parsed once more, and whatever came waited behind it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vmcontroller.common.errors import NotConnected
from vmcontroller.common.model import GuestId
from vmcontroller.common.stomp.frames import Frame, Version
from vmcontroller.common.stomp.session import Message
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.messages import RelayedMessage
from vmcontroller.host.broker.peers import Peer
from vmcontroller.host.broker.rights import Principal, Role
from vmcontroller.host.broker.stats import Traffic

_TURN_MESSAGES: Final = 64
"""So many words are heard before others have their turn,"""
_TURN_BULK_BYTES: Final = 1 << 19
"""and of what came for bulk at least one message, or up to so many bytes."""
_MESSAGE_COST_BYTES: Final = 1000


class OwnBroker(Protocol):
    """What the daemon's own session needs of the broker."""

    limits: BrokerLimits
    traffic: Traffic

    def adopt(self, own: OwnClient) -> None:
        """Begin its session."""
        ...

    def receive(self, peer: Peer, frame: Frame) -> bool:
        """Do what a frame asks; raises ProtocolError, AccessDenied."""
        ...

    def too_full(self, connection: OwnClient) -> None:
        """Note that more waits for the host than should; its senders are to be held."""
        ...

    def drained(self, connection: OwnClient) -> None:
        """Note that some of what waited for it has been taken."""
        ...

    def left(self, connection: OwnClient) -> None:
        """Note that its session is over."""
        ...

    def closed(self, connection: OwnClient) -> None:
        """Note that it is gone."""
        ...

    def room(self, guest: GuestId, *, bulk: bool) -> Awaitable[None]:
        """Return when a guest's connection takes more."""
        ...


class Inbox:
    """What waits for the daemon: words first, then what came for bulk."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._words: deque[RelayedMessage] = deque()
        self._bulk: deque[RelayedMessage] = deque()

    @property
    def is_free(self) -> bool:
        """Nothing waits."""
        return not self.size_bytes

    def put(self, message: RelayedMessage) -> None:
        """Add a message."""
        self.size_bytes += len(message.body) + _MESSAGE_COST_BYTES
        (self._bulk if message.is_bulk else self._words).append(message)

    def turn(self) -> list[RelayedMessage]:
        """Take what is heard before others have their turn."""
        taken: list[RelayedMessage] = []
        while self._words and len(taken) < _TURN_MESSAGES:
            taken.append(self._words.popleft())
        bulk_bytes = 0
        while self._bulk and bulk_bytes < _TURN_BULK_BYTES:
            taken.append(self._bulk.popleft())
            bulk_bytes += len(taken[-1].body)
        for message in taken:
            self.size_bytes -= len(message.body) + _MESSAGE_COST_BYTES
        return taken


class OwnClient:
    """Speaks and listens as StompClient does, and is to the broker as one of its connections.

    An exception of a callback is logged and ends nothing. It begins once and ends once.
    """

    _log = Logger()
    is_in_process = True
    is_unread = False
    host = ""
    address = "in-process"

    def __init__(
        self,
        *,
        broker: OwnBroker,
        clock: IReactorTime,
        subscriptions: Sequence[str],
        on_message: Callable[[Message], None],
        on_connected: Callable[[], None],
        on_lost: Callable[[str], None],
    ) -> None:
        """`on_connected` comes soon after the start; `on_lost` if it is the broker that ends it."""
        self.peer = Peer(
            principal=Principal(role=Role.HOST), version=Version.V1_2, address=self.address
        )
        self.outbox = Inbox()
        self.running = False
        self._broker = broker
        self._clock = clock
        self._subscriptions = subscriptions
        self._on_message = on_message
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._next: IDelayedCall | None = None
        self._was_full = False

    # As the daemon sees it.

    def startService(self) -> None:
        """Begin the session."""
        self.running = True
        self._broker.adopt(self)
        for number, destination in enumerate(self._subscriptions):
            headers = (("id", str(number)), ("destination", destination))
            self._broker.receive(self.peer, Frame("SUBSCRIBE", headers))
        self._next = self._clock.callLater(0, self._begin)

    def stopService(self) -> Deferred[None]:
        """End the session; what still waits is not heard."""
        if self.running:
            self._end()
        return succeed(None)

    def send(self, destination: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a message: it is with whom it is for, or waits for them, when this returns.

        Raises NotConnected, and ProtocolError for a header that STOMP cannot carry.
        """
        if not self.running:
            raise NotConnected("there is no session with the broker")
        frame = Frame("SEND", (("destination", destination), *headers.items()), body)
        self._broker.traffic.frames_in += 1
        self._broker.traffic.bytes_in += len(body)
        self._broker.receive(self.peer, frame)

    async def room(self, guest: GuestId, *, bulk: bool = False) -> None:
        """Return when this connection of a guest takes more; raises NotConnected."""
        if not self.running:
            raise NotConnected("there is no session with the broker")
        await self._broker.room(guest, bulk=bulk)

    # As the broker sees it.

    def deliver(self, _head: bytes, message: RelayedMessage | None = None) -> None:
        """Take a message; it is heard in the next turn of the reactor."""
        if message is None or not self.running:
            return
        self._broker.traffic.frames_out += 1
        self._broker.traffic.bytes_out += len(message.body)
        self.outbox.put(message)
        if self.outbox.size_bytes > self._broker.limits.outbox_bytes:
            self._was_full = True
            self._broker.too_full(self)
        if self._next is None:
            self._next = self._clock.callLater(0, self._turn)

    def fail(self, reason: str) -> None:
        """End because the broker does."""
        if self.running:
            self._end()
            self._call(self._on_lost, reason)

    def release(self) -> None:
        """Nothing of the daemon's own is ever held."""

    def _begin(self) -> None:
        self._next = None
        self._call(self._on_connected)
        self._turn()

    def _turn(self) -> None:
        self._next = None
        for message in self.outbox.turn():
            # The first of repeated headers wins.
            headers = dict(reversed(message.headers))
            self._call(self._on_message, Message(message.destination, headers, message.body))
        if not self.running:
            return
        if not self.outbox.is_free and self._next is None:
            self._next = self._clock.callLater(0, self._turn)
        if self._was_full:
            self._was_full = not self.outbox.is_free
            self._broker.drained(self)

    def _end(self) -> None:
        self.running = False
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self.outbox = Inbox()
        self._broker.left(self)
        self._broker.closed(self)

    def _call(self, callback: Callable[..., None], *args: object) -> None:
        try:
            callback(*args)
        except Exception:  # noqa: BLE001 - a fault of the daemon must not end its session
            self._log.failure("a callback of the daemon's own session failed")
