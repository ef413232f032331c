"""How much of everything one broker allows, so that no peer can use up the host."""

from __future__ import annotations

from dataclasses import dataclass, field

from vmcontroller.common.stomp.parser import Limits
from vmcontroller.host.broker.rates import Rates

MOST_CONNECTIONS = 4096
DESCRIPTORS_OF_OTHERS = 256
"""Files, XML-RPC clients, libvirt, the pipes of processes: what the broker leaves to them."""


def connections_within(descriptors: int) -> int:
    """Return how many connections a process may have that may open `descriptors` in all."""
    return max(1, min(MOST_CONNECTIONS, descriptors - DESCRIPTORS_OF_OTHERS))


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerLimits:
    """The defaults serve a host with a thousand guests."""

    frame: Limits = field(default_factory=Limits)
    connections: int = MOST_CONNECTIONS
    """TCP connections, with or without a session; the daemon's own do not count. More are closed at
    once. `connections_within` says how many the process has descriptors for."""
    connections_per_address: int = 16
    """From one IP address: an agent has one, a second while it copies, and few more while it
    reconnects; some have an address in common. More are refused,
    and closed at once when as many refused ones have not gone yet. Loopback is not counted: many
    agents and tunnels come from there."""
    arrivals_at_once: int = 40
    """Of new connections from one IP address that is counted; more are closed at once. Where one
    address may have all `connections` this is not looked at, either."""
    arrivals_per_s: float = 4.0
    """The same, on average. An agent comes five times in two seconds at most, then ever less often:
    eight of one address are never refused for this."""
    takeovers_at_once: int = 20
    """Logins that end an older session of the same guest; more are refused, and the older stays."""
    takeovers_per_s: float = 2.0
    """The same, on average."""
    subscriptions: int = 100
    """Of one connection."""
    outbox_bytes: int = 8 << 20
    """What may wait for one peer. More: a guest is told and dropped; for the host itself the
    senders are not read until half of it is gone."""
    rates: Rates = field(default_factory=Rates)
    """Of a guest, whichever its connection. Who sends more is not read for as long."""
    bulk_rates: Rates = field(
        default_factory=lambda: Rates(bytes_per_s=1 << 30, burst_bytes=2 << 30)
    )
    """Of a guest's connection for bulk, apart: there the host says how much may come (FILE_CREDIT),
    and what comes beyond that ends the copy. A copy is as fast as disks and processors are."""
    burst_bytes: int = 256 << 10
    """What a queue gives to one consumer before it looks whether the consumer keeps up."""
    unacked_messages: int = 1000
    """Of a queue, delivered to one subscription and not acknowledged; then the queue waits."""
    refusals: int = 3
    """NACKs of one message of a queue; then it is dropped."""
    transactions: int = 10
    """Open at once on one connection."""
    transaction_frames: int = 1000
    """Held in all transactions of one connection until their COMMIT."""
    transaction_bytes: int = 4 << 20
    """Of the same, with what each frame costs beside its body; half of `outbox_bytes`, so that a
    COMMIT alone makes nobody too slow."""
    queue_messages: int = 10_000
    """Waiting in one queue."""
    queue_bytes: int = 64 << 20
    """In all queues together, waiting or not acknowledged, with what each costs beside its body;
    and as much again in all transactions together."""
    connect_s: float = 10.0
    """Until CONNECT must have come (RabbitMQ waits as long)."""
    heart_beat_s: float = 1.0
    """The shortest interval of heart-beats promised to a peer and asked of it; in effect the
    peer's own wish decides."""
    log_interval_s: float = 10.0
    """Of what a peer can cause again and again, one address gets one line of a kind in this time
    (loopback 100); the next line says how many were left out."""
    linger_s: float = 2.0
    """For the peer to read our last frame and close; then the connection is cut."""
    linger_bytes: int = 8 << 20
    """What is read, and ignored, of what the peer sends meanwhile; then it is not read any more."""
