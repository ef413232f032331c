"""Names of the STOMP destinations (seed 001), one place for both sides."""

from __future__ import annotations

from vmcontroller.common.model import GuestId

REQUESTS = "/topic/vmcontroller_requests"
"""Host to all guests."""

RESPONSES = "/topic/vmcontroller_responses"
"""Guests to host: PONG, results, files."""

CONNECTIONS = "/topic/vmcontroller_connections"
"""Guests to host: HELLO, STILL_ALIVE, BYE."""

BULK = "/topic/vmcontroller_bulk"
"""Host to one guest's connection for bulk: what files hold."""

EVENTS = "/topic/vmcontroller_events"
"""Host to monitors: what happens, as JSON. Guests have no business there."""

CONNECTION_KIND = "vmcontroller-connection"
"""The header of CONNECT that marks a guest's second connection: its value is then KIND_BULK.

Other brokers ignore it."""

KIND_BULK = "bulk"

GUEST_ID = "guest-id"
"""The header of CONNECTED in which the embedded broker tells a guest who it is."""


def requests_of(guest: GuestId) -> str:
    """Return the topic on which the host speaks to one guest.

    RabbitMQ and ActiveMQ take a dot as a separator of words and reserve the colon and the
    slash, so the MAC address goes in as twelve hex digits.
    """
    return f"{REQUESTS}.{_digits(guest)}"


def bulk_of(guest: GuestId) -> str:
    """Return the topic on which one guest's connection for bulk gets the bytes of files."""
    return f"{BULK}.{_digits(guest)}"


def _digits(guest: GuestId) -> str:
    return guest.replace(":", "").lower()
