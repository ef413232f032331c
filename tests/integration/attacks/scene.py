"""The place of the attacks: a daemon, a VM whose guest was taken over, and its neighbour."""

from __future__ import annotations

import atexit
import json
import os
import re
import signal
import time
import uuid
import xmlrpc.client
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.attacks.wire import REQUESTS, Wire, frame
from tests.integration.daemon import DEADLINE_S, Daemon, until

TAKEN, NEIGHBOUR = "vmctest taken over", "vmctest neighbour"
GROWTH_KIB = 16 * 1024
"""What an attack may cost the daemon in memory that stays."""

_running: list[Daemon] = []


def running() -> Daemon:
    """Return one daemon with both VMs for all tests of this package that run in one process."""
    if not _running:
        daemon = Daemon("local").start()
        atexit.register(daemon.stop)
        for vm in (TAKEN, NEIGHBOUR):
            daemon.api.createVM(vm, "")
            daemon.api.start(vm)
            daemon.api.ping(vm, DEADLINE_S)
        # The agent of the one is put aside; whoever took the VM over speaks for it.
        os.kill(agent_pid(daemon, TAKEN), signal.SIGSTOP)
        _running.append(daemon)
    return _running[0]


def home(daemon: Daemon, vm: str) -> Path:
    """Return the directory of a VM."""
    return daemon.dir / "state" / "local" / daemon.api.getGuest(vm)["uuid"]


def agent_pid(daemon: Daemon, vm: str) -> int:
    """Return the process of a VM's agent."""
    return int(json.loads((home(daemon, vm) / "agent.json").read_text())["pid"])


def told(daemon: Daemon, vm: str) -> dict[str, str]:
    """Return what the agent of a VM is told."""
    lines = (home(daemon, vm) / "agent.env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines)


def credential(daemon: Daemon, vm: str) -> tuple[str, str]:
    """Return login and passcode of a VM."""
    login, _, passcode = told(daemon, vm)["VMCONTROLLER_CREDENTIAL"].partition(":")
    return login, passcode


def port_of(daemon: Daemon, vm: str) -> int:
    """Return the broker's port."""
    return int(told(daemon, vm)["VMCONTROLLER_BROKER"].rpartition(":")[2])


class Scene(SynchronousTestCase):
    """After each test the daemon is the same process and the neighbour is as well as before."""

    def setUp(self) -> None:
        self.daemon = running()
        self.api = self.daemon.api
        self.port = port_of(self.daemon, NEIGHBOUR)
        self.own_id = self.api.getGuest(TAKEN)["id"]
        self.neighbours_id = self.api.getGuest(NEIGHBOUR)["id"]
        self.session = self.api.getGuest(NEIGHBOUR)["session"]
        self.addCleanup(self.unharmed)

    def wire(self) -> Wire:
        """Return a connection that has said nothing yet."""
        wire = Wire(self.port)
        self.addCleanup(wire.close)
        return wire

    def logged_in(self, vm: str = TAKEN) -> Wire:
        """Return a session with the VM's true credential."""

        def attempt() -> Wire | None:
            """Log in; who has ended sessions of its own too often has to wait."""
            wire = self.wire()
            answer = wire.log_in(*credential(self.daemon, vm))
            if answer.command == "CONNECTED":
                return wire
            self.assertIn("too often", answer.header("message") or "")
            return None

        return until(attempt, "it may log in")

    def credential_of(self, vm: str) -> tuple[str, str]:
        """Return login and passcode of a VM."""
        return credential(self.daemon, vm)

    def guest(self, **hello: Any) -> Wire:
        """Return a session that listens to its topics, and whose HELLO was answered."""
        wire = self.logged_in()
        wire.subscribe(topic_of(self.own_id))
        session = str(uuid.uuid4())
        wire.say("HELLO", {"descriptor": {"id": self.own_id}, "session": session} | hello)
        wire.hear("HELLO")
        return wire

    def refused(self, wire: Wire, *texts: str) -> None:
        """The broker says ERROR, why, and hangs up."""
        last = wire.until_closed()[-1:]
        self.assertEqual([frame.command for frame in last], ["ERROR"])
        for text in texts:
            self.assertIn(text, last[0].header("message"))

    def unharmed(self) -> None:
        """The neighbour answers, does its work, and has had no new session; the daemon lives."""
        assert self.daemon.process is not None
        self.assertIsNone(self.daemon.process.poll())
        self.assertEqual(self.api.ping(NEIGHBOUR, DEADLINE_S), f"PONG from {NEIGHBOUR}")
        self.assertEqual(self.daemon.run(NEIGHBOUR, "echo", "well")["out"], "well\n")
        self.assertEqual(self.api.getGuest(NEIGHBOUR)["session"], self.session)
        self.assertEqual(self.tracebacks(), [])

    def tracebacks(self) -> list[str]:
        """Return what the log says of faults of our own."""
        return [line for line in self.log() if "Traceback" in line]

    def log(self) -> list[str]:
        """Return the daemon's log, a line each."""
        return self.daemon.log.read_text().splitlines()

    def fault(self, call: Any, *arguments: Any) -> str:
        """Return the text of the Fault that a call must end with."""
        with self.assertRaises(xmlrpc.client.Fault) as caught:
            call(*arguments)
        return caught.exception.faultString

    def rss_kib(self) -> int:
        """Return the daemon's resident memory."""
        assert self.daemon.process is not None
        status = Path(f"/proc/{self.daemon.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s*(\d+) kB", status)
        assert found is not None
        return int(found[1])

    def noise_kib(self) -> int:
        """Return by how much its memory goes up and down while only the neighbour works."""
        seen = []
        for _ in range(5):
            self.daemon.run(NEIGHBOUR, "echo", "noise")
            seen.append(self.rss_kib())
        return max(seen) - min(seen)

    def bounded(self, before_kib: int, noise_kib: int) -> None:
        """What the attack took is given back, but for GROWTH_KIB."""
        limit = before_kib + GROWTH_KIB + noise_kib
        until(lambda: self.rss_kib() <= limit, f"{self.rss_kib()} KiB are at most {limit} again")

    def open_sockets(self) -> int:
        """Return how many sockets the daemon has."""
        assert self.daemon.process is not None
        links = list(Path(f"/proc/{self.daemon.process.pid}/fd").iterdir())
        return sum("socket:" in _link(link) for link in links)

    def settled(self, wire: Wire) -> None:
        """Return when the daemon has taken in all that was said: it has heard what came later."""
        receipt = f"settled-{time.monotonic()}"
        headers = (("id", receipt), ("destination", REQUESTS), ("receipt", receipt))
        wire.write(frame("SUBSCRIBE", headers))
        while (answer := wire.frame()).header("receipt-id") != receipt:
            self.assertEqual(answer.command, "MESSAGE", answer)
        wire.write(frame("UNSUBSCRIBE", [("id", receipt)]))
        self.api.ping(NEIGHBOUR, DEADLINE_S)


def topic_of(guest: str) -> str:
    """Return a guest's own topic."""
    return f"{REQUESTS}.{guest.replace(':', '').lower()}"


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""
