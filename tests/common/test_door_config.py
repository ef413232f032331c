"""The keys of `xmlrpc`: what they take, and which don't go together."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.config import load_host_config
from vmcontroller.common.door_config import XmlRpcConfig
from vmcontroller.common.errors import ConfigError


class DoorConfigTests(SynchronousTestCase):
    def load(self, text: str) -> XmlRpcConfig:
        path = Path(self.mktemp())
        path.write_text(f"xmlrpc: {{{text}}}\n")
        return load_host_config(str(path)).xmlrpc

    def refused(self, text: str, key: str, says: str) -> None:
        error = self.assertRaises(ConfigError, self.load, text)
        self.assertEqual(error.key, f"xmlrpc.{key}")
        self.assertIn(says, error.problem)

    def test_values(self) -> None:
        """Lists of roles and of names arrive in one form."""
        config = self.load("socket_roles: [exec, read], allowed_hosts: [VM1.Example.org, vm2]")
        self.assertEqual(config.socket_roles, ("read", "exec"))
        self.assertEqual(config.allowed_hosts, ("vm1.example.org", "vm2"))
        self.assertEqual(self.load("socket_roles: []").socket_roles, ())

    def test_wrong_values(self) -> None:
        """Each says what it takes."""
        self.refused("socket_roles: [boss]", "socket_roles", "read, operate, exec, files, admin")
        self.refused("socket_roles: read", "socket_roles", "a list of")
        for names in ("x", "[1]", "['a b']", "['host:80']", "['']", "['-']"):
            self.refused(f"allowed_hosts: {names}", "allowed_hosts", "a list of host names")
        self.refused("max_connections: 1", "max_connections", "from 16 to")
        self.refused("socket: here", "socket", "an absolute path")

    def test_loopback(self) -> None:
        """On loopback anything goes: without users, without TLS, or open to everybody."""
        for address in ("127.0.0.1", "127.9.9.9", "'::1'"):
            self.assertTrue(self.load(f"listen_on: {address}, anonymous: true").is_loopback)

    def test_other_addresses(self) -> None:
        """An address that others reach is never open to everybody, nor in the clear."""
        tls = "tls_certificate: /c, tls_key: /k"
        for address in ("0.0.0.0", "192.0.2.1", "'::'", "'2001:db8::1'"):
            self.refused(f"listen_on: {address}", "tls_certificate", "not loopback")
            self.refused(f"listen_on: {address}, anonymous: true, {tls}", "anonymous", "loopback")
            self.assertTrue(self.load(f"listen_on: {address}, {tls}").has_tls)

    def test_tls(self) -> None:
        """Certificate and key come together, and before those of clients."""
        self.refused("tls_certificate: /c", "tls_key", "must name a file")
        self.refused("tls_key: /k", "tls_certificate", "must name a file")
        self.refused("tls_client_ca: /a", "tls_certificate", "must name a file")
