"""A TCP proxy on loopback that does to a connection what bad networks do. Threads, no reactor."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

BUFFER_BYTES: Final = 1 << 16
Way = Callable[[socket.socket, bytes], None]
"""How octets that have come are passed on."""


def straight(to: socket.socket, data: bytes) -> None:
    """Pass all of it on at once."""
    to.sendall(data)


def split(to: socket.socket, data: bytes) -> None:
    """Write octet by octet, as far as there are few; of many, the first and the last ones."""
    to.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    first, middle, last = data[:200], data[200:-200], data[200:][-200:]
    for octet in first:
        to.sendall(bytes([octet]))
    for start in range(0, len(middle), 1447):  # no power of two, no size of a segment
        to.sendall(middle[start : start + 1447])
    for octet in last:
        to.sendall(bytes([octet]))


def delayed(seconds: float) -> Way:
    """Return a way on which each piece takes so long."""

    def way(to: socket.socket, data: bytes) -> None:
        time.sleep(seconds)
        to.sendall(data)

    return way


class Merging:
    """Keeps what comes until there is much of it, or nothing more for a moment."""

    def __init__(self, most_bytes: int = 300_000, wait_s: float = 0.02) -> None:
        self._most_bytes = most_bytes
        self._wait_s = wait_s
        self._kept: dict[socket.socket, bytearray] = {}
        self._lock = threading.Lock()

    def __call__(self, to: socket.socket, data: bytes) -> None:
        with self._lock:
            kept = self._kept.setdefault(to, bytearray())
            kept += data
            if len(kept) == len(data):
                threading.Timer(self._wait_s, self._flush, (to,)).start()
            full = len(kept) >= self._most_bytes
        if full:
            self._flush(to)

    def _flush(self, to: socket.socket) -> None:
        with self._lock:
            data = self._kept.pop(to, b"")
            if data:
                with contextlib.suppress(OSError):
                    to.sendall(data)


@dataclass(eq=False, slots=True)
class Pair:
    """One connection through the proxy."""

    client: socket.socket
    server: socket.socket
    first: bytes = b""
    """What the client said first: its CONNECT."""
    ways_open: int = 2

    def cut(self) -> None:
        """Reset both ends."""
        for end in (self.client, self.server):
            with contextlib.suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class Proxy:
    """Listens on `port` and passes on to `to_port`, in the way that `way` is at the time."""

    def __init__(self, to_port: int) -> None:
        self.way: Way = straight
        self.swallowing = False
        """Nothing is passed on in either direction, and nobody is told."""
        self.pairs: list[Pair] = []
        self._to_port = to_port
        self._cut_after_bytes = 0
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listening.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept no more, and cut what there is."""
        # Only a shutdown wakes a thread that waits in accept.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    def cut(self) -> None:
        """Cut all connections now."""
        for pair in self.pairs:
            pair.cut()
        self.pairs = []

    def cut_after(self, octets: int) -> None:
        """Cut when so many more octets have been passed on, wherever in a frame that is."""
        with self._lock:
            self._cut_after_bytes = octets

    @property
    def cut_is_due(self) -> bool:
        """Whether a cut that was asked for has still to come."""
        return bool(self._cut_after_bytes)

    def replay(self) -> socket.socket:
        """Say the newest client's first octets, its login, again on a connection of our own."""
        copy = socket.create_connection(("127.0.0.1", self._to_port))
        copy.sendall(self.pairs[-1].first)
        return copy

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._to_port))
            except OSError:
                client.close()
                continue
            pair = Pair(client, server)
            self.pairs = [*self.pairs[-3:], pair]
            for source, to in ((client, server), (server, client)):
                threading.Thread(target=self._carry, args=(pair, source, to), daemon=True).start()

    def _carry(self, pair: Pair, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(BUFFER_BYTES):
                if source is pair.client and not pair.first:
                    pair.first = data
                if self.swallowing:
                    continue
                left = self._left(len(data))
                self.way(to, data[:left])
                if left < len(data):
                    pair.cut()
                    break
            if not self.swallowing:
                to.shutdown(socket.SHUT_WR)
        with self._lock:
            pair.ways_open -= 1
        if not pair.ways_open:
            pair.cut()

    def _left(self, octets: int) -> int:
        """Return how many of so many octets may still pass."""
        with self._lock:
            if not self._cut_after_bytes or self._cut_after_bytes > octets:
                self._cut_after_bytes = max(0, self._cut_after_bytes - octets)
                return octets
            left, self._cut_after_bytes = self._cut_after_bytes - 1, 0
            return left
