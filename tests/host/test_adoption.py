"""Who may log in as which guest while machines come, go, are cloned and restored."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes.hypervisor import FakeHypervisor
from vmcontroller.common.errors import HypervisorError, HypervisorUnreachable, NotConnected
from vmcontroller.host.adoption import LOOK_AGAIN_S, Adoption
from vmcontroller.host.directory import Directory
from vmcontroller.host.hypervisor.base import Vm, VmChanged
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.identity.credentials import Credentials
from vmcontroller.host.identity.identities import identity_of

ONE = Vm(
    uuid="11111111-1111-4111-8111-111111111111",
    name="one",
    state=VmState.RUNNING,
    macs=("52:54:00:00:00:01", "52:54:00:00:00:02"),
)
BARE = replace(ONE, uuid="22222222-2222-4222-8222-222222222222", name="bare", macs=())


class AdoptionTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.hypervisor = FakeHypervisor({ONE.uuid: ONE, BARE.uuid: BARE})
        self.directory = Directory(clock=self.clock, hypervisor=self.hypervisor)
        self.greeted = []
        self.ended = []
        self.adoption = Adoption(
            clock=self.clock,
            hypervisor=self.hypervisor,
            directory=self.directory,
            greet=self.greeted.append,
            end_session=lambda guest, reason: self.ended.append(guest),
        )
        self.adoption.credentials = Credentials(key=bytes(32), records={}, save=lambda _: None)
        self.successResultOf(Deferred.fromCoroutine(self.hypervisor.open(self.changed)))
        self.follow()

    def changed(self, change: VmChanged) -> None:
        self.directory.changed(change)
        self.adoption.changed(change)

    def follow(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.adoption.follow()))

    def who(self, login: str, vm: Vm = ONE):
        return self.adoption.who(login, self.adoption.credential_of(vm).passcode)

    def test_logins(self) -> None:
        """A guest logs in as its VM's UUID or any of its addresses, and is always the same one."""
        for login in (ONE.uuid, ONE.uuid.upper(), *ONE.macs, ONE.macs[1].lower()):
            self.assertEqual(self.who(login), ONE.macs[0])
        self.assertEqual(self.who(BARE.uuid, BARE), identity_of(BARE))
        self.assertEqual(self.who(identity_of(BARE), BARE), identity_of(BARE))

    def test_vms_of_another_daemon(self) -> None:
        """A VM that was told a credential is ours if we have made that; a clone's we have, too."""
        told = self.adoption.credential_of(ONE)
        for login, passcode, expected in (
            ("", "", True),
            (told.login, told.passcode, True),
            (told.login, told.passcode.translate(str.maketrans("abc", "bca")), False),
            (BARE.uuid, told.passcode, False),
        ):
            vm = replace(BARE, told_login=login, told_passcode=passcode)
            self.assertEqual(self.adoption.is_ours(vm), expected)

    def test_another_vms_credential(self) -> None:
        """The credential of one VM opens for no other one."""
        self.assertIsNone(self.who(BARE.uuid, ONE))
        self.assertIsNone(self.adoption.who(ONE.uuid, ""))
        self.assertIsNone(self.who("nobody"))
        self.assertIsNone(self.who("one"), "a name is no login: it may change hands")

    def test_a_vm_that_is_off(self) -> None:
        """Nobody can be the guest of a VM that is off: whoever has its credential stole it."""
        self.hypervisor.becomes(ONE, VmState.POWERED_OFF)
        self.assertIsNone(self.who(ONE.uuid))
        self.hypervisor.becomes(ONE, VmState.RUNNING)
        self.assertEqual(self.who(ONE.uuid), ONE.macs[0])

    def test_a_vm_made_later(self) -> None:
        """One that others define and start while the daemon runs is let in by itself."""
        later = replace(
            ONE,
            uuid="33333333-3333-4333-8333-333333333333",
            name="later",
            macs=("52:54:00:00:00:03",),
        )
        self.hypervisor.becomes(later, VmState.RUNNING)
        self.assertEqual(self.who(later.uuid, later), later.macs[0])

    def test_a_vm_of_which_no_event_told(self) -> None:
        """Its first attempt is refused and has the machines read anew, at most now and then."""
        listings = []
        real = self.hypervisor.list_vms

        async def list_vms():
            listings.append(1)
            return await real()

        self.hypervisor.list_vms = list_vms
        later = replace(ONE, uuid="33333333-3333-4333-8333-333333333333", macs=())
        self.clock.advance(LOOK_AGAIN_S)
        self.hypervisor.world[later.uuid] = later
        self.assertIsNone(self.who(later.uuid, later))
        self.assertIsNotNone(self.who(later.uuid, later))
        for _ in range(100):
            self.who("a flood of strangers")
        self.assertEqual(len(listings), 1)

    def test_hypervisor_away(self) -> None:
        """A login while it does not answer is refused, and no error; known guests come in."""

        async def list_vms():
            raise HypervisorUnreachable("fake", "away")

        self.hypervisor.list_vms = list_vms
        self.clock.advance(LOOK_AGAIN_S)
        self.assertIsNone(self.who("stranger"))
        self.assertEqual(self.who(ONE.uuid), ONE.macs[0])

    def test_clone(self) -> None:
        """A copy that was told the original's credential gets its own, the original a new one."""
        old = self.adoption.credential_of(ONE)
        clone = replace(
            ONE,
            uuid="44444444-4444-4444-8444-444444444444",
            name="clone",
            state=VmState.POWERED_OFF,
            macs=("52:54:00:00:00:04",),
            told_login=ONE.uuid,
        )
        self.hypervisor.becomes(clone, VmState.POWERED_OFF)
        self.assertEqual(self.hypervisor.told[clone.uuid], self.adoption.credential_of(clone))
        new = self.adoption.owed(ONE.macs[0])
        self.assertNotEqual(new, old)
        self.assertEqual(self.greeted, [ONE.macs[0]])
        self.assertEqual(self.adoption.who(ONE.uuid, old.passcode), ONE.macs[0])
        self.adoption.kept(ONE.macs[0], old.generation)
        self.assertEqual(self.adoption.owed(ONE.macs[0]), new, "that is not the new one")
        self.adoption.kept(ONE.macs[0], new.generation)
        self.assertIsNone(self.adoption.who(ONE.uuid, old.passcode))
        self.follow()
        self.assertEqual(self.adoption.credential_of(ONE), new, "seen once, replaced once")

    def test_clone_of_another_daemons_vm(self) -> None:
        """That daemon gives it its own: two would overwrite what the other has told."""
        clone = replace(
            ONE,
            uuid="4" * 8 + ONE.uuid[8:],
            name="clone",
            macs=("52:54:00:00:00:04",),
            told_login=ONE.uuid,
            told_passcode="1-" + "0" * 64,
        )
        self.hypervisor.becomes(clone, VmState.POWERED_OFF)
        self.assertEqual(self.hypervisor.told, {})
        self.assertIsNone(self.adoption.owed(ONE.macs[0]))

    def test_clone_that_cannot_be_told(self) -> None:
        """The original is safe all the same; a start will tell the clone."""

        async def tell(uuid, credential):
            raise HypervisorError("fake", "no")

        def greet(guest):
            raise NotConnected("no broker yet")

        self.hypervisor.tell = tell
        self.adoption._greet = greet
        clone = replace(BARE, uuid="4" * 8 + BARE.uuid[8:], name="clone", told_login=BARE.uuid)
        self.hypervisor.becomes(clone, VmState.RUNNING)
        self.assertEqual(self.adoption.credential_of(BARE).generation, 2)

    def test_restored(self) -> None:
        """What was put back logs in once with what it had then, and is owed a new one."""
        first = self.adoption.credential_of(ONE)
        self.adoption.credentials.replace(ONE.uuid, is_on=False)
        self.assertIsNone(self.adoption.who(ONE.uuid, first.passcode))
        self.changed(VmChanged(uuid=ONE.uuid, name="one", state=VmState.RUNNING, restored=True))
        self.assertEqual(self.ended, [ONE.macs[0]], "its session of before")
        self.assertEqual(self.adoption.who(ONE.uuid, first.passcode), ONE.macs[0])
        self.assertEqual(self.adoption.owed(ONE.macs[0]).generation, 3)

    def test_strangers_are_owed_nothing(self) -> None:
        """A guest whose VM has gone is no error."""
        self.assertIsNone(self.adoption.owed("52:54:00:00:00:99"))
        self.adoption.kept("52:54:00:00:00:99", 1)
