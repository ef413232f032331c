"""The client and the command at a door that wants to know who comes: TLS, users, tokens, roles."""

from __future__ import annotations

import atexit
import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.client.process import CommandLine
from tests.integration.certificates import certificate
from tests.integration.daemon import Daemon, until
from vmcontroller.client import Client
from vmcontroller.client import connection as connection_module
from vmcontroller.client.errors import (
    AccessDenied,
    BadAnswer,
    ConnectionLost,
    TimedOut,
    Unauthorized,
    Unreachable,
)


class TlsDaemon(Daemon):
    """A daemon whose address speaks TLS."""

    def _port(self) -> int | None:
        """Return its port, when it is ready; the test's own client knows nothing of TLS."""
        assert self.process is not None
        assert self.process.poll() is None, self.log.read_text()
        found = re.search(r"ready: XML-RPC on 127\.0\.0\.1 port (\d+)", self.log.read_text())
        return int(found[1]) if found else None


_running: list[TlsDaemon] = []


def running() -> Daemon:
    """Return one daemon for all tests of this module: TLS, two users, certificates of clients."""
    if not _running:
        daemon = TlsDaemon("local", xmlrpc="anonymous: true")
        folder = daemon.dir
        server, server_key = certificate(folder, "server", "127.0.0.1")
        client, _ = certificate(folder, "carol", "127.0.0.1")
        users = folder / "users"
        daemon.config.write_text(
            daemon.config.read_text().replace(
                "anonymous: true",
                f"users: {users}, tls_certificate: {server}, tls_key: {server_key}, "
                f"tls_client_ca: {client}",
            )
        )
        for name, roles in (("alice", "read,operate,exec,files,admin"), ("bob", "read")):
            passwd(daemon, "--roles", roles, name, stdin=f"{name}'s password\n")
        passwd(daemon, "--roles", "read", "carol", stdin="carol's password\n")
        said = passwd(daemon, "--token", "bob")
        (folder / "token").write_text(said)
        (folder / "password").write_text("alice's password\n")
        (folder / "password").chmod(0o600)
        atexit.register(stop, daemon)
        daemon.start()
        _running.append(daemon)
    return _running[0]


