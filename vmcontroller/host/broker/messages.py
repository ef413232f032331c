"""A message on its way through the broker, encoded once for each version that hears it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import FRAME_END, Frame, Version, header_lines

REPLACED: Final = frozenset(
    (
        *("destination", "message-id", "subscription", "ack", "redelivered"),
        *("content-length", "receipt", "transaction"),
    )
)
"""Headers of a SEND that its MESSAGE says anew, or that were for the broker only."""

_COST_BYTES: Final = 1000
"""What a waiting message costs beside its body, roughly measured: objects, headers, slots."""


def cost_bytes(headers: Iterable[tuple[str, str]], body: bytes) -> int:
    """Return what a message or a frame takes in memory, roughly."""
    return _COST_BYTES + len(body) + sum(len(name) + len(value) for name, value in headers)


class RelayedMessage:
    """What one SEND becomes. `tail` is the same for all subscriptions; their own part precedes it.

    `is_bulk` says that it came by a guest's connection for bulk. `redelivered` is true once a
    consumer has had it and not acknowledged; `refused_by` are the serials of the subscriptions
    that refused it (NACK).
    """

    __slots__ = (
        "_cost_bytes",
        "_tails",
        "body",
        "destination",
        "headers",
        "is_bulk",
        "message_id",
        "redelivered",
        "refused_by",
        "serial",
    )

    def __init__(
        self,
        destination: str,
        serial: int,
        frame: Frame,
        sender: str | None,
        *,
        is_bulk: bool = False,
    ) -> None:
        message_id = f"{destination}_{serial}"
        own = [("message-id", message_id), ("destination", destination)]
        if sender is None:
            theirs = [h for h in frame.headers if h[0] not in REPLACED]
        else:
            own.append(("from", sender))
            theirs = [h for h in frame.headers if h[0] not in REPLACED and h[0] != "from"]
        self.serial = serial
        self.destination = destination
        self.message_id = message_id
        self.is_bulk = is_bulk
        self.redelivered = False
        self.refused_by: tuple[int, ...] = ()
        self.headers = own + theirs
        self.body = frame.body
        self._tails: dict[Version, bytes] = {}
        self._cost_bytes = 0

    @property
    def cost_bytes(self) -> int:
        """What it takes in memory, roughly. Only queues ask."""
        if not self._cost_bytes:
            self._cost_bytes = cost_bytes(self.headers, self.body)
        return self._cost_bytes

    def tail(self, version: Version) -> bytes:
        """Return the octets from the message-id to the NUL."""
        tail = self._tails.get(version)
        if tail is None:
            headers = self.headers
            try:
                lines = header_lines(headers, version)
            except ProtocolError:
                # 1.0 has no escapes. A header must not be lost nor make new ones, so it is written
                # as 1.1 would.
                lines = header_lines(headers, Version.V1_1)
            body = self.body
            length = b"content-length:%d\n\n" % len(body)
            # Formatting would take more memory than a large body needs, and give it back.
            tail = b"".join((lines, length, body, FRAME_END[version]))
            self._tails[version] = tail
        return tail
