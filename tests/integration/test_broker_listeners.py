"""TLS and the Unix socket: a real daemon, real agents, certificates made here."""

from __future__ import annotations

import shutil
import socket
import ssl
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.certificates import certificate
from tests.integration.daemon import DEADLINE_S, Daemon, free_port, until


def said(connection: socket.socket, octets: bytes) -> bytes:
    """Say something; return what is answered up to the first NUL."""
    connection.sendall(octets)
    answer = b""
    while b"\0" not in answer:
        more = connection.recv(4096)
        if not more:
            break
        answer += more
    return answer


class ListenerTests(SynchronousTestCase):
    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.folder = folder.absolute()
        self.certificate, self.key = certificate(self.folder, "broker", "127.0.0.1")
        self.tls_port = free_port()
        short = tempfile.mkdtemp(prefix="vmctest-")  # a socket's path has 107 octets at most
        self.addCleanup(shutil.rmtree, short)
        self.socket = f"{short}/broker"
        self.daemon = Daemon(
            "local",
            broker=f"{{port: 0, tls_port: {self.tls_port}, tls_certificate: {self.certificate}, "
            f"tls_key: {self.key}, socket: {self.socket}}}",
        )
        self.addCleanup(self.daemon.stop)
        self.daemon.start()

    def credential(self, vm: str) -> tuple[str, str]:
        uuid = self.daemon.api.getGuest(vm)["uuid"]
        home = self.daemon.dir / "state" / "local" / uuid
        text = (home / "agent.env").read_text()
        login, _, passcode = text.partition("VMCONTROLLER_CREDENTIAL=")[2].strip().partition(":")
        return login, passcode

    def connect_frame(self, vm: str) -> bytes:
        login, passcode = self.credential(vm)
        return (
            "CONNECT\naccept-version:1.2\nhost:/\n"
            f"login:{login}\npasscode:{passcode}\n\n\0".encode()
        )

    def running(self, vm: str) -> None:
        self.daemon.api.createVM(vm, "")
        self.daemon.api.start(vm)
        self.daemon.api.ping(vm, DEADLINE_S)

    def test_agent_over_tls(self) -> None:
        """An agent that verifies the certificate works; one that trusts another authority won't."""
        vm = "vmctest-tls"
        self.running(vm)
        login, passcode = self.credential(vm)
        other, _ = certificate(self.folder, "other", "127.0.0.1")
        epoch = self.daemon.api.getGuest(vm)["session"]
        for authority, comes in ((other, False), (self.certificate, True)):
            config = self.folder / "guest.yaml"
            config.write_text(
                yaml.safe_dump(
                    {
                        "broker": {
                            "host": "127.0.0.1",
                            "port": self.tls_port,
                            "tls": True,
                            "tls_ca": authority,
                            "username": login,
                            "password": passcode,
                        },
                        "vm": {"channel": "none", "environment_file": "/nonexistent"},
                        "state_dir": str(self.folder / "state"),
                    }
                )
            )
            log = self.folder / "agent.log"
            command = [str(Path(sys.executable).with_name("vmcontroller-guest")), "-c", str(config)]
            with log.open("wb") as stream, subprocess.Popen(command, stderr=stream) as agent:
                try:
                    if comes:
                        until(
                            lambda: self.daemon.api.getGuest(vm).get("session") != epoch,
                            "the agent over TLS has taken the older one's place",
                        )
                    else:
                        until(lambda log=log: b"no session" in log.read_bytes(), "it is refused")
                        self.assertIn(b"certificate verify failed", log.read_bytes())
                finally:
                    agent.terminate()

    def test_plain_text_on_the_tls_port(self) -> None:
        """Hears nothing of the broker, and TLS below 1.2 neither; 1.2 and newer do."""
        vm = "vmctest-plain"
        self.running(vm)
        with socket.create_connection(("127.0.0.1", self.tls_port), 30) as plain:
            self.assertNotIn(b"CONNECTED", said(plain, self.connect_frame(vm)))
        context = ssl.create_default_context(cafile=self.certificate)
        with (
            socket.create_connection(("127.0.0.1", self.tls_port), 30) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            self.assertIn(secure.version(), {"TLSv1.2", "TLSv1.3"})
            self.assertTrue(said(secure, self.connect_frame(vm)).startswith(b"CONNECTED"))
            refused = said(secure, b"NONSENSE\n\n\0")
            self.assertTrue(refused.lstrip().startswith(b"ERROR"), refused)
            self.assertEqual(secure.recv(1), b"", "then it closes in order")

    def test_unix_socket(self) -> None:
        """For owner and group only; credentials count there as well; gone after a stop."""
        vm = "vmctest-unix"
        self.running(vm)
        mode = Path(self.socket).stat().st_mode
        self.assertTrue(stat.S_ISSOCK(mode))
        self.assertEqual(stat.S_IMODE(mode), 0o660)
        for frame, answer in (
            (self.connect_frame(vm), b"CONNECTED"),
            (b"CONNECT\naccept-version:1.2\nhost:/\n\n\0", b"ERROR"),
        ):
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(30)
                connection.connect(self.socket)
                self.assertTrue(said(connection, frame).startswith(answer))
        self.daemon.kill()
        self.daemon.start()  # over what the killed one left
        self.daemon.api.powerOff(vm)
        self.daemon.api.removeVM(vm)
        self.daemon.terminate()
        self.assertFalse(Path(self.socket).exists())

    def test_bad_files(self) -> None:
        """A key of another certificate is one clear error, before anything is listened on."""
        self.daemon.terminate()
        _, other_key = certificate(self.folder, "another", "127.0.0.1")
        text = self.daemon.config.read_text()
        for broken, key in (
            (text.replace(self.key, other_key), "tls_key"),
            (text.replace(self.certificate, "/nonexistent"), "tls_certificate"),
        ):
            self.daemon.config.write_text(broken)
            command = [str(Path(sys.executable).with_name("vmcontroller-host")), "-c"]
            ended = subprocess.run(
                [*command, str(self.daemon.config)], capture_output=True, timeout=60, check=False
            )
            self.assertNotEqual(ended.returncode, 0)
            self.assertIn(f"broker: {key}:".encode(), ended.stderr)
            self.assertNotIn(b"listens on", ended.stderr)
            self.assertNotIn(b"Traceback", ended.stderr)
