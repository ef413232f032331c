"""What the router knows of a connection: who it is, what it has subscribed to, what it owes."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from vmcontroller.common.stomp.frames import Version, header_lines
from vmcontroller.host.broker.messages import RelayedMessage
from vmcontroller.host.broker.rights import Principal


class Ack(enum.StrEnum):
    """How a subscription acknowledges."""

    AUTO = "auto"
    CLIENT = "client"
    """Up to and including the message named."""
    INDIVIDUAL = "client-individual"


@dataclass(eq=False, slots=True, kw_only=True)
class Peer:
    """One connection with a session. Compared by identity."""

    principal: Principal
    version: Version
    address: str
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    """By the id of the client; in 1.0 without one, by the destination."""
    given_bytes: int = 0
    """Given by queues since it was last seen to keep up."""


@dataclass(eq=False, slots=True, kw_only=True)
class Subscription:
    """One SUBSCRIBE. Compared by identity."""

    peer: Peer
    key: str
    serial: int
    destination: str
    ack: Ack
    head: bytes
    """The first lines of its MESSAGE frames."""
    is_of_queue: bool
    unacked: dict[str, RelayedMessage] = field(default_factory=dict)
    """By message-id, oldest first. Empty for a topic, which never delivers again."""

    def deliver(self, message: RelayedMessage) -> tuple[Peer, bytes, RelayedMessage]:
        """Return what to write to whom; remember the message if it must be acknowledged."""
        head = self.head
        if message.redelivered:
            head += b"redelivered:true\n"
        if self.ack is not Ack.AUTO:
            if self.is_of_queue:
                self.unacked[message.message_id] = message
            if self.peer.version is Version.V1_2:
                head += header_lines((("ack", self.ack_id(message.message_id)),), Version.V1_2)
        return self.peer, head, message

    def ack_id(self, message_id: str) -> str:
        """Return the name of a delivery for STOMP 1.2's ACK: unique on the connection."""
        return f"{self.serial}-{message_id}"

    def settle(self, message_id: str) -> list[RelayedMessage]:
        """Forget the message, and those before it if the mode says so; return them.

        It must be one of `unacked`.
        """
        if self.ack is Ack.INDIVIDUAL:
            return [self.unacked.pop(message_id)]
        done = []
        # Each is looked at once in its life: linear in the number of messages.
        while (oldest := next(iter(self.unacked))) != message_id:
            done.append(self.unacked.pop(oldest))
        done.append(self.unacked.pop(message_id))
        return done


def first_lines(version: Version, subscription_id: str | None) -> bytes:
    """Return how the MESSAGE frames of a subscription begin."""
    if subscription_id is None:
        return b"MESSAGE\n"
    return b"MESSAGE\n" + header_lines((("subscription", subscription_id),), version)
