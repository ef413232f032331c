"""How much of everything one broker allows, so that no peer can use up the host."""

from __future__ import annotations

from dataclasses import dataclass, field

from vmcontroller.common.stomp.parser import Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLimits:
    """The defaults serve a host with a thousand guests."""

    frame: Limits = field(default_factory=Limits)
    connections: int = 4096
    """TCP connections, with or without a session; the daemon's own do not count."""
    subscriptions: int = 100
    """Of one connection."""
    outbox_bytes: int = 8 << 20
    """What may wait for one peer. More: a guest is told and dropped; for the host itself the
    senders are not read until half of it is gone."""
    burst_bytes: int = 256 << 10
    """What a queue gives to one consumer before it looks whether the consumer keeps up."""
    unacked_messages: int = 1000
    """Delivered to one subscription and not acknowledged; a queue waits, a topic gives up."""
    queue_messages: int = 10_000
    """Waiting in one queue."""
    queue_bytes: int = 64 << 20
    """In all queues together, waiting or not acknowledged, with what each costs beside its body."""
    connect_s: float = 10.0
    """Until CONNECT must have come (RabbitMQ waits as long)."""
    heart_beat_s: float = 1.0
    """The shortest interval of heart-beats promised to a peer and asked of it; in effect the
    peer's own wish decides."""
    linger_s: float = 2.0
    """For the peer to read our last frame and close; then the connection is cut."""
