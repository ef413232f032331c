"""The directory: names, UUIDs and MAC addresses as the hypervisor has them at any time."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import DeadlinePassed, HypervisorUnreachable, NoSuchVM
from vmcontroller.host.directory import Directory
from vmcontroller.host.hypervisor.base import Vm, VmChanged
from vmcontroller.host.hypervisor.vm_state import VmState

ONE = Vm(
    uuid="11111111-1111-4111-8111-111111111111",
    name="one",
    state=VmState.RUNNING,
    macs=("52:54:00:00:00:01", "52:54:00:00:00:02"),
)


class Listing:
    """As much of a hypervisor as a directory asks: what it lists can be set, and is counted."""

    def __init__(self, *vms: Vm) -> None:
        self.vms = vms
        self.asked = 0
        self.fails = False

    async def list_vms(self) -> tuple[Vm, ...]:
        self.asked += 1
        if self.fails:
            raise HypervisorUnreachable("listing", "away")
        return self.vms


class DirectoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.listing = Listing(ONE)
        self.directory = Directory(clock=self.clock, hypervisor=self.listing)

    def find(self, reference: str) -> Vm:
        return self.successResultOf(Deferred.fromCoroutine(self.directory.find(reference)))

    def until(self, wanted: VmState, deadline_s: float = 10) -> Deferred:
        return Deferred.fromCoroutine(
            self.directory.until(ONE, lambda state: state is wanted, deadline_s, "get there")
        )

    def changed(self, state: VmState | None, vm: Vm = ONE) -> None:
        self.directory.changed(VmChanged(uuid=vm.uuid, name=vm.name, state=state))

    def test_three_names(self) -> None:
        """A VM is found by name, UUID and any of its MAC addresses, in any writing."""
        for reference in ("one", ONE.uuid, ONE.uuid.upper(), *ONE.macs, "52-54-00-00-00-02"):
            self.assertEqual(self.find(reference), ONE)
        self.assertEqual(self.listing.asked, 1)

    def test_unknown(self) -> None:
        """An unknown name is looked for once more before it is refused."""
        self.find("one")
        self.failureResultOf(Deferred.fromCoroutine(self.directory.find("two")), NoSuchVM)
        self.assertEqual(self.listing.asked, 2)

    def test_made_by_others_later(self) -> None:
        """A VM that another program makes is found at once."""
        self.find("one")
        two = replace(ONE, uuid="2", name="two", macs=())
        self.listing.vms = (ONE, two)
        self.assertEqual(self.find("two"), two)

    def test_removed_by_others(self) -> None:
        """A VM that was reported gone is not found any more."""
        self.find("one")
        self.listing.vms = ()
        self.changed(None)
        self.failureResultOf(Deferred.fromCoroutine(self.directory.find("one")), NoSuchVM)

    def test_defined_anew(self) -> None:
        """A change that leaves the state as it was may have changed the name or the NICs."""
        self.find("one")
        self.listing.vms = (replace(ONE, macs=("52:54:00:00:00:09",)),)
        self.changed(VmState.RUNNING)
        self.assertEqual(self.find("one").macs, ("52:54:00:00:00:09",))

    def test_state_follows(self) -> None:
        """A reported state is known without asking."""
        self.find("one")
        self.changed(VmState.PAUSED)
        self.assertIs(self.find("one").state, VmState.PAUSED)
        self.assertEqual(self.listing.asked, 1)

    def test_failure_is_not_remembered(self) -> None:
        """After a failed listing the next call asks again."""
        self.listing.fails = True
        self.failureResultOf(
            Deferred.fromCoroutine(self.directory.find("one")), HypervisorUnreachable
        )
        self.listing.fails = False
        self.assertEqual(self.find("one"), ONE)

    def test_change_during_a_listing(self) -> None:
        """A listing that was under way when something changed is not believed for long."""
        listed: Deferred = Deferred()

        async def slowly():
            return await listed

        quickly, self.listing.list_vms = self.listing.list_vms, slowly
        finding = Deferred.fromCoroutine(self.directory.find("one"))
        self.changed(VmState.POWERED_OFF)
        listed.callback((ONE,))
        self.successResultOf(finding)
        self.listing.list_vms = quickly
        self.listing.vms = (replace(ONE, state=VmState.POWERED_OFF),)
        self.assertIs(self.find("one").state, VmState.POWERED_OFF)

    def test_until_it_is(self) -> None:
        """Waiting ends with the event, and the timer with it."""
        waiting = self.until(VmState.POWERED_OFF)
        self.assertNoResult(waiting)
        self.changed(VmState.STOPPING)
        self.assertNoResult(waiting)
        self.changed(VmState.POWERED_OFF)
        self.successResultOf(waiting)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_until_it_was_already(self) -> None:
        """A state reached before anybody waited is enough."""
        self.successResultOf(self.until(VmState.RUNNING))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_until_the_deadline(self) -> None:
        """What does not happen in time is said to the caller."""
        waiting = self.until(VmState.POWERED_OFF, 10)
        self.clock.advance(10)
        failure = self.failureResultOf(waiting, DeadlinePassed)
        self.assertEqual(str(failure.value), "'one' did not get there within 10 s")
