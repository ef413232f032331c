"""Other ways in: the Unix socket, a daemon that was not set up well; and what leaves a trace."""

from __future__ import annotations

import contextlib
import grp
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from xmlrpc.client import Fault, dumps

from tests.integration.attacks.door_attacks import CALL, of_length
from tests.integration.attacks.door_scene import (
    ADMIN,
    BEARER,
    SYSTEM_GROUP,
    DoorScene,
    UserDaemon,
    as_account,
)
from tests.integration.daemon import DEADLINE_S, until

UNAUTHORIZED = "HTTP/1.1 401 Unauthorized"


class UnixSocketTests(DoorScene):
    """Attack: other accounts of this host at the Unix socket."""

    def test_who_may(self) -> None:
        """Root is admin, members of the group have their roles, a stranger can't even connect."""
        facts = Path(self.daemon.socket).stat()
        group = grp.getgrnam(SYSTEM_GROUP).gr_gid
        mine = as_account(self.daemon, os.getuid(), os.getgid())
        self.assertIn("<string>admin</string>", mine)
        if os.getuid() != 0:  # only root can be somebody else
            self.assertEqual(stat.S_IMODE(facts.st_mode) & 0o007, 0)
            return
        self.assertEqual((stat.S_IMODE(facts.st_mode), facts.st_gid), (0o660, group))
        member = as_account(self.daemon, 65534, group)
        self.assertIn("<string>operate</string>", member)
        self.assertNotIn("<string>admin</string>", member)
        self.assertEqual(as_account(self.daemon, 65534, 65534).strip(), "Permission denied")
        Path(self.daemon.socket).chmod(0o666)
        self.addCleanup(Path(self.daemon.socket).chmod, 0o660)
        self.assertIn("401 Unauthorized", as_account(self.daemon, 65534, 65534))


class AuditTests(DoorScene):
    """Attack: do something and leave no trace, or somebody else's."""

    def test_every_change_is_there(self) -> None:
        """Who, from where, what and why; nothing of a secret; no line that somebody else wrote."""
        forged = 'x"}\n{"who": "root", "method": "removeVM"}\r\n\x1b[2J\u2028'
        reason = "X-VMController-Reason: ticket 7\x0bforged"
        body = dumps(("vmctest-A none", "mysql", ["-psecret"], {"T": "secret"}), "runCmd").encode()
        self.post(body, reason)
        self.post(dumps((forged,), "start").encode().replace(b"\x1b", b"?"))
        lines = until(
            lambda: [
                line
                for line in self.daemon.lines()
                if line.get("method") == "start" and "removeVM" in line["arguments"]["vm"]
            ],
            "the last of them is written down",
        )
        self.assertEqual(lines[-1]["who"], "boss")
        self.assertNotIn("\n", lines[-1]["arguments"]["vm"])
        runs = [line for line in self.daemon.lines() if line.get("method") == "runCmd"]
        self.assertEqual(runs[-1]["result"], "NO_SUCH_VM")
        self.assertEqual(runs[-1]["arguments"]["cmd"], "mysql")
        self.assertEqual(runs[-1]["reason"], "ticket 7 forged")
        self.assertTrue(runs[-1]["from"].startswith("127.0.0.1:"))
        text = self.daemon.audit.read_text()
        self.assertNotIn("secret", text)
        self.assertNotIn('"who": "root", "method": "removeVM"', text)
        self.assertEqual(stat.S_IMODE(self.daemon.audit.stat().st_mode), 0o600)

    def test_sigterm_loses_nothing(self) -> None:
        """All that was answered before the daemon was told to stop is in the log."""
        daemon = UserDaemon()
        self.addCleanup(daemon.stop)
        daemon.write_users(ADMIN)
        daemon.start()
        for number in range(100):
            with contextlib.suppress(Fault):
                daemon.api.start(f"none {number}")
        assert daemon.process is not None
        daemon.process.send_signal(signal.SIGTERM)
        self.assertEqual(daemon.process.wait(DEADLINE_S), 0)
        said = [line["arguments"]["vm"] for line in daemon.lines()]
        self.assertEqual(said, [f"none {number}" for number in range(100)])


