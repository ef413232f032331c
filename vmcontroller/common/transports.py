"""What every TCP connection of ours wants of its transport."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import INegotiated, ITCPTransport


def send_at_once(transport: object) -> None:
    """Switch Nagle's algorithm off where there is one.

    Small answers would wait for the peer's delayed acknowledgement: 40 ms each on loopback
    (measured: runCmd of /bin/echo and waitCmd took 90 ms, most of it two such waits).
    """
    if ITCPTransport.providedBy(transport):
        transport.setTcpNoDelay(True)


WIDE_BYTES = 1 << 20


def widen(transport: Any) -> None:
    """Let a transport read and write more at once, for a connection on which files are copied.

    Twisted's 64 and 128 KiB make each MiB a dozen turns of the reactor: more than hashing it costs.
    """
    transport = getattr(transport, "transport", transport)  # what TLS is laid over
    transport.bufferSize = WIDE_BYTES
    transport.SEND_LIMIT = 2 * WIDE_BYTES


def say_no_more(transport: Any) -> None:
    """Tell the peer that nothing more will come; it may read all that was written before.

    TLS has no half of a connection that could be closed: it is closed when all has been written.
    """
    if INegotiated.providedBy(transport):
        transport.loseConnection()
    else:
        transport.loseWriteConnection()
