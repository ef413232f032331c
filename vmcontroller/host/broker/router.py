"""Frames of peers in, octets for peers out: topics, queues, receipts. No transport, no clock."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from vmcontroller.common.errors import AccessDenied, ProtocolError
from vmcontroller.common.stomp.frames import Frame, Version, encode, quoted
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.messages import RelayedMessage
from vmcontroller.host.broker.peers import Ack, Peer, Subscription, first_lines
from vmcontroller.host.broker.queues import Outgoing, Queues
from vmcontroller.host.broker.rights import Rights, Role
from vmcontroller.host.broker.transactions import (
    Held,
    HeldSend,
    Settlement,
    Transactions,
    check_settlements,
)

QUEUE_PREFIX: Final = "/queue/"
"""Every other name is a topic, with or without a prefix, as in MorbidQ."""

_SERIAL: Final = re.compile("[0-9]{1,18}")


class Router:
    """Knows who listens to what. One for each broker.

    `receive` raises ProtocolError or AccessDenied; the peer is then to be told and dropped. Whoever
    writes the result to the peers looks at `throttled`: queues give those peers nothing more until
    `resume` is called.
    """

    def __init__(self, *, rights: Rights, limits: BrokerLimits) -> None:
        self.queues = Queues(limits)
        self.topics: dict[str, dict[Subscription, None]] = {}
        self.transactions = Transactions(limits)
        self._rights = rights
        self._limits = limits
        self._messages = 0
        self._subscriptions = 0
        self._verbs: dict[str, Callable[[Peer, Frame], list[Outgoing]]] = {
            "SEND": self._send,
            "SUBSCRIBE": self._subscribe,
            "UNSUBSCRIBE": self._unsubscribe,
            "ACK": self._ack,
            "NACK": self._nack,
            "BEGIN": self._begin,
            "COMMIT": self._commit,
            "ABORT": self._abort,
            "DISCONNECT": lambda _peer, _frame: [],
        }

    @property
    def throttled(self) -> set[Peer]:
        """Who has been given so much by queues that it must be seen to keep up first."""
        return self.queues.throttled

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
        out = verb(peer, frame)
        receipt_id = frame.header("receipt")
        if receipt_id is not None:
            receipt = Frame("RECEIPT", (("receipt-id", receipt_id),))
            out.append((peer, encode(receipt, peer.version), None))
        return out

    def lost(self, peer: Peer) -> list[Outgoing]:
        """Forget a peer; what it has not acknowledged goes to other consumers of the queue."""
        self.throttled.discard(peer)
        self.transactions.forget(peer)
        gone = list(peer.subscriptions.values())
        peer.subscriptions.clear()
        return self._remove(gone)

    def resume(self, peer: Peer) -> list[Outgoing]:
        """Let queues give to a peer again that has kept up."""
        self.throttled.discard(peer)
        peer.given_bytes = 0
        return self.queues.dispatch(
            {s.destination: None for s in peer.subscriptions.values() if s.is_of_queue}
        )

    def _send(self, peer: Peer, frame: Frame) -> list[Outgoing]:
        destination = _needed(frame, "destination")
        if not self._rights.may_send(peer.principal, destination):
            raise AccessDenied(f"{peer.principal} may not send to {quoted(destination)}")
        if frame.header("transaction") is not None:
            return self._hold(peer, frame, HeldSend(destination=destination, frame=frame))
        if destination.startswith(QUEUE_PREFIX):
            message = self._message(peer, destination, frame)
            self.queues.check_room((message,))
            self.queues.put(message)
            return self.queues.dispatch((destination,))
        listeners = self.topics.get(destination)
        if listeners is None:
            return []
        message = self._message(peer, destination, frame)
        return [listener.deliver(message) for listener in listeners]

    def _message(self, peer: Peer, destination: str, frame: Frame) -> RelayedMessage:
        self._messages += 1
        principal = peer.principal
        sender = principal.id if principal.role is Role.GUEST else None
        return RelayedMessage(destination, self._messages, frame, sender, is_bulk=principal.bulk)

    def _begin(self, peer: Peer, frame: Frame) -> list[Outgoing]:
        self.transactions.begin(peer, _needed(frame, "transaction"))
        return []

    def _hold(self, peer: Peer, frame: Frame, held: Held) -> list[Outgoing]:
        self.transactions.hold(peer, _needed(frame, "transaction"), held, frame)
        return []

    def _abort(self, peer: Peer, frame: Frame) -> list[Outgoing]:
        _ = self.transactions.end(peer, _needed(frame, "transaction"))
        return []

    def _commit(self, peer: Peer, frame: Frame) -> list[Outgoing]:
        held = self.transactions.end(peer, _needed(frame, "transaction"))
        steps = [
            self._message(peer, each.destination, each.frame)
            if isinstance(each, HeldSend)
            else each
            for each in held
        ]
        # All that can fail comes first; from then on all of it is done.
        check_settlements(held)
        self.queues.check_room(
            step
            for step in steps
            if isinstance(step, RelayedMessage) and step.destination.startswith(QUEUE_PREFIX)
        )
        out: list[Outgoing] = []
        touched: dict[str, None] = {}
        for step in steps:
            if isinstance(step, Settlement):
                touched.update(self._settled(step))
            elif step.destination.startswith(QUEUE_PREFIX):
                self.queues.put(step)
                touched[step.destination] = None
            else:
                listeners = self.topics.get(step.destination, ())
                out += [listener.deliver(step) for listener in listeners]
        return out + self.queues.dispatch(touched)

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
            is_of_queue=destination.startswith(QUEUE_PREFIX),
            head=first_lines(peer.version, subscription_id),
        )
        peer.subscriptions[key] = subscription
        if not subscription.is_of_queue:
            self.topics.setdefault(destination, {})[subscription] = None
            return []
        self.queues.join(subscription)
        return self.queues.dispatch((destination,))

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

    def _remove(self, gone: Sequence[Subscription]) -> list[Outgoing]:
        of_queues = [subscription for subscription in gone if subscription.is_of_queue]
        for subscription in gone:
            if subscription.is_of_queue:
                continue
            listeners = self.topics[subscription.destination]
            del listeners[subscription]
            if not listeners:
                del self.topics[subscription.destination]
        self.queues.leave(of_queues)
        return self.queues.dispatch({s.destination: None for s in of_queues})

    def _ack(self, peer: Peer, frame: Frame) -> list[Outgoing]:
        return self._settle(peer, frame, accepted=True)

    def _nack(self, peer: Peer, frame: Frame) -> list[Outgoing]:
        if peer.version is Version.V1_0:
            raise ProtocolError("STOMP 1.0 has no NACK")
        return self._settle(peer, frame, accepted=False)

    def _settle(self, peer: Peer, frame: Frame, *, accepted: bool) -> list[Outgoing]:
        subscription, message_id = self._named_delivery(peer, frame)
        settlement = Settlement(subscription=subscription, message_id=message_id, accepted=accepted)
        if frame.header("transaction") is not None:
            return self._hold(peer, frame, settlement)
        return self.queues.dispatch(self._settled(settlement))

    def _settled(self, settlement: Settlement) -> dict[str, None]:
        """Settle what waits for it; return which queue may go on."""
        subscription = settlement.subscription
        if not subscription.is_of_queue:
            return {}
        messages = subscription.settle(settlement.message_id)
        if settlement.accepted:
            self.queues.accept(messages)
        else:
            self.queues.refuse(subscription, messages)
        return {subscription.destination: None}

    def _named_delivery(self, peer: Peer, frame: Frame) -> tuple[Subscription, str]:
        """Return the delivery that an ACK or NACK means. Raises ProtocolError if none awaits it."""
        subscriptions, message_id = _named(peer, frame)
        for subscription in subscriptions:
            if self._awaits(subscription, message_id):
                return subscription, message_id
        raise ProtocolError(
            f"{frame.command} names no message that awaits acknowledgement on this connection"
        )

    def _awaits(self, subscription: Subscription, message_id: str) -> bool:
        if subscription.is_of_queue:
            return message_id in subscription.unacked
        # A topic remembers nothing: it is enough that there has been such a message.
        name, _, serial = message_id.rpartition("_")
        return (
            subscription.ack is not Ack.AUTO
            and name == subscription.destination
            and _SERIAL.fullmatch(serial) is not None
            and int(serial) <= self._messages
        )


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


def _named(peer: Peer, frame: Frame) -> tuple[list[Subscription], str]:
    """Return the message-id of an ACK or NACK, and the subscriptions that it may be of."""
    mine = peer.subscriptions
    if peer.version is Version.V1_2:
        serial, _, message_id = _needed(frame, "id").partition("-")
        return [s for s in mine.values() if str(s.serial) == serial], message_id
    message_id = _needed(frame, "message-id")
    if peer.version is Version.V1_1:
        key = _needed(frame, "subscription")
        return [mine[key]] if key in mine else [], message_id
    return list(mine.values()), message_id
