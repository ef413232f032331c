"""Frames of peers in, octets for peers out: topics, queues, receipts. No transport, no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from vmcontroller.common.errors import AccessDenied, ProtocolError
from vmcontroller.common.stomp.frames import Frame, Version, encode, quoted
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.messages import RelayedMessage
from vmcontroller.host.broker.peers import Ack, Peer, Subscription, first_lines
from vmcontroller.host.broker.queues import Outgoing, Queue
from vmcontroller.host.broker.rights import Rights, Role

QUEUE_PREFIX: Final = "/queue/"
"""Every other name is a topic, with or without a prefix, as in MorbidQ."""


class Router:
    """Knows who listens to what. One for each broker.

    `receive` raises ProtocolError or AccessDenied; the peer is then to be told and dropped. Whoever
    writes the result to the peers looks at `throttled`: queues give those peers nothing more until
    `resume` is called.
    """

    def __init__(self, *, rights: Rights, limits: BrokerLimits) -> None:
        self.throttled: set[Peer] = set()
        self._rights = rights
        self._limits = limits
        self._topics: dict[str, dict[Subscription, None]] = {}
        self._queues: dict[str, Queue] = {}
        self._queued_bytes = 0
        self._messages = 0
        self._subscriptions = 0
        self._verbs: dict[str, Callable[[Peer, Frame], list[Outgoing]]] = {
            "SEND": self._send,
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "ACK": self._ack,
            "DISCONNECT": lambda _peer, _frame: [],
        }

    def receive(self, peer: Peer, frame: Frame) -> list[Outgoing]:
        """Do what a frame asks; return what to write to whom, a RECEIPT last.

        Raises ProtocolError, AccessDenied; then nothing has been done.
        """
        verb = self._verbs.get(frame.command)
        if verb is None:
            raise ProtocolError(
                f"{frame.command} is not supported by this broker in a session; "
                f"supported are {', '.join(self._verbs)}"
            )
        if frame.header("transaction") is not None:
            raise ProtocolError("transactions are not supported by this broker")
        out = verb(peer, frame)
        receipt_id = frame.header("receipt")
        if receipt_id is not None:
            receipt = Frame("RECEIPT", (("receipt-id", receipt_id),))
            out.append((peer, encode(receipt, peer.version), b""))
        return out

    def lost(self, peer: Peer) -> list[Outgoing]:
        """Forget a peer; what it has not acknowledged goes to other consumers of the queue."""
        self.throttled.discard(peer)
        gone = list(peer.subscriptions.values())
        peer.subscriptions.clear()
        return self._remove(gone)

    def resume(self, peer: Peer) -> list[Outgoing]:
        """Let queues give to a peer again that has kept up."""
        self.throttled.discard(peer)
        peer.given_bytes = 0
        return self._dispatch(
            {s.destination: None for s in peer.subscriptions.values() if _is_queue(s.destination)}
        )

    def _send(self, peer: Peer, frame: Frame) -> list[Outgoing]:
        destination = _needed(frame, "destination")
        if not self._rights.may_send(peer.principal, destination):
            raise AccessDenied(f"{peer.principal} may not send to {quoted(destination)}")
        if _is_queue(destination):
            return self._enqueue(destination, self._message(peer, destination, frame))
        listeners = self._topics.get(destination)
        if listeners is None:
            return []
        message = self._message(peer, destination, frame)
        return [listener.deliver(message) for listener in self._keeping_up(listeners)]

    def _message(self, peer: Peer, destination: str, frame: Frame) -> RelayedMessage:
        self._messages += 1
        sender = peer.principal.id if peer.principal.role is Role.GUEST else None
        return RelayedMessage(destination, self._messages, frame, sender)

    def _keeping_up(self, listeners: Iterable[Subscription]) -> Iterable[Subscription]:
        # A topic does not wait: what was not acknowledged is only remembered, so the oldest goes.
        for listener in listeners:
            if len(listener.unacked) >= self._limits.unacked_messages:
                del listener.unacked[next(iter(listener.unacked))]
            yield listener

    def _enqueue(self, destination: str, message: RelayedMessage) -> list[Outgoing]:
        queue = self._queues.get(destination)
        if queue is None:
            queue = Queue(self._limits)
        if len(queue) >= self._limits.queue_messages:
            raise ProtocolError(
                f"{quoted(destination)} is full: {self._limits.queue_messages} messages wait in it"
            )
        if self._queued_bytes + message.cost_bytes > self._limits.queue_bytes:
            raise ProtocolError(
                f"{quoted(destination)} cannot take the message: "
                f"{self._limits.queue_bytes} bytes may wait in all queues"
            )
        self._queues[destination] = queue
        queue.put(message)
        self._queued_bytes += message.cost_bytes
        return self._dispatch((destination,))

    def _dispatch(self, destinations: Iterable[str]) -> list[Outgoing]:
        out: list[Outgoing] = []
        for destination in destinations:
            queue = self._queues[destination]
            while (taken := queue.take(self.throttled)) is not None:
                message, consumer = taken
                out.append(consumer.deliver(message))
                peer = consumer.peer
                peer.given_bytes += message.cost_bytes
                if consumer.ack is Ack.AUTO:
                    self._queued_bytes -= message.cost_bytes
                if peer.given_bytes > self._limits.burst_bytes:
                    self.throttled.add(peer)
            if queue.is_idle:
                del self._queues[destination]
        return out

    def _subscribe(self, peer: Peer, frame: Frame) -> list[Outgoing]:
        destination = _needed(frame, "destination")
        if not self._rights.may_subscribe(peer.principal, destination):
            raise AccessDenied(f"{peer.principal} may not subscribe to {quoted(destination)}")
        subscription_id = frame.header("id")
        if subscription_id is None and peer.version is not Version.V1_0:
            raise ProtocolError(f"SUBSCRIBE needs an id in STOMP {peer.version}")
        key = destination if subscription_id is None else subscription_id
        if key in peer.subscriptions:
            if subscription_id is None:
                return []
            raise ProtocolError(f"a subscription with the id {quoted(key)} exists already")
        if len(peer.subscriptions) >= self._limits.subscriptions:
            raise ProtocolError(
                f"a connection may have {self._limits.subscriptions} subscriptions, not more"
            )
        if frame.header("selector") is not None:
            raise ProtocolError("selectors are not supported: every message would come")
        self._subscriptions += 1
        subscription = Subscription(
            peer=peer,
            key=key,
            serial=self._subscriptions,
            destination=destination,
            ack=_ack_mode(frame),
            is_of_queue=_is_queue(destination),
            head=first_lines(peer.version, subscription_id),
        )
        peer.subscriptions[key] = subscription
        if not subscription.is_of_queue:
            self._topics.setdefault(destination, {})[subscription] = None
            return []
        queue = self._queues.setdefault(destination, Queue(self._limits))
        queue.join(subscription)
        return self._dispatch((destination,))

    def _unsubscribe(self, peer: Peer, frame: Frame) -> list[Outgoing]:
        key = frame.header("id")
        if key is None and peer.version is Version.V1_0:
            key = frame.header("destination")
        if key is None:
            raise ProtocolError("UNSUBSCRIBE needs the id of the subscription")
        subscription = peer.subscriptions.pop(key, None)
        if subscription is None:
            raise ProtocolError(f"there is no subscription {quoted(key)} on this connection")
        return self._remove([subscription])

    def _remove(self, gone: Iterable[Subscription]) -> list[Outgoing]:
        unacked: dict[str, list[RelayedMessage]] = {}
        for subscription in gone:
            destination = subscription.destination
            if subscription.is_of_queue:
                self._queues[destination].leave(subscription)
                back = [message for message in subscription.unacked.values() if message]
                unacked.setdefault(destination, []).extend(back)
                continue
            listeners = self._topics[destination]
            del listeners[subscription]
            if not listeners:
                del self._topics[destination]
        for destination, messages in unacked.items():
            for message in messages:
                message.redelivered = True
            self._queues[destination].put_back(sorted(messages, key=lambda m: m.serial))
        return self._dispatch(unacked)

    def _ack(self, peer: Peer, frame: Frame) -> list[Outgoing]:
        for subscription, message_id in _named_deliveries(peer, frame):
            done = subscription.acknowledge(message_id)
            if done and subscription.is_of_queue:
                self._queued_bytes -= sum(message.cost_bytes for message in done if message)
                return self._dispatch((subscription.destination,))
            if done:
                return []
        raise ProtocolError("ACK names no message that awaits acknowledgement on this connection")


def _is_queue(destination: str) -> bool:
    return destination.startswith(QUEUE_PREFIX)


def _needed(frame: Frame, name: str) -> str:
    value = frame.header(name)
    if not value:
        raise ProtocolError(f"{frame.command} needs the header {name}")
    return value


def _ack_mode(frame: Frame) -> Ack:
    mode = frame.header("ack") or Ack.AUTO
    try:
        return Ack(mode)
    except ValueError:
        raise ProtocolError(f"ack {quoted(mode)} is not one of {', '.join(Ack)}") from None


def _named_deliveries(peer: Peer, frame: Frame) -> list[tuple[Subscription, str]]:
    """Return the deliveries that an ACK may mean: one, or in 1.0 one for each subscription."""
    if peer.version is Version.V1_2:
        serial, _, message_id = _needed(frame, "id").partition("-")
        return [(s, message_id) for s in peer.subscriptions.values() if str(s.serial) == serial]
    message_id = _needed(frame, "message-id")
    if peer.version is Version.V1_1:
        subscription = peer.subscriptions.get(_needed(frame, "subscription"))
        return [] if subscription is None else [(subscription, message_id)]
    return [(s, message_id) for s in peer.subscriptions.values()]
