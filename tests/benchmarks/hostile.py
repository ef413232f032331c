"""A guest that means harm: python -m tests.benchmarks.hostile KIND PORT LOGIN SECONDS."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time

from tests.benchmarks.broker_process import GUESTS_PASSCODE
from tests.benchmarks.stomp_clients import frame
from vmcontroller.common.destinations import CONNECTIONS, requests_of
from vmcontroller.common.model import guest_id


def connect(port: int, login: str) -> socket.socket:
    """Return a session, without waiting for the answer."""
    wire = socket.create_connection(("127.0.0.1", port), 5)
    wire.sendall(
        frame("CONNECT", accept_version="1.2", host="/", login=login, passcode=GUESTS_PASSCODE)
    )
    return wire


def flood(port: int, login: str) -> None:
    """Send a body of 64 MiB."""
    with connect(port, login) as wire:
        wire.sendall(f"SEND\ndestination:{CONNECTIONS}\ncontent-length:{64 << 20}\n\n".encode())
        for _ in range(64):
            wire.sendall(bytes(1 << 20))


def small_flood(port: int, login: str) -> None:
    """Send as many small frames as can be."""
    with connect(port, login) as wire:
        many = frame("SEND", b"AINT x", destination=CONNECTIONS) * 100
        while True:
            wire.sendall(many)


def deaf(port: int, login: str) -> None:
    """Subscribe, and never read."""
    with connect(port, login) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.sendall(frame("SUBSCRIBE", id="1", destination=requests_of(guest_id(login))))
        time.sleep(1)


def garbage(port: int, login: str) -> None:
    """Send what is no STOMP."""
    with connect(port, login) as wire:
        while True:
            wire.sendall(os.urandom(1 << 16))


def churn(port: int, login: str) -> None:
    """Come and go."""
    connect(port, login).close()


KINDS = {
    "64 MiB frames": flood,
    "small frames": small_flood,
    "stops reading": deaf,
    "garbage": garbage,
    "comes and goes": churn,
}


def main(kind: str, port: int, login: str, seconds: float) -> None:
    """Do it again and again; print how often."""
    end_s = time.monotonic() + seconds
    times = 0
    while time.monotonic() < end_s:
        with contextlib.suppress(OSError):
            KINDS[kind](port, login)
        times += 1
    print(times)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]))
