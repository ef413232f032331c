"""A guest that means harm: python -m tests.benchmarks.hostile KIND PORT LOGIN SECONDS [ADDRESS].

Of the broker; without ADDRESS it is loopback.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import time

from tests.benchmarks.broker_process import GUESTS_PASSCODE
from tests.benchmarks.stomp_clients import LOOPBACK, frame
from vmcontroller.common.destinations import CONNECTIONS, requests_of
from vmcontroller.common.model import guest_id

Where = tuple[str, int]
CLOSED_PORT = 9


def connect(at: Where, login: str) -> socket.socket:
    """Return a session, without waiting for the answer."""
    wire = socket.create_connection(at, 5)
    wire.sendall(
        frame("CONNECT", accept_version="1.2", host="/", login=login, passcode=GUESTS_PASSCODE)
    )
    return wire


def flood(at: Where, login: str) -> None:
    """Send a body of 64 MiB."""
    with connect(at, login) as wire:
        wire.sendall(f"SEND\ndestination:{CONNECTIONS}\ncontent-length:{64 << 20}\n\n".encode())
        for _ in range(64):
            wire.sendall(bytes(1 << 20))


def small_flood(at: Where, login: str) -> None:
    """Send as many small frames as can be."""
    with connect(at, login) as wire:
        many = frame("SEND", b"AINT x", destination=CONNECTIONS) * 100
        while True:
            wire.sendall(many)


def deaf(at: Where, login: str) -> None:
    """Subscribe, and never read."""
    with connect(at, login) as wire:
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wire.sendall(frame("SUBSCRIBE", id="1", destination=requests_of(guest_id(login))))
        time.sleep(1)


def garbage(at: Where, login: str) -> None:
    """Send what is no STOMP."""
    with connect(at, login) as wire:
        while True:
            wire.sendall(os.urandom(1 << 16))


def churn(at: Where, login: str) -> None:
    """Come and go."""
    connect(at, login).close()


def steady_churn(at: Where, login: str) -> None:
    """Come and go, a thousand times a second at most."""
    begun_s = time.monotonic()
    churn(at, login)
    time.sleep(max(0.0, begun_s + 1e-3 - time.monotonic()))


def in_vain(at: Where, login: str) -> None:
    """Come where nobody listens: what this costs, the broker has no part in."""
    connect((at[0], CLOSED_PORT), login).close()


KINDS = {
    "64 MiB frames": flood,
    "small frames": small_flood,
    "stops reading": deaf,
    "garbage": garbage,
}
CHURNS = {
    "comes and goes, 1,000 a second": steady_churn,
    "comes and goes without pause": churn,
    "comes to a closed port": in_vain,
}


def main(kind: str, at: Where, login: str, seconds: float) -> None:
    """Do it again and again; print how often."""
    end_s = time.monotonic() + seconds
    times = 0
    while time.monotonic() < end_s:
        with contextlib.suppress(OSError):
            (KINDS | CHURNS)[kind](at, login)
        times += 1
    print(times)


if __name__ == "__main__":
    where = sys.argv[5] if len(sys.argv) > 5 else LOOPBACK
    main(sys.argv[1], (where, int(sys.argv[2])), sys.argv[3], float(sys.argv[4]))
