"""MorbidQ's queues: kept while nobody listens, then one consumer at a time, round-robin."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import quoted
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.messages import RelayedMessage
from vmcontroller.host.broker.peers import Ack, Peer, Subscription

Outgoing = tuple[Peer, bytes, RelayedMessage | None]
"""To whom, and what to write: octets of its own, and the message whose tail many share, if any."""


class Queue:
    """The messages that wait under one name, and the subscriptions that take them in turn.

    They wait in the order in which they were sent, however often they were taken and put back.
    """

    def __init__(self, limits: BrokerLimits) -> None:
        self._limits = limits
        self._messages: deque[RelayedMessage] = deque()
        self._consumers: deque[Subscription] = deque()

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def is_idle(self) -> bool:
        """Nothing waits and nobody listens: it may be forgotten."""
        return not self._messages and not self._consumers

    def put(self, message: RelayedMessage) -> None:
        """Add the newest message."""
        self._messages.append(message)

    def put_back(self, messages: Iterable[RelayedMessage]) -> None:
        """Add messages that had been taken, each at its place."""
        back = sorted(messages, key=_serial)
        if not back:
            return
        last = back[-1].serial
        while self._messages and self._messages[0].serial < last:
            back.append(self._messages.popleft())
        self._messages.extendleft(sorted(back, key=_serial, reverse=True))

    def join(self, consumer: Subscription) -> None:
        """Let a subscription take its turn."""
        self._consumers.append(consumer)

    def leave(self, consumer: Subscription) -> None:
        """End that."""
        self._consumers.remove(consumer)

    def take(self, throttled: set[Peer]) -> tuple[RelayedMessage, Subscription] | None:
        """Return the next message and whose turn it is, or None when nobody can take one now.

        Who has refused the message gets it again only if nobody else can take it.
        """
        if not self._messages:
            return None
        refused_by = self._messages[0].refused_by
        again: Subscription | None = None
        for _ in range(len(self._consumers)):
            consumer = self._consumers[0]
            self._consumers.rotate(-1)
            if consumer.peer in throttled:
                continue
            if len(consumer.unacked) >= self._limits.unacked_messages:
                continue
            if refused_by and consumer.serial in refused_by:
                again = again or consumer
                continue
            return self._messages.popleft(), consumer
        return None if again is None else (self._messages.popleft(), again)


class Queues:
    """All queues of a broker. What is put, settled or given back moves on with `dispatch`.

    Peers in `throttled` get nothing.
    """

    def __init__(self, limits: BrokerLimits) -> None:
        self.throttled: set[Peer] = set()
        self.queued_bytes = 0
        """Of messages that wait, or are delivered and not acknowledged."""
        self.by_name: dict[str, Queue] = {}
        self._limits = limits

    def check_room(self, messages: Iterable[RelayedMessage]) -> None:
        """Raise ProtocolError unless all of these can wait, if nobody takes any."""
        cost_bytes = 0
        more: Counter[str] = Counter()
        for message in messages:
            destination = message.destination
            cost_bytes += message.cost_bytes
            more[destination] += 1
            waiting = len(self.by_name.get(destination, ()))
            if waiting + more[destination] > self._limits.queue_messages:
                raise ProtocolError(
                    f"{quoted(destination)} is full: "
                    f"{self._limits.queue_messages} messages wait in it"
                )
            if self.queued_bytes + cost_bytes > self._limits.queue_bytes:
                raise ProtocolError(
                    f"{quoted(destination)} cannot take the message: "
                    f"{self._limits.queue_bytes} bytes may wait in all queues"
                )

    def put(self, message: RelayedMessage) -> None:
        """Add a message for which there is room."""
        self._of(message.destination).put(message)
        self.queued_bytes += message.cost_bytes

    def join(self, consumer: Subscription) -> None:
        """Let a subscription take its turn at its queue."""
        self._of(consumer.destination).join(consumer)

    def leave(self, consumers: Iterable[Subscription]) -> None:
        """End that, and give back what they have not acknowledged."""
        back: dict[str, list[RelayedMessage]] = {}
        for consumer in consumers:
            self.by_name[consumer.destination].leave(consumer)
            back.setdefault(consumer.destination, []).extend(consumer.unacked.values())
        for destination, messages in back.items():
            for message in messages:
                message.redelivered = True
            self.by_name[destination].put_back(messages)

    def accept(self, messages: Iterable[RelayedMessage]) -> None:
        """Forget messages that their consumer has acknowledged."""
        self.queued_bytes -= sum(message.cost_bytes for message in messages)

    def refuse(self, consumer: Subscription, messages: Iterable[RelayedMessage]) -> None:
        """Give back messages that their consumer has refused; forget those refused too often."""
        back = []
        for message in messages:
            message.redelivered = True
            message.refused_by += (consumer.serial,)
            if len(message.refused_by) < self._limits.refusals:
                back.append(message)
            else:
                self.queued_bytes -= message.cost_bytes
        self.by_name[consumer.destination].put_back(back)

    def dispatch(self, destinations: Iterable[str]) -> list[Outgoing]:
        """Let consumers of these queues take what they can; forget queues that are idle."""
        out: list[Outgoing] = []
        for destination in destinations:
            queue = self.by_name[destination]
            while (taken := queue.take(self.throttled)) is not None:
                message, consumer = taken
                out.append(consumer.deliver(message))
                cost_bytes = message.cost_bytes
                peer = consumer.peer
                peer.given_bytes += cost_bytes
                if consumer.ack is Ack.AUTO:
                    self.queued_bytes -= cost_bytes
                if peer.given_bytes > self._limits.burst_bytes:
                    self.throttled.add(peer)
            if queue.is_idle:
                del self.by_name[destination]
        return out

    def _of(self, destination: str) -> Queue:
        queue = self.by_name.get(destination)
        if queue is None:
            queue = self.by_name[destination] = Queue(self._limits)
        return queue


def _serial(message: RelayedMessage) -> int:
    return message.serial
