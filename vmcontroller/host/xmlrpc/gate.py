"""What stands between a connection and the API: who may come in, and what they are told if not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from vmcontroller.host.callers import Caller


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who is at the other end of a connection, as the system says."""

    key: str
    """Connections that have the same are one client's."""
    address: str
    """For the log."""
    uid: int = -1
    """The account of a process on the Unix socket; -1 elsewhere."""
    gids: frozenset[int] = frozenset()
    """And its groups."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a request is not let in: what HTTP says of it."""

    status: str
    """The code and its name."""
    text: str
    """A line for people."""
    headers: Sequence[tuple[str, str]] = field(default=())

    def response(self) -> bytes:
        """Return all of the response; the connection ends with it."""
        body = f"{self.text}\n".encode("utf-8", "replace")
        lines = [
            f"HTTP/1.1 {self.status}",
            "Content-Type: text/plain; charset=utf-8",
            "Connection: close",
            f"Content-Length: {len(body)}",
            *(f"{name}: {value}" for name, value in self.headers),
        ]
        return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + body


class RequestHead(Protocol):
    """What of a request is there before its body (twisted.web.http.Request)."""

    @property
    def requestHeaders(self) -> Any: ...


Verdict = Caller | Refusal


class Gate(Protocol):
    """Decides who comes in; knows nothing of XML."""

    def peer_of(self, transport: Any) -> Peer:
        """Return who has connected."""
        ...

    def admit(self, head: RequestHead, peer: Peer, transport: Any) -> Verdict | Deferred[Verdict]:
        """Return who makes this request, or why it is refused; at once where that is possible."""
        ...
