"""A STOMP client as plain as can be: frames to and from a blocking socket, for tests."""

from __future__ import annotations

import socket
import time
from typing import Any, Self

from vmcontroller.common.stomp.frames import Frame, Version, encode
from vmcontroller.common.stomp.parser import Parser

DEADLINE_S = 30


class RawStomp:
    """One session. Whatever the broker answers but what is awaited fails the test."""

    def __init__(
        self, port: int, *, login: str = "", passcode: str = "", version: str = "1.2"
    ) -> None:
        self.version = Version(version)
        self._early: list[Frame] = []
        self._parser = Parser()
        self._parser.version = self.version
        self._socket = socket.create_connection(("127.0.0.1", port), 5)
        try:
            self.say(
                "CONNECT",
                ("accept-version", version),
                ("host", "/"),
                ("login", login),
                ("passcode", passcode),
            )
            self.hear("CONNECTED")
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def say(self, command: str, *headers: tuple[str, str], body: bytes = b"") -> None:
        """Send one frame."""
        version = Version.V1_0 if command == "CONNECT" else self.version
        self._socket.sendall(encode(Frame(command, headers, body), version))

    def subscribe(self, destination: str, *headers: tuple[str, str], own_id: str = "1") -> None:
        """Subscribe, and return when the broker has confirmed it."""
        receipt = f"subscribed-{own_id}"
        self.say(
            "SUBSCRIBE",
            ("id", own_id),
            ("destination", destination),
            ("receipt", receipt),
            *headers,
        )
        early = []
        while (frame := self.next_frame(DEADLINE_S)) is not None and frame.command == "MESSAGE":
            early.append(frame)  # what waited in a queue may come first
        assert frame is not None, "no RECEIPT"
        assert (frame.command, frame.header("receipt-id")) == ("RECEIPT", receipt), frame
        self._early += early

    def send(self, destination: str, body: bytes = b"", *headers: tuple[str, str]) -> None:
        """Send a message."""
        self.say("SEND", ("destination", destination), *headers, body=body)

    def hear(self, command: str, deadline_s: float = DEADLINE_S) -> Any:
        """Return the next frame, which must be of this kind."""
        frame = self.next_frame(deadline_s)
        assert frame is not None, f"no {command} within {deadline_s} s"
        assert frame.command == command, f"{frame.command} instead of {command}: {frame}"
        return frame

    def next_frame(self, deadline_s: float) -> Frame | None:
        """Return the next frame; None when none comes in time or the broker hangs up."""
        if self._early:
            return self._early.pop(0)
        deadline = time.monotonic() + deadline_s
        while (frame := self._parser.next_frame()) is None:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return None
            self._socket.settimeout(left_s)
            try:
                data = self._socket.recv(65536)
            except TimeoutError:
                return None
            if not data:
                return None
            self._parser.push(data)
        return frame
