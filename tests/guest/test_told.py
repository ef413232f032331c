"""What a guest is told from outside: addresses and credentials, well-formed or not."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.config import VmConfig
from vmcontroller.common.credentials import Credential, newest, read_credential
from vmcontroller.guest.kept_credential import KeptCredential
from vmcontroller.guest.told import Told, read_told, told_by_environment, told_by_strings


class StringTests(SynchronousTestCase):
    def test_forms_of_an_address(self) -> None:
        """A name, an IPv4 address and a bracketed IPv6 address are understood."""
        for text, expected in (
            ("192.168.122.1:61613", ("192.168.122.1", 61613)),
            ("host.example:1", ("host.example", 1)),
            ("[fd00::1]:65535", ("fd00::1", 65535)),
        ):
            self.assertEqual(told_by_strings([f"vmcontroller.broker={text}"]).broker, expected)
            self.assertEqual(told_by_environment(f"VMCONTROLLER_BROKER={text}").broker, expected)

    def test_nonsense_is_passed_over(self) -> None:
        """A malformed string does not hide a good one after it."""
        bad = ("", ":1", "a:", "a:0", "a:65536", "fd00::1:61613", "[x]:1", "a b:1")
        strings = ["something else", *(f"vmcontroller.broker={text}" for text in bad)]
        self.assertEqual(told_by_strings(strings), Told())
        self.assertEqual(told_by_strings([*strings, "vmcontroller.broker=h:7"]).broker, ("h", 7))

    def test_credential(self) -> None:
        """Login and passcode are told together."""
        told = told_by_strings(["vmcontroller.credential=uuid:3-ab", "vmcontroller.broker=h:1"])
        self.assertEqual(told.credential, Credential(login="uuid", passcode="3-ab"))
        self.assertEqual(told.credential.generation, 3)


class EnvironmentTests(SynchronousTestCase):
    def test_file(self) -> None:
        """Comments, quotes and other variables are no trouble; a missing file tells nothing."""
        path = Path(self.mktemp())
        config = VmConfig(environment_file=str(path))
        self.assertEqual(read_told(config), Told())
        path.write_text(
            "# made by hand\nPATH=/bin\nVMCONTROLLER_BROKER='h:1'\n"
            'VMCONTROLLER_CREDENTIAL="u:1-x"\n\n'
        )
        self.assertEqual(
            read_told(config),
            Told(broker=("h", 1), credential=Credential(login="u", passcode="1-x")),
        )
        path.write_bytes(b"\xff\n")
        self.assertEqual(read_told(config), Told())

    @given(st.text())
    def test_any_text(self, text: str) -> None:
        """Whatever the file holds, it is no error."""
        told_by_environment(text)
        told_by_environment(f"VMCONTROLLER_CREDENTIAL={text}\nVMCONTROLLER_BROKER={text}")


class CredentialTests(SynchronousTestCase):
    def test_kept(self) -> None:
        """What was given is there after a restart, for the agent only."""
        path = Path(self.mktemp())
        kept = KeptCredential(path)
        self.assertIsNone(kept.read())
        for number in (1, 2):
            credential = Credential(login="u", passcode=f"{number}-x")
            kept.keep(credential)
            self.assertEqual(KeptCredential(path).read(), credential)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        path.write_bytes(b"\xff")
        self.assertIsNone(kept.read())

    def test_newest(self) -> None:
        """Of the first one's login the highest generation: a cloned disk's copy is another's."""
        told, given_later, anothers = (
            Credential(login="u", passcode="1-a"),
            Credential(login="u", passcode="2-b"),
            Credential(login="v", passcode="9-c"),
        )
        self.assertEqual(newest(told, given_later), given_later)
        self.assertEqual(newest(given_later, told), given_later)
        self.assertEqual(newest(told, anothers), told)
        self.assertEqual(newest(None, anothers), anothers)
        self.assertIsNone(newest(None, None))

    def test_a_passcode_of_anything_else(self) -> None:
        """A configured one without a generation counts as the oldest."""
        self.assertEqual(Credential(login="u", passcode="secret").generation, 0)
        for text in ("", "u", ":x", "u:", "a b:c", "u:x y", "u:" + "x" * 300):
            self.assertIsNone(read_credential(text), text)
        self.assertNotIn("secret", repr(Credential(login="u", passcode="secret")))
