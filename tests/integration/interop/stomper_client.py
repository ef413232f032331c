"""A plain exchange with stomper, the codec that VMController once had; it does no I/O itself."""

from __future__ import annotations

import socket
import sys

from stomper import stomp_10, stomp_11
from stomper.stompbuffer import StompBuffer

from tests.integration.interop.program import LOGIN, PASSCODE, WAIT_S, Result, main

CODECS = {"1.0": stomp_10, "1.1": stomp_11}


class Line:
    def __init__(self, port) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT_S)
        self.buffer = StompBuffer()

    def say(self, frame) -> None:
        self.socket.sendall((frame.pack() if hasattr(frame, "pack") else frame).encode())

    def hear(self):
        while (message := self.buffer.getOneMessage()) is None:
            data = self.socket.recv(65536)
            assert data, "the broker has hung up"
            # It waits for a line end after each frame, which STOMP leaves to the sender; our broker
            # sends one to speakers of 1.0.
            data = data.replace(b"\0\n", b"\0").replace(b"\0", b"\0\n")
            self.buffer.appendData(data.decode("latin-1"))
        return message


def exchange(port, version, name) -> Result:
    """Log in, subscribe, be an Engine for what comes, and unsubscribe."""
    codec, line, topic = CODECS[version], Line(port), f"/topic/{name}"
    engine = codec.Engine(testing=True)
    if version == "1.0":
        line.say(codec.connect(LOGIN, PASSCODE))
        subscribe, end = codec.subscribe(topic, "client"), codec.unsubscribe(topic)
    else:
        line.say(codec.connect(LOGIN, PASSCODE, "/"))
        subscribe, end = codec.subscribe(topic, "7", "client"), codec.unsubscribe("7")
    connected = line.hear()
    engine.react(connected)
    line.say(subscribe)
    got = []
    for body in ("one", "two\nlines", "end"):
        line.say(codec.send(topic, body))
        message = line.hear()
        got.append(message["body"])
        line.say(engine.react(message))  # an ACK
    line.say(end)
    line.say(codec.send(topic, "unheard"))
    # The session goes on after all of that: a last receipt says so.
    frame = codec.Frame()
    frame.unpack("SEND\ndestination:/topic/x\nreceipt:last\n\nx\x00\n")
    line.say(frame)
    receipt = line.hear()
    reaction = engine.react(receipt)
    return {"got": got, "reaction": reaction, "receipt": receipt["headers"]["receipt-id"]}


if __name__ == "__main__":
    sys.exit(main((exchange,)))
