"""What scenarios.py says, with stomp.py."""

from __future__ import annotations

import queue
import sys
import threading

import stomp

from tests.integration.interop.program import LOGIN, OCTETS, PASSCODE, WAIT_S, Result, main, say

KINDS = {"1.0": stomp.Connection10, "1.1": stomp.Connection11, "1.2": stomp.Connection12}


class Listener(stomp.ConnectionListener):
    """Keeps what comes, for the thread that waits for it."""

    def __init__(self) -> None:
        self.messages: queue.Queue = queue.Queue()
        self.receipts: queue.Queue = queue.Queue()
        self.errors: queue.Queue = queue.Queue()
        self.gone = threading.Event()

    def on_message(self, frame) -> None:
        self.messages.put(frame)

    def on_receipt(self, frame) -> None:
        self.receipts.put(frame.headers["receipt-id"])

    def on_error(self, frame) -> None:
        self.errors.put(frame.headers.get("message", ""))

    def on_disconnected(self) -> None:
        self.gone.set()


class Client:
    def __init__(self, port, version, beats=(0, 0), passcode=PASSCODE) -> None:
        self.version = version
        more = {} if version == "1.0" else {"heartbeats": beats}
        self.connection = KINDS[version](
            [("127.0.0.1", port)], auto_decode=False, reconnect_attempts_max=1, **more
        )
        self.heard = Listener()
        self.connection.set_listener("", self.heard)
        self.connection.connect(LOGIN, passcode, wait=True)

    def subscribe(self, destination, ack="auto", own_id="1") -> None:
        receipt = f"subscribed-{own_id}"
        self.connection.subscribe(destination, own_id, ack, headers={"receipt": receipt})
        assert self.receipt() == receipt

    def message(self):
        return self.heard.messages.get(timeout=WAIT_S)

    def text(self) -> str:
        return self.message().body.decode()

    def until_end(self) -> list[str]:
        return list(iter(self.text, "end"))

    def receipt(self) -> str:
        return self.heard.receipts.get(timeout=WAIT_S)

    def answer(self, frame, *, good=True) -> None:
        verb = self.connection.ack if good else self.connection.nack
        if self.version == "1.2":
            verb(frame.headers["ack"], receipt="answered")
        elif self.version == "1.1":
            verb(frame.headers["message-id"], frame.headers["subscription"], receipt="answered")
        else:
            verb(frame.headers["message-id"], receipt="answered")
        assert self.receipt() == "answered"

    def end(self) -> str:
        self.connection.disconnect(receipt="bye")
        receipt = self.receipt()
        assert self.heard.gone.wait(WAIT_S)
        return receipt


def binary(port, version, name) -> Result:
    client = Client(port, version)
    client.subscribe(f"/topic/{name}")
    client.connection.send(f"/topic/{name}", OCTETS, headers={"mac": "52:54:00:aa:bb:cc"})
    frame = client.message()
    client.end()
    return {"body": frame.body.hex(), "mac": frame.headers["mac"]}


def receipt(port, version, name) -> Result:
    client = Client(port, version)
    client.connection.send(f"/topic/{name}", b"x", headers={"receipt": "r-1"})
    return {"receipts": [client.receipt(), client.end()]}


def unsubscribe(port, version, name) -> Result:
    client = Client(port, version)
    client.subscribe(f"/topic/{name}")
    client.connection.send(f"/topic/{name}", "one")
    got = [client.text()]
    if version == "1.0":
        client.connection.unsubscribe(f"/topic/{name}", id="1")
    else:
        client.connection.unsubscribe("1")
    client.connection.send(f"/topic/{name}", "two")
    client.subscribe(f"/topic/{name}-end", own_id="2")
    client.connection.send(f"/topic/{name}-end", "end")
    got += client.until_end()
    client.end()
    return {"got": got}


def refused(port, version, name) -> Result:
    client = Client(port, version)
    client.connection.subscribe("/topic/forbidden", "1")
    error = client.heard.errors.get(timeout=WAIT_S)
    return {"error": error, "closed": client.heard.gone.wait(WAIT_S)}


def login(port, version, name) -> Result:
    listener = Listener()
    connection = KINDS[version]([("127.0.0.1", port)], reconnect_attempts_max=1)
    connection.set_listener("", listener)
    try:
        connection.connect(LOGIN, "wrong", wait=True)
    except stomp.exception.ConnectFailedException:
        return {"error": listener.errors.get(timeout=WAIT_S)}
    return {}


def ack(port, version, name, mode="client") -> Result:
    client = Client(port, version)
    for body in ("1", "2", "3"):
        client.connection.send(f"/queue/{name}", body)
    client.subscribe(f"/queue/{name}", mode)
    frames = [client.message() for _ in range(3)]
    client.answer(frames[1])
    client.end()
    again = Client(port, version)
    again.subscribe(f"/queue/{name}")
    again.connection.send(f"/queue/{name}", "end")
    result = {"first": [frame.body.decode() for frame in frames], "again": again.until_end()}
    again.end()
    return result


def ack_individual(port, version, name) -> Result:
    return ack(port, version, name, "client-individual")


def nack(port, version, name) -> Result:
    client = Client(port, version)
    client.subscribe(f"/queue/{name}", "client-individual")
    client.answer(client.message(), good=False)
    client.end()
    return {"nacked": True}


def transaction(port, version, name) -> Result:
    client = Client(port, version)
    client.subscribe(f"/topic/{name}")
    send = client.connection.send
    client.connection.begin("t1")
    send(f"/topic/{name}", "a", transaction="t1")
    send(f"/topic/{name}", "outside")
    send(f"/topic/{name}", "b", transaction="t1")
    got = [client.text()]
    client.connection.commit("t1")
    client.connection.begin("t2")
    send(f"/topic/{name}", "aborted", transaction="t2")
    client.connection.abort("t2")
    send(f"/topic/{name}", "end")
    got += client.until_end()
    client.end()
    return {"got": got}


def heart_beat(port, version, name) -> Result:
    client = Client(port, version, beats=(500, 500))
    client.subscribe(f"/topic/{name}")
    assert not client.heard.gone.wait(2.5)
    client.connection.send(f"/topic/{name}", "alive")
    return {"got": [client.text()], "bye": client.end()}


def hold(port, version, name) -> Result:
    client = Client(port, version, beats=(500, 500))
    client.subscribe(f"/queue/{name}", "client-individual" if version != "1.0" else "client")
    say(client.text())
    client.heard.gone.wait(60)
    return {}


SCENARIOS = (
    *(binary, receipt, unsubscribe, refused, login),
    *(ack, ack_individual, nack, transaction, heart_beat, hold),
)

if __name__ == "__main__":
    sys.exit(main(SCENARIOS))