def passwd(daemon: Daemon, *words: str, stdin: str = "") -> str:
    """Change the daemon's file of users; return what is said."""
    command = str(Path(sys.executable).with_name("vmcontroller-host"))
    made = ["-c", str(daemon.config), "passwd"]
    done = subprocess.run(
        [command, *made, *words], input=stdin, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done
    return done.stdout


def stop(daemon: Daemon) -> None:
    """Stop it; it has made no VM."""
    if daemon.process is not None:
        daemon.terminate()
    shutil.rmtree(daemon.dir)


class DoorCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.daemon = running()
        self.url = self.daemon.url.replace("http:", "https:").removesuffix("/RPC2")
        self.ca = str(self.daemon.dir / "server.crt")

    def client(self, **more) -> Client:
        """Return a client that trusts the daemon."""
        made = Client(self.url, ca=self.ca, **more)
        self.addCleanup(made.close)
        return made


class ClientTests(DoorCase):
    def test_users(self) -> None:
        """A user and a password, a token, a certificate: each is who they are, with their roles."""
        alice = self.client(user="alice", password="alice's password").who_am_i()
        self.assertEqual((alice["name"], len(alice["roles"])), ("alice", 5))
        token = (self.daemon.dir / "token").read_text().strip()
        self.assertEqual(self.client(token=token).who_am_i()["roles"], ["read"])
        carol = self.client(
            certificate=str(self.daemon.dir / "carol.crt"), key=str(self.daemon.dir / "carol.key")
        )
        self.assertEqual(carol.who_am_i()["name"], "carol")

    def test_refused(self) -> None:
        """Nobody, a wrong password and a role that is missing are told apart."""
        self.assertRaises(Unauthorized, self.client().version)
        wrong = self.client(user="alice", password="wrong")
        self.assertRaises(Unauthorized, wrong.version)
        token = (self.daemon.dir / "token").read_text().strip()
        error = self.assertRaises(AccessDenied, self.client(token=token).create_vm, "x", "")
        self.assertIn("admin", error.detail)

    def test_whom_to_trust(self) -> None:
        """A daemon whose certificate nobody has signed is not spoken to; nor is TLS left out."""
        error = self.assertRaises(Unreachable, Client(self.url).version)
        self.assertRegex(str(error), "self-signed certificate; name the authority")
        plain = Client(self.url.replace("https:", "http:"))
        self.assertRaises((ConnectionLost, BadAnswer), plain.version)
        other = Client(f"unix:{self.daemon.dir}/xmlrpc.sock")
        self.addCleanup(other.close)
        self.assertEqual(other.who_am_i()["roles"], self.roles_here())

    def roles_here(self) -> list[str]:
        """Root may do everything over the Unix socket."""
        assert os.getuid() == 0
        return ["read", "operate", "exec", "files", "admin"]

    def test_reason(self) -> None:
        """Why something is done stands in the audit log, with who has done it."""
        client = self.client(user="alice", password="alice's password", reason="a test of reasons")
        client.create_vm("vmctest-f-why", "")
        client.remove_vm("vmctest-f-why")
        log = self.daemon.dir / "state" / "audit.log"
        until(lambda: "removeVM" in log.read_text(), "it is written down")
        [line] = [each for each in log.read_text().splitlines() if "createVM" in each]
        for word in ("alice", "vmctest-f-why", "a test of reasons"):
            self.assertIn(word, line)

    def test_secrets_in_url(self) -> None:
        """They do not belong there."""
        self.assertRaises(ValueError, Client, "https://alice:pw@127.0.0.1")
        self.assertRaises(OSError, Client, self.url, ca="/nope")


class CommandTests(DoorCase):
    def test_options(self) -> None:
        """The same by options, files and the environment; exit status 4 says that one may not."""
        vmc = CommandLine(self.url, VMCONTROLLER_CA=self.ca)
        files = self.daemon.dir
        said = vmc.good("--user", "alice", "--password-file", str(files / "password"), "whoami")
        self.assertIn("name\talice\n", said)
        by_pipe = vmc.run(
            "--user", "alice", "--password-file", "-", "whoami", stdin=b"alice's password\n"
        )
        self.assertEqual(by_pipe.returncode, 0)
        self.assertIn("name\tbob\n", vmc.good("whoami", "--token-file", str(files / "token")))
        said = vmc.good(
            "whoami", "--cert", str(files / "carol.crt"), "--key", str(files / "carol.key")
        )
        self.assertIn("name\tcarol\n", said)
        done = vmc.run("list")
        self.assertEqual(
            (done.returncode, done.stdout, done.stderr[:14]), (4, b"", b"UNAUTHORIZED: ")
        )
        done = vmc.run("create", "x", "--token-file", str(files / "token"))
        self.assertEqual((done.returncode, done.stderr[:15]), (4, b"ACCESS_DENIED: "))
        done = vmc.run("exec", "x", "true", "--token-file", str(files / "token"))
        self.assertEqual(done.returncode, 125)

    def test_asked_for(self) -> None:
        """On a terminal the password is asked for, and not shown."""
        vmc = CommandLine(self.url, VMCONTROLLER_CA=self.ca)
        terminal = vmc.terminal("whoami", "--user", "alice", "--no-color")
        terminal.until(b"Password of alice: ")
        terminal.type(b"alice's password\n")
        status, shown = terminal.end()
        self.assertEqual(status, 0, shown)
        self.assertNotIn(b"alice's", shown)

    def test_nobody_there(self) -> None:
        """Exit status 3, and what to do."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        for url, said in (
            (f"http://127.0.0.1:{port}", "Connection refused; is vmcontroller-host running"),
            ("unix:/nope/x.sock", "No such file or directory; is vmcontroller-host running"),
            (self.url, "name the authority"),
            ("http://nope.invalid:1", "is the address right"),
        ):
            done = CommandLine(url).run("list")
            self.assertEqual((done.returncode, done.stdout), (3, b""))
            self.assertRegex(done.stderr.decode(), f"^UNREACHABLE: .*{said}")


class OneShotServer:
    """A server of raw HTTP: what it answers, connection by connection."""

    def __init__(self, *answers: bytes | None, one_each: bool = False) -> None:
        """None: it hangs up when a request has come; b"": it never answers.

        `one_each`: it hangs up after each answer.
        """
        self._one_each = one_each
        self.requests: list[bytes] = []
        self.connections = 0
        self._answers = list(answers)
        self._server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.close()

    def _serve(self) -> None:
        while self._answers:
            try:
                connection, _ = self._server.accept()
            except OSError:
                return
            self.connections += 1
            with connection, connection.makefile("rb") as file:
                while self._answers and self._one(connection, file):
                    pass

    def _one(self, connection, file) -> bool:
        length = 0
        while (line := file.readline()).strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        if not line:
            return False
        self.requests.append(file.read(length))
        answer = self._answers.pop(0)
        if answer is None:
            return False
        if answer:
            head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answer)
            connection.sendall(head + answer if not answer.startswith(b"HTTP/") else answer)
        else:
            connection.settimeout(10)
            connection.recv(1)
        return not self._one_each


TRUE = (
    b"<methodResponse><params><param><value><boolean>1</boolean></value></param></params>"
    b"</methodResponse>"
)


class ConnectionTests(SynchronousTestCase):
    """One connection, kept and made again."""

    def serve(self, *answers: bytes | None, **more) -> tuple[OneShotServer, Client]:
        server = OneShotServer(*answers, **more)
        client = Client(server.url, timeout_s=1)
        self.addCleanup(server.close)
        self.addCleanup(client.close)
        return server, client

    def test_kept(self) -> None:
        """Calls share one connection."""
        server, client = self.serve(TRUE, TRUE, TRUE)
        for _ in range(3):
            self.assertTrue(client.pause("vm"))
        self.assertEqual(server.connections, 1)

    def test_closed_meanwhile(self) -> None:
        """One that the daemon has closed is noticed before anything is sent."""
        server, client = self.serve(TRUE, TRUE, one_each=True)
        self.assertTrue(client.pause("vm"))
        kept = client._connection
        until(lambda: not kept._is_fresh(kept._http), "it has hung up")
        self.assertTrue(client.pause("vm"))
        self.assertEqual((server.connections, len(server.requests)), (2, 2))

    def test_never_twice(self) -> None:
        """A call whose answer did not come is not sent again: it may have been done."""
        server, client = self.serve(None, TRUE)
        error = self.assertRaises(ConnectionLost, client.start, "vm")
        self.assertIn("look before you call again", str(error))
        self.assertEqual(len(server.requests), 1)

    def test_old_ones_are_not_used(self) -> None:
        """One that was idle for so long that the daemon is about to close it is made anew."""
        server, client = self.serve(TRUE, TRUE)
        client.pause("vm")
        self.patch(connection_module, "IDLE_S", -1.0)
        client.pause("vm")
        self.assertEqual(server.connections, 2)

    def test_no_answer_in_time(self) -> None:
        """It is said that the daemon may still be at it; the next call has another connection."""
        _, client = self.serve(b"", TRUE)
        error = self.assertRaises(TimedOut, client.get_state, "vm")
        self.assertRegex(str(error), "did not answer within 1 s; it may still be at it")

    def test_waiting_has_more_time(self) -> None:
        """What the daemon is asked to wait is added to the time an answer may take."""
        server = OneShotServer(b"")
        self.addCleanup(server.close)
        with Client(server.url, timeout_s=0.2) as client:
            began = time.monotonic()
            self.assertRaises(TimedOut, client.wait_cmd, "id", 0.5)
            self.assertGreater(time.monotonic() - began, 0.65)

    def test_other_servers(self) -> None:
        """What is no daemon is said to be none."""
        for answer in (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope",
            b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope",
        ):
            _, client = self.serve(answer)
            self.assertRaises(BadAnswer, client.version)
        _, client = self.serve(b"HTTP/9 nonsense\r\n\r\n")
        self.assertRaises(ConnectionLost, client.version)

    def test_interrupted(self) -> None:
        """After a Ctrl-C in the middle of a call the connection is not used again."""
        _, client = self.serve(b"", TRUE)

        def interrupt(*_args):
            raise KeyboardInterrupt

        real = http.client.HTTPConnection.getresponse
        self.patch(http.client.HTTPConnection, "getresponse", interrupt)
        self.assertRaises(KeyboardInterrupt, client.pause, "vm")
        self.patch(http.client.HTTPConnection, "getresponse", real)
        self.assertIsNone(client._connection._http)
