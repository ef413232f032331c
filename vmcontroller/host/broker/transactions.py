"""What BEGIN opens and COMMIT or ABORT ends: frames held back, within limits. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import Frame, quoted
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.messages import cost_bytes
from vmcontroller.host.broker.peers import Ack, Peer, Subscription


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldSend:
    """A SEND that its sender may make."""

    destination: str
    frame: Frame


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What an ACK or a NACK says of a delivery."""

    subscription: Subscription
    message_id: str
    accepted: bool


Held = HeldSend | Settlement


@dataclass(slots=True)
class _Transaction:
    held: list[Held] = field(default_factory=list)
    cost_bytes: int = 0


class Transactions:
    """The open transactions of all connections; their names are each connection's own."""

    def __init__(self, limits: BrokerLimits) -> None:
        self.held_bytes = 0
        """Of all connections together."""
        self._limits = limits
        self._open: dict[Peer, dict[str, _Transaction]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def begin(self, peer: Peer, name: str) -> None:
        """Open one. Raises ProtocolError if it is open already, or too many are."""
        mine = self._open.get(peer, {})
        if name in mine:
            raise ProtocolError(f"the transaction {quoted(name)} has begun already")
        if len(mine) >= self._limits.transactions:
            raise ProtocolError(
                f"a connection may have {self._limits.transactions} transactions, not more"
            )
        self._open.setdefault(peer, {})[name] = _Transaction()

    def hold(self, peer: Peer, name: str, held: Held, frame: Frame) -> None:
        """Keep what the frame asks until the end. Raises ProtocolError: not open, or too much."""
        mine = self._open.get(peer, {})
        transaction = _named(mine, name)
        if sum(len(each.held) for each in mine.values()) >= self._limits.transaction_frames:
            raise ProtocolError(
                f"the transactions of a connection may hold {self._limits.transaction_frames} "
                "frames, not more"
            )
        cost = cost_bytes(frame.headers, frame.body)
        if cost + sum(each.cost_bytes for each in mine.values()) > self._limits.transaction_bytes:
            raise ProtocolError(
                f"the transactions of a connection may hold {self._limits.transaction_bytes} "
                "bytes, not more"
            )
        if cost + self.held_bytes > self._limits.queue_bytes:
            raise ProtocolError(
                f"the transactions of all connections hold {self._limits.queue_bytes} bytes already"
            )
        self.held_bytes += cost
        transaction.held.append(held)
        transaction.cost_bytes += cost

    def end(self, peer: Peer, name: str) -> list[Held]:
        """Close one; return what it held, in order. Raises ProtocolError if it is not open."""
        mine = self._open.get(peer, {})
        transaction = _named(mine, name)
        del mine[name]
        if not mine:
            del self._open[peer]
        self.held_bytes -= transaction.cost_bytes
        return transaction.held

    def forget(self, peer: Peer) -> None:
        """Drop all that a connection had open."""
        gone = self._open.pop(peer, {})
        self.held_bytes -= sum(transaction.cost_bytes for transaction in gone.values())


def _named(mine: dict[str, _Transaction], name: str) -> _Transaction:
    transaction = mine.get(name)
    if transaction is None:
        raise ProtocolError(f"there is no transaction {quoted(name)} on this connection")
    return transaction


def check_settlements(held: list[Held]) -> None:
    """Raise ProtocolError unless all that would be settled, in order, still awaits it.

    Between the ACK and the COMMIT its subscription may have ended, or the message may have been
    acknowledged otherwise. Linear in what is held and what awaits.
    """
    places: dict[Subscription, dict[str, int]] = {}
    reached: dict[Subscription, int] = {}
    for each in held:
        if not isinstance(each, Settlement):
            continue
        subscription = each.subscription
        if subscription.peer.subscriptions.get(subscription.key) is not subscription:
            raise ProtocolError(
                f"the subscription {quoted(subscription.key)} ended before the COMMIT"
            )
        if not subscription.is_of_queue:
            continue
        if subscription not in places:
            places[subscription] = {name: at for at, name in enumerate(subscription.unacked)}
        place = places[subscription].pop(each.message_id, -1)
        if place < reached.get(subscription, 0):
            raise ProtocolError(
                f"{quoted(each.message_id)} no longer awaited acknowledgement at the COMMIT"
            )
        if subscription.ack is Ack.CLIENT:
            reached[subscription] = place + 1