class ClosedDoorTests(DoorScene):
    """Attack: a daemon that nobody has set up yet, or has set up too openly."""

    def test_without_users(self) -> None:
        """A fresh install answers 401 on its port, and root on the socket; the log says how on."""
        daemon = UserDaemon()
        self.addCleanup(daemon.stop)
        daemon.start()
        self.daemon, closed = daemon, self.daemon
        try:
            self.assertEqual(self.status(of_length(CALL)), UNAUTHORIZED)
            self.assertEqual(self.status(of_length(CALL, BEARER)), UNAUTHORIZED)
            self.assertIn("<string>admin</string>", as_account(daemon, os.getuid(), os.getgid()))
            self.assertIn("vmcontroller-host passwd", daemon.log.read_text())
            daemon.write_users(ADMIN)
            self.assertEqual(daemon.api.whoAmI()["name"], "boss")
        finally:
            self.daemon = closed

    def test_too_open(self) -> None:
        """An address that others reach does not open without TLS and users, nor to everybody."""
        for keys in ("anonymous: true", "port: 1", "tls_certificate: /c, tls_key: /k"):
            daemon = UserDaemon()
            self.addCleanup(daemon.stop)
            text = daemon.config.read_text().replace("port: 0, s", "listen_on: 0.0.0.0, s", 1)
            daemon.config.write_text(text.replace("users:", f"{keys}, users:"))
            program = str(Path(sys.executable).with_name("vmcontroller-host"))
            for more in ([], ["--check"]):
                done = subprocess.run(
                    [program, "-c", str(daemon.config), *more],
                    capture_output=True,
                    check=False,
                    timeout=60,
                )
                self.assertNotEqual(done.returncode, 0, keys)
                self.assertIn(b"xmlrpc", done.stderr)

    def test_a_socket_that_is_taken(self) -> None:
        """Another daemon's socket is left alone: one starts without, if there is another way in."""
        daemon = UserDaemon()
        self.addCleanup(daemon.stop)
        text = daemon.config.read_text().replace(daemon.socket, self.daemon.socket)
        daemon.config.write_text(text.replace(f"group: {SYSTEM_GROUP}", "group: no-such-group"))
        program = str(Path(sys.executable).with_name("vmcontroller-host"))
        done = subprocess.run(
            [program, "-c", str(daemon.config)], capture_output=True, check=False, timeout=60
        )
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"xmlrpc: socket: ", done.stderr)
        daemon.write_users(ADMIN)
        daemon.start()
        self.assertIn("no Unix socket", daemon.log.read_text())
        self.assertIn("admin", as_account(self.daemon, os.getuid(), os.getgid()))

    def test_a_group_that_is_missing(self) -> None:
        """Then the socket is root's alone, and the log says so; a killed daemon's is replaced."""
        daemon = UserDaemon()
        self.addCleanup(daemon.stop)
        text = daemon.config.read_text()
        daemon.config.write_text(text.replace(f"group: {SYSTEM_GROUP}", "group: no-such-group"))
        daemon.write_users(ADMIN)
        daemon.start()
        daemon.kill()
        daemon.start()
        self.assertEqual(stat.S_IMODE(Path(daemon.socket).stat().st_mode), 0o600)
        self.assertIn("there is no group no-such-group", daemon.log.read_text())
        self.assertIn("admin", as_account(daemon, os.getuid(), os.getgid()))

    def test_other_addresses(self) -> None:
        """On loopback nobody else reaches the port at all: that address alone is listened on."""
        listening = [
            each.laddr for each in self.process.net_connections("tcp") if each.status == "LISTEN"
        ]
        self.assertEqual({each.ip for each in listening}, {"127.0.0.1"})
