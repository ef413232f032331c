"""TLS at the door of a real daemon: passwords and tokens through it, certificates of clients."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from xmlrpc.client import ServerProxy

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.attacks.door_attacks import CALL, of_length
from tests.integration.attacks.door_scene import (
    ADMIN,
    BEARER,
    PASSWORD,
    READER,
    UserDaemon,
    answer_of,
    as_account,
)
from tests.integration.certificates import certificate
from tests.integration.daemon import until

ADDRESS = "127.0.0.1"


class TlsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.server, key = certificate(self.folder, "server", ADDRESS)
        self.ours, self.our_key = certificate(self.folder, "reader", ADDRESS)
        keys = f", tls_certificate: {self.server}, tls_key: {key}, tls_client_ca: {self.ours}"
        self.daemon = UserDaemon(keys)
        self.addCleanup(self.stop)
        self.daemon.write_users(ADMIN, READER)
        self.daemon.start()

    def stop(self) -> None:
        """End it; there are no VMs to be removed."""
        self.daemon.terminate()
        self.daemon.stop()

    def context(self, *shown: str) -> ssl.SSLContext:
        """Trust the daemon; show a certificate."""
        context = ssl.create_default_context(cafile=self.server)
        if shown:
            context.load_cert_chain(*shown)
        return context

    def answer(self, context: ssl.SSLContext, *lines: str) -> bytes:
        """Call `version`; return the response, empty where the connection ends without one."""
        with (
            socket.create_connection(self.daemon.address, 30) as plain,
            context.wrap_socket(plain, server_hostname=ADDRESS) as wire,
        ):
            wire.sendall(of_length(CALL, "Connection: close", *lines))
            return answer_of(wire)

    def test_logging_in_through_it(self) -> None:
        """Names with passwords, and tokens, are known as without TLS; nobody is nobody."""
        login = f"reader:{PASSWORD.replace(' ', '%20')}"
        url = f"https://{login}@{ADDRESS}:{self.daemon.address[1]}/RPC2"
        with ServerProxy(url, context=self.context()) as client:
            self.assertEqual(client.whoAmI()["name"], "reader")
        self.assertTrue(self.answer(self.context(), BEARER).startswith(b"HTTP/1.1 200"))
        self.assertTrue(self.answer(self.context()).startswith(b"HTTP/1.1 401"))

    def test_certificates(self) -> None:
        """One that is signed as it should be is its user; a token counts before it."""
        context = self.context(self.ours, self.our_key)
        url = f"https://{ADDRESS}:{self.daemon.address[1]}/RPC2"
        with ServerProxy(url, context=context) as client:
            self.assertEqual(client.whoAmI()["roles"], ["read"])
        headers = [tuple(BEARER.split(": ", 1))]
        with ServerProxy(url, context=context, headers=headers) as client:
            self.assertEqual(client.whoAmI()["name"], "boss")
        self.daemon.write_users(ADMIN)
        until(lambda: self.answer(context)[:12] == b"HTTP/1.1 401", "who is removed is out")

    def test_another_authority(self) -> None:
        """A certificate that says the same and is signed by somebody else ends the handshake."""
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir()
        forged = certificate(elsewhere, "reader", ADDRESS)
        try:
            answer = self.answer(self.context(*forged))
        except OSError:
            answer = b""
        self.assertEqual(answer, b"")

    def test_in_the_clear(self) -> None:
        """Without TLS there is nothing at this address, and the socket needs none."""
        with socket.create_connection(self.daemon.address, 30) as wire:
            wire.sendall(of_length(CALL, BEARER))
            self.assertNotIn(b"200", answer_of(wire))
        self.assertIn("<string>admin</string>", as_account(self.daemon, os.getuid(), os.getgid()))
        old = ssl.create_default_context(cafile=self.server)
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        self.assertTrue(self.answer(old, BEARER).startswith(b"HTTP/1.1 200"))
