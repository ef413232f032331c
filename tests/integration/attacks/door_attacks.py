"""What is sent to the door by those who mean harm: the shapes, without what is expected of them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

MIB = 1 << 20
CALL = b"<methodCall><methodName>version</methodName></methodCall>"


def head(*lines: str, verb: str = "POST", host: str = "127.0.0.1") -> bytes:
    """Return the head of a request."""
    usual = [f"{verb} /RPC2 HTTP/1.1", f"Host: {host}", "Content-Type: text/xml"]
    return "\r\n".join([*usual, *lines, "", ""]).encode("latin-1")


def of_length(body: bytes, *lines: str) -> bytes:
    """Return a whole request."""
    return head(f"Content-Length: {len(body)}", *lines) + body


def entity_body() -> bytes:
    """Return a body of 1 MB that becomes 90 MB: one entity, named ninety times."""
    entity = "x" * 1_000_000
    return (
        f'<!DOCTYPE a [<!ENTITY e "{entity}">]><methodCall><methodName>version</methodName><params>'
        f"<param><value><string>{'&e;' * 90}</string></value></param></params></methodCall>"
    ).encode()


def billion_laughs() -> bytes:
    """Return a few hundred bytes that become gigabytes."""
    nested = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    return (
        f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e0 "lol">{nested}]><methodCall>'
        "<methodName>&e9;</methodName></methodCall>"
    ).encode()


def nested(levels: int) -> bytes:
    """Return arrays within arrays."""
    begin, end = "<value><array><data>" * levels, "</data></array></value>" * levels
    return (
        f"<methodCall><methodName>version</methodName><params><param>{begin}{end}</param></params>"
        "</methodCall>"
    ).encode()


def send_endlessly(wire: socket.socket, announced: bytes, most_bytes: int) -> tuple[int, bytes]:
    """Send a head and then bytes, until nobody takes them; return how many, and the answer."""
    wire.sendall(announced)
    sent = 0
    piece = b" " * MIB
    with contextlib.suppress(OSError):
        while sent < most_bytes:
            sent += wire.send(piece[: most_bytes - sent])
    with contextlib.suppress(OSError):
        return sent, wire.recv(1 << 16)
    return sent, b""


@contextlib.contextmanager
def slow_connections(
    address: tuple[str, int], count: int, piece: bytes
) -> Iterator[list[socket.socket]]:
    """Hold so many connections open, each with the beginning of a request."""
    with contextlib.ExitStack() as stack:
        wires = []
        for _ in range(count):
            wire = stack.enter_context(socket.create_connection(address, 30))
            with contextlib.suppress(OSError):
                wire.sendall(piece)
            wires.append(wire)
        yield wires
