"""What scenarios.py says, with stompest's synchronous client."""

from __future__ import annotations

import contextlib
import sys
import time

from stompest.config import StompConfig
from stompest.error import StompConnectionError, StompProtocolError
from stompest.sync import Stomp

from tests.integration.interop.program import LOGIN, OCTETS, PASSCODE, WAIT_S, Result, main, say


class Client:
    def __init__(self, port, version, beats=None, passcode=PASSCODE) -> None:
        uri = f"tcp://127.0.0.1:{port}"
        self.version = version
        self.stomp = Stomp(StompConfig(uri, LOGIN, passcode, version=version))
        self.stomp.connect(host="/", heartBeats=beats, connectedTimeout=WAIT_S)

    def subscribe(self, destination, ack="auto", own_id="1"):
        headers = {"ack": ack} if self.version == "1.0" else {"ack": ack, "id": own_id}
        token = self.stomp.subscribe(destination, headers, receipt=f"subscribed-{own_id}")
        self.receipt()
        return token

    def frame(self, command):
        assert self.stomp.canRead(WAIT_S), f"no {command}"
        frame = self.stomp.receiveFrame()
        assert frame.command == command, frame.info()
        return frame

    def text(self) -> str:
        return self.frame("MESSAGE").body.decode()

    def until_end(self) -> list[str]:
        return list(iter(self.text, "end"))

    def receipt(self) -> str:
        assert self.stomp.canRead(WAIT_S), "no RECEIPT"
        frame = self.stomp.receiveFrame()
        if frame.command == "MESSAGE":  # one that was refused may come again before
            return self.receipt()
        self.stomp.receipt(frame)
        return frame.headers["receipt-id"]

    def end(self) -> str:
        self.stomp.disconnect(receipt="bye")
        receipt = self.receipt()
        self.stomp.close()
        return receipt


def binary(port, version, name) -> Result:
    client = Client(port, version)
    client.subscribe(f"/topic/{name}")
    client.stomp.send(
        f"/topic/{name}", OCTETS, {"mac": "52:54:00:aa:bb:cc", "content-length": "256"}
    )
    frame = client.frame("MESSAGE")
    client.end()
    return {"body": frame.body.hex(), "mac": frame.headers["mac"]}


def receipt(port, version, name) -> Result:
    client = Client(port, version)
    client.stomp.send(f"/topic/{name}", b"x", receipt="r-1")
    return {"receipts": [client.receipt(), client.end()]}


def unsubscribe(port, version, name) -> Result:
    client = Client(port, version)
    token = client.subscribe(f"/topic/{name}")
    client.stomp.send(f"/topic/{name}", b"one")
    got = [client.text()]
    client.stomp.unsubscribe(token)
    client.stomp.send(f"/topic/{name}", b"two")
    client.subscribe(f"/topic/{name}-end", own_id="2")
    client.stomp.send(f"/topic/{name}-end", b"end")
    got += client.until_end()
    client.end()
    return {"got": got}


def refused(port, version, name) -> Result:
    client = Client(port, version)
    client.stomp.subscribe("/topic/forbidden", {} if version == "1.0" else {"id": "1"})
    error = client.frame("ERROR").headers["message"]
    try:
        closed = client.stomp.canRead(WAIT_S) and not client.stomp.receiveFrame()
    except StompConnectionError:
        closed = True
    return {"error": error, "closed": closed}


def login(port, version, name) -> Result:
    try:
        Client(port, version, passcode="wrong")
    except StompProtocolError as error:
        return {"error": str(error).replace("'wrong'", "")}
    return {}


def ack(port, version, name, mode="client") -> Result:
    client = Client(port, version)
    for body in (b"1", b"2", b"3"):
        client.stomp.send(f"/queue/{name}", body)
    headers = {"ack": mode} if version == "1.0" else {"ack": mode, "id": "1"}
    client.stomp.subscribe(f"/queue/{name}", headers)
    frames = [client.frame("MESSAGE") for _ in range(3)]
    client.stomp.ack(frames[1], receipt="answered")
    client.receipt()
    client.end()
    again = Client(port, version)
    again.stomp.send(f"/queue/{name}", b"end")
    again.stomp.subscribe(f"/queue/{name}", {"ack": "auto", "id": "1"})
    result = {"first": [frame.body.decode() for frame in frames], "again": again.until_end()}
    again.end()
    return result


def ack_individual(port, version, name) -> Result:
    return ack(port, version, name, "client-individual")


def nack(port, version, name) -> Result:
    client = Client(port, version)
    client.stomp.subscribe(f"/queue/{name}", {"ack": "client-individual", "id": "1"})
    client.stomp.nack(client.frame("MESSAGE"), receipt="answered")
    client.receipt()
    client.end()
    return {"nacked": True}


def transaction(port, version, name) -> Result:
    client = Client(port, version)
    client.subscribe(f"/topic/{name}")
    topic, send = f"/topic/{name}", client.stomp.send
    client.stomp.begin("t1")
    send(topic, b"a", {"transaction": "t1"})
    send(topic, b"outside")
    send(topic, b"b", {"transaction": "t1"})
    got = [client.text()]
    client.stomp.commit("t1")
    client.stomp.begin("t2")
    send(topic, b"aborted", {"transaction": "t2"})
    client.stomp.abort("t2")
    send(topic, b"end")
    got += client.until_end()
    client.end()
    return {"got": got}


def heart_beat(port, version, name) -> Result:
    client = Client(port, version, beats=(500, 500))
    client.subscribe(f"/topic/{name}")
    until = time.monotonic() + 2.5
    while time.monotonic() < until:  # beating is up to whoever uses this library
        assert not client.stomp.canRead(0.2)
        client.stomp.beat()
    client.stomp.send(f"/topic/{name}", b"alive")
    return {"got": [client.text()], "bye": client.end()}


def hold(port, version, name) -> Result:
    beats = None if version == "1.0" else (500, 500)
    client = Client(port, version, beats=beats)
    mode = "client" if version == "1.0" else "client-individual"
    client.stomp.subscribe(f"/queue/{name}", {"ack": mode, "id": "1"})
    say(client.text())
    with contextlib.suppress(StompConnectionError):
        while True:
            client.stomp.canRead(0.2)
            if beats:
                client.stomp.beat()
    return {}


SCENARIOS = (
    *(binary, receipt, unsubscribe, refused, login),
    *(ack, ack_individual, nack, transaction, heart_beat, hold),
)

if __name__ == "__main__":
    sys.exit(main(SCENARIOS))
