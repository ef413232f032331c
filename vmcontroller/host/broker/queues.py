"""MorbidQ's queues: kept while nobody listens, then one consumer at a time, round-robin."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.messages import RelayedMessage
from vmcontroller.host.broker.peers import Peer, Subscription

Outgoing = tuple[Peer, bytes, bytes]
"""To whom, and what to write: the part of the subscription, and the part that many share."""


class Queue:
    """The messages that wait under one name, and the subscriptions that take them in turn."""

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
        """Add a message at the end."""
        self._messages.append(message)

    def put_back(self, messages: Iterable[RelayedMessage]) -> None:
        """Add messages, oldest first, before all that wait."""
        self._messages.extendleft(reversed(tuple(messages)))

    def join(self, consumer: Subscription) -> None:
        """Let a subscription take its turn."""
        self._consumers.append(consumer)

    def leave(self, consumer: Subscription) -> None:
        """End that."""
        self._consumers.remove(consumer)

    def take(self, throttled: set[Peer]) -> tuple[RelayedMessage, Subscription] | None:
        """Return the next message and whose turn it is, or None when nobody can take one now."""
        if not self._messages:
            return None
        for _ in range(len(self._consumers)):
            consumer = self._consumers[0]
            self._consumers.rotate(-1)
            if consumer.peer in throttled:
                continue
            if len(consumer.unacked) < self._limits.unacked_messages:
                return self._messages.popleft(), consumer
        return None
