"""Octets to and from the broker, as somebody hostile writes them; frames are read, not checked."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from typing import Any, Self

from vmcontroller.common.stomp.frames import Frame, Version
from vmcontroller.common.stomp.parser import Parser

DEADLINE_S = 60
CONNECTIONS = "/topic/vmcontroller_connections"
RESPONSES = "/topic/vmcontroller_responses"
REQUESTS = "/topic/vmcontroller_requests"
OF_PRESENCE = ("HELLO", "BYE", "STILL_ALIVE")


def frame(command: str, headers: Iterable[tuple[str, str]] = (), body: bytes = b"") -> bytes:
    """Return a frame with just these headers, unescaped, and this body."""
    lines = "".join(f"{name}:{value}\n" for name, value in headers).encode("utf-8", "replace")
    return command.encode() + b"\n" + lines + b"\n" + body + b"\0"


def connect(login: str, passcode: str, **more: str) -> bytes:
    """Return the octets of CONNECT."""
    fields = {"accept-version": "1.2", "host": "/", "login": login, "passcode": passcode, **more}
    return frame("CONNECT", fields.items())


def word(name: str, fields: Any = None, payload: bytes | None = None) -> bytes:
    """Return the body of a word; `fields` are any JSON, or bytes that may be none."""
    body = name.encode()
    if fields is not None:
        body += b" " + (fields if isinstance(fields, bytes) else json.dumps(fields).encode())
    return body if payload is None else body + b"\n" + payload


class Wire:
    """One connection."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), DEADLINE_S)
        self._parser = Parser()  # of 1.0 until CONNECTED, as an ERROR before it is written

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def write(self, octets: bytes) -> None:
        """Write all of it."""
        self.socket.settimeout(DEADLINE_S)
        self.socket.sendall(octets)

    def log_in(self, login: str, passcode: str) -> Frame:
        """Say CONNECT and return what the broker answers."""
        self.write(connect(login, passcode))
        return self.frame()

    def send(self, destination: str, body: bytes, **headers: str) -> None:
        """Send a message; an underscore in the name of a header is a hyphen."""
        named = [("destination", destination), ("content-length", str(len(body)))]
        named += [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.write(frame("SEND", named, body))

    def say(self, name: str, fields: Any = None, payload: bytes | None = None, **headers: str):
        """Say a word where it belongs."""
        where = CONNECTIONS if name in OF_PRESENCE else RESPONSES
        self.send(where, word(name, fields, payload), **headers)

    def subscribe(self, destination: str, own_id: str = "1") -> None:
        """Subscribe, with a receipt."""
        headers = (("id", own_id), ("destination", destination), ("receipt", f"r-{own_id}"))
        self.write(frame("SUBSCRIBE", headers))

    def frame(self, deadline_s: float = DEADLINE_S) -> Frame:
        """Return the next frame; fails when none comes."""
        found = self.next_frame(deadline_s)
        assert found is not None, "the broker has hung up"
        return found

    def next_frame(self, deadline_s: float = DEADLINE_S) -> Frame | None:
        """Return the next frame; None at the end of the connection, TimeoutError without one."""
        deadline = time.monotonic() + deadline_s
        while (found := self._parser.next_frame()) is None:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionError:
                return None
            if not data:
                return None
            self._parser.push(data)
        if found.command == "CONNECTED":
            self._parser.version = Version.V1_2
        return found

    def hear(self, name: str) -> Frame:
        """Return the next message with this word; others that come before are left out."""
        while True:
            found = self.frame()
            assert found.command in {"MESSAGE", "RECEIPT"}, found
            if found.body.split(b"\n")[0].split(b" ")[0] == name.encode():
                return found

    def until_closed(self) -> list[Frame]:
        """Return what still comes until the broker hangs up, which it must."""
        frames = []
        while (found := self.next_frame()) is not None:
            frames.append(found)
        return frames


def fields_of(message: Frame) -> dict[str, Any]:
    """Return the JSON of a word."""
    _, _, text = message.body.split(b"\n", 1)[0].partition(b" ")
    return json.loads(text)
