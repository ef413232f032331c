"""Many HTTP clients in one thread: each sends the same request again as soon as it is answered."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from xmlrpc.client import dumps

Address = tuple[str, int] | str
"""Of TCP, or a Unix socket's path."""


@dataclass(slots=True, kw_only=True)
class Load:
    """What came of it."""

    answers: int = 0
    seconds: float = 0.0
    waits_ms: list[float] = field(default_factory=list)
    refused: int = 0
    """Answers that were none, and connections that were closed."""

    @property
    def rate(self) -> float:
        """Answers in a second."""
        return self.answers / self.seconds


def request(method: str, *params: object, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the whole of a call."""
    body = dumps(params, method).encode()
    lines = [
        "POST /RPC2 HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: text/xml",
        f"Content-Length: {len(body)}",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect(address: Address) -> socket.socket:
    """Return a connection."""
    kind = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    wire = socket.socket(kind, socket.SOCK_STREAM)
    wire.settimeout(30)
    wire.connect(address)
    if kind == socket.AF_INET:
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return wire


class _Client:
    def __init__(self, wire: socket.socket) -> None:
        self.wire = wire
        self.begun_s = 0.0
        self.got = b""

    def whole(self) -> bool:
        head, separator, rest = self.got.partition(b"\r\n\r\n")
        if not separator:
            return False
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        return len(rest) >= int(length or 0)


def load(
    address: Address, call: bytes, *, clients: int, seconds: float, pause_s: float = 0
) -> Load:
    """Call with so many clients for so long; `pause_s`: each waits between answer and call."""
    result = Load()
    selector = selectors.DefaultSelector()
    all_of_them = [_Client(connect(address)) for _ in range(clients)]
    begun_s = time.perf_counter()
    for client in all_of_them:
        selector.register(client.wire, selectors.EVENT_READ, client)
        _call(client, call)
    while all_of_them and time.perf_counter() - begun_s < seconds:
        for key, _ in selector.select(1):
            client = key.data
            if _answered(client, result):
                if pause_s:
                    time.sleep(pause_s)
                _call(client, call)
            elif client.wire.fileno() < 0:
                selector.unregister(key.fileobj if key.fd < 0 else key.fd)
                all_of_them.remove(client)
    result.seconds = time.perf_counter() - begun_s
    for client in all_of_them:
        client.wire.close()
    return result


def _call(client: _Client, call: bytes) -> None:
    client.got = b""
    client.begun_s = time.perf_counter()
    client.wire.sendall(call)


def _answered(client: _Client, result: Load) -> bool:
    try:
        octets = client.wire.recv(1 << 16)
    except OSError:
        octets = b""
    client.got += octets
    if not octets:
        result.refused += 1
        client.wire.close()
        return False
    if not client.whole():
        return False
    if not client.got.startswith(b"HTTP/1.1 200") or b"<fault>" in client.got:
        result.refused += 1
    result.answers += 1
    result.waits_ms.append((time.perf_counter() - client.begun_s) * 1000)
    return True
