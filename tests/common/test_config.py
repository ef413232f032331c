"""The configuration: every mistake is one error that names the key and what is allowed."""

from __future__ import annotations

import contextlib
from dataclasses import fields
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common import settings
from vmcontroller.common.config import (
    GuestConfig,
    HostConfig,
    load_guest_config,
    load_host_config,
)
from vmcontroller.common.errors import ConfigError

CONFIG_DIR = Path(__file__).resolve().parents[2] / "config"


def host(text: str) -> HostConfig:
    return settings.load(HostConfig, text, "host.yaml")


def keys_of(kind: type, prefix: str = "") -> set[str]:
    found = set()
    for field in fields(kind):
        if "section" in field.metadata:
            found |= keys_of(field.metadata["section"], f"{prefix}{field.name}.")
        else:
            found.add(prefix + field.name)
    return found


class ConfigTests(SynchronousTestCase):
    def refused(self, text: str, key: str, hint: str) -> None:
        error = self.assertRaises(ConfigError, host, text)
        self.assertEqual(error.key, key)
        self.assertIn(hint, str(error))
        self.assertTrue(str(error).startswith("host.yaml: "))

    def test_empty_is_all_defaults(self) -> None:
        """Every key has a default."""
        self.assertEqual(host(""), HostConfig())
        self.assertEqual(host("xmlrpc:"), HostConfig())

    def test_values_arrive(self) -> None:
        """What is set is what the daemon gets."""
        config = host("xmlrpc: {port: 8080, anonymous: true}\nguests: {gc_grace: 5}")
        self.assertEqual(config.xmlrpc.port, 8080)
        self.assertTrue(config.xmlrpc.anonymous)
        self.assertEqual(config.guests.gc_grace, 5.0)

    def test_unknown_key(self) -> None:
        """A misspelt key is refused, with those that exist."""
        self.refused("xmlrpc: {prot: 1}", "xmlrpc.prot", "listen_on, port, anonymous")
        self.refused("hypervizor: {}", "hypervizor", "allowed: xmlrpc")

    def test_key_given_twice(self) -> None:
        """The second value would silently win otherwise."""
        self.refused("xmlrpc: {port: 1, port: 2}", "", "'port' is given twice")

    def test_wrong_values(self) -> None:
        """Each kind of key says what it takes."""
        self.refused("xmlrpc: {port: 70000}", "xmlrpc.port", "from 0 to 65535, not 70000")
        self.refused("xmlrpc: {port: true}", "xmlrpc.port", "whole number")
        self.refused("xmlrpc: {anonymous: 'yes'}", "xmlrpc.anonymous", "true or false")
        self.refused("xmlrpc: {listen_on: everywhere}", "xmlrpc.listen_on", "IP address")
        self.refused("hypervisor: {name: xen}", "hypervisor.name", "libvirt, local")
        self.refused("hypervisor: {name: [libvirt]}", "hypervisor.name", "libvirt, local")
        self.refused("guests: {gc_grace: .nan}", "guests.gc_grace", "seconds")
        self.refused("state_dir: here", "state_dir", "absolute path")
        self.refused("files: {roots: /srv}", "files.roots", "list of absolute paths")
        self.refused("files: {role_roots: {boss: [/a]}}", "files.role_roots", "exec, files, admin")
        self.refused("files: {role_roots: {files: /a}}", "files.role_roots", "absolute paths")
        self.refused("files: {resume_grace: -1}", "files.resume_grace", "seconds")
        self.refused("xmlrpc: 3", "xmlrpc", "must be a mapping")

    def test_secrets_are_not_shown(self) -> None:
        """An error about a password does not print it."""
        error = self.assertRaises(ConfigError, host, "broker: {password: 4711}")
        self.assertNotIn("4711", str(error))

    def test_broker_addresses(self) -> None:
        """`auto`, one address and a list are allowed."""
        self.assertEqual(host("broker: {host: auto}").broker.host, ())
        self.assertEqual(host("broker: {host: 10.0.0.1}").broker.host, ("10.0.0.1",))
        self.assertEqual(host("broker: {host: ['::1', 10.0.0.1]}").broker.host, ("::1", "10.0.0.1"))
        self.refused("broker: {host: []}", "broker.host", "auto, an IP address or a list")

    def test_external_broker(self) -> None:
        """It has one address or name and a port; each mistake names its key."""
        config = self.loaded("broker: {name: external, host: mq.example.org, username: h}")
        self.assertTrue(config.broker.is_external)
        self.assertEqual(config.broker.host, ("mq.example.org",))
        for text, key in (
            ("name: external", "broker.host"),
            ("name: external, host: auto", "broker.host"),
            ("name: external, host: [10.0.0.1, 10.0.0.2]", "broker.host"),
            ("name: external, host: 10.0.0.1, port: 0", "broker.port"),
            ("name: external, host: 10.0.0.1, guest_password: x", "broker.guest_username"),
            ("name: external, host: 10.0.0.1, guest_username: x", "broker.guest_password"),
            ("name: external, host: 10.0.0.256", "broker.host"),
            ("host: mq.example.org", "broker.host"),
        ):
            error = self.assertRaises(ConfigError, self.loaded, f"broker: {{{text}}}")
            self.assertEqual(error.key, key, text)

    def test_what_guests_can_be_told(self) -> None:
        """A login or passcode that cannot be told to a guest is refused, unseen."""
        self.refused("broker: {guest_username: 'a:b'}", "broker.guest_username", "colons")
        error = self.assertRaises(ConfigError, host, "broker: {guest_password: 'pass word'}")
        self.assertEqual(error.key, "broker.guest_password")
        self.assertNotIn("pass word", str(error))

    def loaded(self, text: str) -> HostConfig:
        path = Path(self.mktemp())
        path.write_text(text)
        return load_host_config(str(path))

    def test_guest_id(self) -> None:
        """An id in any writing of a MAC address becomes the canonical one."""
        config = settings.load(GuestConfig, "vm: {id: 52-54-00-ab-cd-ef}", "guest.yaml")
        self.assertEqual(config.vm.id, "52:54:00:AB:CD:EF")

    def test_files_that_cannot_be_read(self) -> None:
        """A missing file and one that isn't text are named."""
        error = self.assertRaises(ConfigError, load_host_config, "/does/not/exist.yaml")
        self.assertIn("/does/not/exist.yaml", str(error))
        path = Path(self.mktemp())
        path.write_bytes(b"\xff\xfe\x00")
        self.assertRaises(ConfigError, load_guest_config, str(path))

    def test_shipped_files_show_every_key(self) -> None:
        """config/host.yaml and guest.yaml hold each key with its default, commented or not."""
        for name, kind in (("host.yaml", HostConfig), ("guest.yaml", GuestConfig)):
            text = (CONFIG_DIR / name).read_text()
            bare = "\n".join(
                line.removeprefix("#") if line.startswith("#  ") else line
                for line in text.splitlines()
            )
            self.assertEqual(settings.load(kind, bare, name), kind())
            for key in keys_of(kind):
                self.assertIn(f"{key.rpartition('.')[2]}:", bare, f"{name} lacks {key}")

    @given(st.text(max_size=200))
    def test_any_text(self, text) -> None:
        """Any text is a configuration or a ConfigError."""
        with contextlib.suppress(ConfigError):
            self.assertIsInstance(host(text), HostConfig)
