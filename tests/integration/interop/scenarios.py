"""What every client library must find at our broker, a mixin for each ability it may have."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.integration.brokers import HOST, shared

HERE = Path(__file__).resolve().parent
REPO = HERE.parents[2]
DEADLINE_S = 60


class Peer:
    """A client program that runs; see the package's docstring."""

    def __init__(self, command: Sequence[str], version: str, scenario: str, name: str) -> None:
        port = shared("own").port
        environment = {**os.environ, "STOMP_LOGIN": HOST[0], "STOMP_PASSCODE": HOST[1]}
        environment["PYTHONPATH"] = str(REPO)
        environment.pop("PYTHONWARNINGS", None)  # they are other people's
        self.process = subprocess.Popen(
            [*command, str(port), version, scenario, name],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def result(self) -> Any:
        """Return what it prints."""
        out, err = self.process.communicate(timeout=DEADLINE_S)
        assert self.process.returncode == 0, err.decode(errors="replace")
        return json.loads(out.splitlines()[-1])

    def line(self) -> str:
        """Return its first line, while it runs on."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().decode().strip()

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it, whatever it does."""
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        self.process.communicate()


class Exchange:
    """Runs scenarios of a client program; `command` and `version` say of which."""

    command: Sequence[str]
    version = "1.2"

    def setUp(self) -> None:
        """Choose a name for the destinations of this test alone."""
        self.name = f"interop-{uuid.uuid4().hex}"

    def start(self, scenario: str) -> Peer:
        """Start the program; it does not outlive the test."""
        peer = Peer(self.command, self.version, scenario, self.name)
        self.addCleanup(peer.kill)
        return peer

    def outcome(self, scenario: str) -> Any:
        """Return what the program finds."""
        return self.start(scenario).result()


class Basics(Exchange):
    """Connect, subscribe, send, receipts, errors."""

    def test_binary(self) -> None:
        """A body of all octets, and a header with colons, come back as they went."""
        result = self.outcome("binary")
        self.assertEqual(bytes.fromhex(result["body"]), bytes(range(256)))
        self.assertEqual(result["mac"], "52:54:00:aa:bb:cc")

    def test_receipts(self) -> None:
        """A SEND and the DISCONNECT are confirmed, each by its receipt."""
        self.assertEqual(self.outcome("receipt"), {"receipts": ["r-1", "bye"]})

    def test_unsubscribe(self) -> None:
        """After UNSUBSCRIBE nothing comes any more; another subscription does not mind."""
        self.assertEqual(self.outcome("unsubscribe"), {"got": ["one"]})

    def test_refused(self) -> None:
        """What the peer may not do is an ERROR that names it, and the end of the connection."""
        result = self.outcome("refused")
        self.assertIn("/topic/forbidden", result["error"])
        self.assertTrue(result["closed"])

    def test_wrong_passcode(self) -> None:
        """A login that is refused is an ERROR that says so, and shows no passcode."""
        error = self.outcome("login")["error"]
        self.assertIn("refused", error)
        self.assertNotIn("wrong", error)

    def test_killed(self) -> None:
        """What a killed client has not acknowledged goes to the next one."""
        with shared("own").client() as other:
            other.send(f"/queue/{self.name}", b"held")
            holder = self.start("hold")
            self.assertEqual(holder.line(), "held")
            holder.kill()
            other.subscribe(f"/queue/{self.name}")
            message = other.hear("MESSAGE")
        self.assertEqual((message.body, message.header("redelivered")), (b"held", "true"))


class Acknowledgements:
    """Of what comes from a queue."""

    def test_cumulative(self) -> None:
        """With `client` an ACK is for all before it, too; the rest comes again."""
        self.assertEqual(self.outcome("ack"), {"first": ["1", "2", "3"], "again": ["3"]})


class IndividualAcknowledgements(Acknowledgements):
    """STOMP 1.1 and later."""

    def test_individual(self) -> None:
        """With `client-individual` an ACK is for that message alone."""
        expected = {"first": ["1", "2", "3"], "again": ["1", "3"]}
        self.assertEqual(self.outcome("ack_individual"), expected)

    def test_nack(self) -> None:
        """What a client refuses is another's, and is not lost with the refusal."""
        with shared("own").client() as other:
            other.send(f"/queue/{self.name}", b"unwanted")
            self.assertEqual(self.outcome("nack"), {"nacked": True})
            other.subscribe(f"/queue/{self.name}")
            self.assertEqual(other.hear("MESSAGE").body, b"unwanted")


class Transactions:
    """BEGIN, COMMIT, ABORT."""

    def test_transactions(self) -> None:
        """What is sent in one comes with its COMMIT, in order, or with ABORT never."""
        self.assertEqual(self.outcome("transaction"), {"got": ["outside", "a", "b"]})


class HeartBeats:
    """Both ways, every half a second."""

    def test_idle(self) -> None:
        """A client that has nothing to say for several intervals stays connected."""
        self.assertEqual(self.outcome("heart_beat"), {"got": ["alive"], "bye": "bye"})

    def test_stopped(self) -> None:
        """A client that is stopped, its connection open, is noticed; its message goes on."""
        with shared("own").client() as other:
            other.send(f"/queue/{self.name}", b"held")
            holder = self.start("hold")
            self.assertEqual(holder.line(), "held")
            holder.signal(signal.SIGSTOP)
            other.subscribe(f"/queue/{self.name}")
            message = other.hear("MESSAGE", deadline_s=5)
        self.assertEqual((message.body, message.header("redelivered")), (b"held", "true"))


def python_client(name: str) -> list[str]:
    """Return the command of a client program in Python."""
    return [sys.executable, "-W", "ignore", "-m", f"tests.integration.interop.{name}"]
