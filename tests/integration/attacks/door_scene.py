"""A daemon with users, for attacks on its door; it must be as well after each as before."""

from __future__ import annotations

import atexit
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import xmlrpc.client
from pathlib import Path
from typing import Any

import psutil
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.attacks.door_attacks import CALL, of_length
from tests.integration.daemon import Daemon, until
from vmcontroller.host.users.passwords import hash_password, hash_token
from vmcontroller.host.users.records import User, text_of
from vmcontroller.host.users.records import Users as UserRecords

PASSWORD, TOKEN = "correct horse", "a token of a test that nobody would guess..."
GROWTH_KIB = 32 * 1024
"""What an attack may cost the daemon in memory."""
SYSTEM_GROUP = "daemon"
"""Every Linux has it."""

_running: list[Daemon] = []


class UserDaemon(Daemon):
    """A daemon that lets in whom its file of users has."""

    def __init__(self, xmlrpc: str = "") -> None:
        super().__init__("local")
        self.users = self.dir / "users"
        keys = f"users: {self.users}, socket_group: {SYSTEM_GROUP}, socket_roles: [operate]{xmlrpc}"
        self.config.write_text(self.config.read_text().replace("anonymous: true", keys))
        self.audit = self.dir / "state" / "audit.log"
        self.socket = str(self.dir / "xmlrpc.sock")

    def write_users(self, *users: User) -> None:
        """Put the file of users in place."""
        new = self.dir / "users.new"
        new.write_text(text_of(UserRecords(users)))
        new.chmod(0o600)
        new.replace(self.users)

    def new_client(self) -> Any:
        """Return a client of the admin."""
        return xmlrpc.client.ServerProxy(self.url, headers=[("Authorization", f"Bearer {TOKEN}")])

    def lines(self) -> list[dict[str, Any]]:
        """Return the audit log."""
        return [json.loads(line) for line in self.audit.read_text().splitlines()]

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self.url.split("/")[2].split(":")
        return host, int(port)


ADMIN = User(name="boss", roles=frozenset({"admin"}), tokens=(hash_token(TOKEN),))
READER = User(name="reader", roles=frozenset({"read"}), password=hash_password(PASSWORD))


def running() -> UserDaemon:
    """Return one daemon for all tests of one process."""
    if not _running:
        daemon = UserDaemon()
        daemon.write_users(ADMIN, READER)
        atexit.register(daemon.stop)
        daemon.start()
        _running.append(daemon)
    found = _running[0]
    assert isinstance(found, UserDaemon)
    return found


def basic(name: str, password: str) -> str:
    """Return the header that logs in."""
    return f"Authorization: Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


BEARER = f"Authorization: Bearer {TOKEN}"


def answer_of(wire: socket.socket) -> bytes:
    """Return all that comes until the other side has nothing more to say, or for five seconds."""
    wire.settimeout(5)
    octets = b""
    with contextlib.suppress(OSError):
        while piece := wire.recv(1 << 16):
            octets += piece
    return octets


class DoorScene(SynchronousTestCase):
    """The daemon is the same process afterwards, serves others, and has no traceback in its log."""

    def setUp(self) -> None:
        self.daemon = running()
        assert self.daemon.process is not None
        self.process = psutil.Process(self.daemon.process.pid)
        self.before_kib = self.rss_kib()
        self.addCleanup(self.unharmed)

    def unharmed(self) -> None:
        assert self.daemon.process is not None
        self.assertIsNone(self.daemon.process.poll())
        self.assertEqual(self.daemon.api.whoAmI()["name"], "boss")
        self.assertNotIn("Traceback", self.daemon.log.read_text())

    def rss_kib(self) -> int:
        return int(self.process.memory_info().rss) // 1024

    def bounded(self) -> None:
        """What it took is within the bounds."""
        limit = self.before_kib + GROWTH_KIB
        until(lambda: self.rss_kib() <= limit, f"{self.rss_kib()} KiB are at most {limit}")

    def wire(self) -> socket.socket:
        wire = socket.create_connection(self.daemon.address, 30)
        self.addCleanup(wire.close)
        return wire

    def say(self, request: bytes) -> bytes:
        """Send what ends its connection, or has no answer; return all that is answered."""
        with socket.create_connection(self.daemon.address, 30) as wire:
            with contextlib.suppress(OSError):
                wire.sendall(request)
            return answer_of(wire)

    def post(self, body: bytes = CALL, *lines: str) -> bytes:
        """Send a body as the admin; return the response."""
        return self.say(of_length(body, BEARER, "Connection: close", *lines))

    def status(self, request: bytes) -> str:
        return self.say(request).partition(b"\r\n")[0].decode()


def as_account(daemon: UserDaemon, uid: int, gid: int) -> str:
    """Call whoAmI on the Unix socket as an account of this host; return what is printed."""
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.settimeout(30)\n"
        f"try: s.connect({daemon.socket!r})\n"
        "except OSError as error: sys.exit(f'{error.strerror}')\n"
        f"s.sendall({of_length(CALL.replace(b'version', b'whoAmI'), 'Connection: close')!r})\n"
        "while piece := s.recv(65536): sys.stdout.buffer.write(piece)\n"
    )
    account: dict[str, Any] = {}
    if (uid, gid) != (os.getuid(), os.getgid()):
        account = {"user": uid, "group": gid, "extra_groups": []}
    python = str(Path(sys.executable).resolve())
    if not os.access(python, os.X_OK) or account:
        python = "/usr/bin/python3"  # where any account can reach it
    done = subprocess.run(
        [python, "-EWignore", "-c", program], capture_output=True, check=False, text=True, **account
    )
    return done.stdout + done.stderr
