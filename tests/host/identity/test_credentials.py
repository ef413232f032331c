"""Credentials: which passcode is good, what replaces one, and that nobody is locked out."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.identity.credentials import (
    CredentialRecord,
    Credentials,
    derive,
    find_record,
    generation_of,
    logins_of,
)

KEY = bytes(range(32))
ONE = Vm(
    uuid="11111111-1111-4111-8111-111111111111",
    name="one",
    state=VmState.RUNNING,
    macs=("52:54:00:00:00:01",),
)
TWO = replace(ONE, uuid="22222222-2222-4222-8222-222222222222", name="two", macs=())


class CredentialTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.saved: list[dict[str, CredentialRecord]] = []
        self.credentials = Credentials(
            key=KEY, records={}, save=lambda records: self.saved.append(dict(records))
        )

    def passcode(self, generation: int, vm: Vm = ONE) -> str:
        return derive(KEY, vm.uuid, generation).passcode

    def admitted(self, generation: int) -> bool:
        return self.credentials.admits(ONE.uuid, self.passcode(generation))

    def test_its_own_only(self) -> None:
        """A VM's passcode opens for that VM, and no other text does."""
        own = self.credentials.of(ONE.uuid)
        self.assertEqual((own.login, own.generation), (ONE.uuid, 1))
        self.assertTrue(self.credentials.admits(ONE.uuid, own.passcode))
        for other in ("", "1-", own.passcode[:-1], own.passcode + "0", own.passcode.upper()):
            self.assertFalse(self.credentials.admits(ONE.uuid, other), other)
        self.assertFalse(self.credentials.admits(TWO.uuid, own.passcode))
        self.assertFalse(self.admitted(2), "one that is yet to come")

    def test_survives_a_restart(self) -> None:
        """The same key and records give the same credentials; nothing is saved for reading."""
        self.credentials.replace(ONE.uuid, is_on=False)
        again = Credentials(key=KEY, records=self.saved[-1], save=self.saved.append)
        self.assertEqual(again.of(ONE.uuid), self.credentials.of(ONE.uuid))
        self.assertEqual(again.of(ONE.uuid).generation, 2)

    def test_replaced_while_off(self) -> None:
        """The old one is good no more: the next start tells the new one."""
        self.credentials.replace(ONE.uuid, is_on=False)
        self.assertFalse(self.admitted(1))
        self.assertTrue(self.admitted(2))
        self.assertIsNone(self.credentials.owed(ONE.uuid))

    def test_replaced_while_on(self) -> None:
        """The old one is good until the guest has the new one, and is over then."""
        self.credentials.replace(ONE.uuid, is_on=True)
        self.assertTrue(self.admitted(1))
        self.assertEqual(self.credentials.owed(ONE.uuid), self.credentials.of(ONE.uuid))
        self.credentials.kept(ONE.uuid)
        self.assertFalse(self.admitted(1))
        self.assertIsNone(self.credentials.owed(ONE.uuid))

    def test_using_the_new_one_ends_the_old(self) -> None:
        """A confirmation that was lost is made up for by the next login."""
        self.credentials.replace(ONE.uuid, is_on=True)
        self.assertTrue(self.admitted(2))
        self.assertFalse(self.admitted(1))

    def test_restored(self) -> None:
        """After a restore one login of any generation is good, and makes a new one."""
        for _ in range(3):
            self.credentials.replace(ONE.uuid, is_on=False)
        self.credentials.restored(ONE.uuid)
        self.assertTrue(self.admitted(2))
        self.assertEqual(self.credentials.of(ONE.uuid).generation, 5)
        self.assertTrue(self.admitted(2), "until it has the new one")
        self.assertFalse(self.admitted(3), "only what was used")
        self.assertTrue(self.admitted(5))
        self.assertFalse(self.admitted(2))

    def test_restored_with_the_current_one(self) -> None:
        """Memory that was put back may exist twice: its credential is replaced all the same."""
        self.credentials.restored(ONE.uuid)
        self.assertTrue(self.admitted(1))
        self.assertEqual(self.credentials.of(ONE.uuid).generation, 2)

    def test_a_forged_one_does_not_use_up_the_restore(self) -> None:
        """Guessing after a restore changes nothing."""
        self.credentials.restored(ONE.uuid)
        before = self.saved[-1]
        self.assertFalse(self.credentials.admits(ONE.uuid, "1-" + "0" * 64))
        self.assertEqual(self.saved[-1], before)

    def test_following(self) -> None:
        """Names and addresses are noted; a generation outlives its VM, all else does not."""
        self.credentials.replace(TWO.uuid, is_on=False)
        self.credentials.follow([ONE, TWO])
        self.assertEqual(self.saved[-1][ONE.uuid].name, "one")
        saves = len(self.saved)
        self.credentials.follow([ONE, TWO])
        self.assertEqual(len(self.saved), saves, "nothing has changed")
        self.credentials.follow([])
        self.assertEqual(self.saved[-1], {TWO.uuid: CredentialRecord(generation=2)})

    def test_found_by_name_uuid_and_mac(self) -> None:
        """For whoever asks for the credential of a VM."""
        self.credentials.follow([ONE, TWO])
        for reference in ("one", ONE.uuid.upper(), "52:54:00:00:00:01"):
            self.assertEqual(find_record(self.saved[-1], reference)[0], ONE.uuid)
        self.assertIsNone(find_record(self.saved[-1], "three"))

    def test_logins(self) -> None:
        """A guest may log in as its UUID or any of its addresses, as one without a NIC, too."""
        self.assertEqual(logins_of(ONE), {ONE.uuid.upper(), "52:54:00:00:00:01"})
        self.assertEqual(len(logins_of(TWO)), 2)

    @given(st.text(max_size=80))
    def test_any_text(self, text: str) -> None:
        """Whatever is said as a passcode, it is refused and never an error."""
        self.assertEqual(generation_of(KEY, ONE.uuid, text), 0)


class LifeTests(SynchronousTestCase):
    @given(st.lists(st.sampled_from(["restore", "clone", "login", "told", "lost", "restart"])))
    def test_the_guest_always_gets_in(self, steps: list[str]) -> None:
        """Whatever happens in whatever order, a guest with what it last had is let in."""
        saved: dict[str, CredentialRecord] = {}
        credentials = Credentials(key=KEY, records={}, save=saved.update)
        has, snapshot = credentials.of(ONE.uuid), credentials.of(ONE.uuid)
        for step in steps:
            if step == "restore":
                has = snapshot
                credentials.restored(ONE.uuid)
            elif step == "clone":
                credentials.replace(ONE.uuid, is_on=True)
            elif step == "restart":
                credentials = Credentials(key=KEY, records=dict(saved), save=saved.update)
            else:
                self.assertTrue(credentials.admits(ONE.uuid, has.passcode), steps)
                owed = credentials.owed(ONE.uuid)
                if step != "lost" and owed is not None:
                    has = owed
                    if step == "told":
                        credentials.kept(ONE.uuid)
                        snapshot = has
