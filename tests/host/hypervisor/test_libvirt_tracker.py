"""Which events and listings are changes, and that each is told once."""

from __future__ import annotations

import libvirt
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.hypervisor.base import Vm, VmChanged
from vmcontroller.host.hypervisor.libvirt.tracker import DomainEvent, Tracker
from vmcontroller.host.hypervisor.vm_state import VmState

DEFINED = libvirt.VIR_DOMAIN_EVENT_DEFINED
UNDEFINED = libvirt.VIR_DOMAIN_EVENT_UNDEFINED
STARTED = libvirt.VIR_DOMAIN_EVENT_STARTED
STOPPED = libvirt.VIR_DOMAIN_EVENT_STOPPED
RESUMED = libvirt.VIR_DOMAIN_EVENT_RESUMED
SUSPENDED = libvirt.VIR_DOMAIN_EVENT_SUSPENDED


def event(kind: int, detail: int = 0, *, name: str = "web") -> DomainEvent:
    return DomainEvent(uuid="u", name=name, event=kind, detail=detail)


def change(state: VmState | None, *, name: str = "web") -> VmChanged:
    return VmChanged(uuid="u", name=name, state=state)


def vm(state: VmState, *, name: str = "web", uuid: str = "u") -> Vm:
    return Vm(uuid=uuid, name=name, state=state)


class TrackerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tracker = Tracker()

    def feed(self, *events: DomainEvent) -> list[VmState | None]:
        return [told.state for one in events for told in self.tracker.event(one)]

    def test_life_of_a_machine(self) -> None:
        """Each step of a machine's life is told once, its removal last."""
        crashed = libvirt.VIR_DOMAIN_EVENT_STOPPED_CRASHED
        told = self.feed(
            event(DEFINED), event(STARTED), event(SUSPENDED), event(STOPPED, crashed),
            event(STARTED), event(STOPPED), event(UNDEFINED),
        )  # fmt: skip
        self.assertEqual(
            told,
            [
                VmState.POWERED_OFF,
                VmState.RUNNING,
                VmState.PAUSED,
                VmState.ABORTED,
                VmState.RUNNING,
                VmState.POWERED_OFF,
                None,
            ],
        )
        self.assertEqual(self.feed(event(UNDEFINED), event(STOPPED)), [])

    def test_redefinition_is_no_change(self) -> None:
        """Writing the broker into a definition tells nobody anything, nor stops a machine."""
        self.feed(event(DEFINED), event(STARTED))
        updated = libvirt.VIR_DOMAIN_EVENT_DEFINED_UPDATED
        self.assertEqual(self.feed(event(DEFINED, updated)), [])

    def test_new_name(self) -> None:
        """A machine renamed by others keeps its state under the new name."""
        self.feed(event(DEFINED))
        gone = event(UNDEFINED, libvirt.VIR_DOMAIN_EVENT_UNDEFINED_RENAMED)
        renamed = event(DEFINED, libvirt.VIR_DOMAIN_EVENT_DEFINED_RENAMED, name="new")
        self.assertEqual(self.tracker.event(gone), [])
        told = self.tracker.event(renamed)
        self.assertEqual(told, [change(VmState.POWERED_OFF, name="new")])

    def test_transient_machine_goes_when_it_stops(self) -> None:
        """A machine that was never defined is gone with its process."""
        self.assertEqual(self.feed(event(STARTED), event(STOPPED)), [VmState.RUNNING, None])

    def test_undefined_while_running(self) -> None:
        """Undefining a running machine removes it only when it stops."""
        self.feed(event(DEFINED), event(STARTED))
        self.assertEqual(self.feed(event(UNDEFINED)), [])
        self.assertEqual(self.feed(event(STOPPED)), [None])

    def test_listing_tells_what_was_missed(self) -> None:
        """After a lost connection the difference is told: gone, changed, new; no more."""
        self.tracker.listed([vm(VmState.RUNNING), vm(VmState.PAUSED, uuid="stays")], ())
        self.feed(event(STOPPED))
        told = self.tracker.listed(
            [vm(VmState.PAUSED, uuid="stays"), vm(VmState.RUNNING, uuid="new")], ()
        )
        self.assertEqual([(one.uuid, one.state) for one in told], [("u", None), ("new", "Running")])
        again = [vm(VmState.PAUSED, uuid="stays"), vm(VmState.RUNNING, uuid="new")]
        self.assertEqual(self.tracker.listed(again, ()), [])

    def test_listing_knows_the_transient(self) -> None:
        """A transient machine that ran before anyone listened is known as such."""
        self.tracker.listed([vm(VmState.RUNNING)], {"u"})
        self.assertEqual(self.feed(event(STOPPED)), [None])

    def told(self, *events: DomainEvent) -> list[tuple[VmState | None, bool, bool]]:
        changes = [change for one in events for change in self.tracker.event(one)]
        return [(each.state, each.restored, each.rolled_back) for each in changes]

    def test_back_to_a_snapshot(self) -> None:
        """What libvirt 9 tells of a machine that runs and goes back to a live snapshot."""
        self.feed(event(DEFINED), event(STARTED))
        told = self.told(
            event(STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_FROM_SNAPSHOT),
            event(STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_FROM_SNAPSHOT),
            event(RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT),
        )
        self.assertEqual(
            told,
            [
                (VmState.POWERED_OFF, False, True),
                (VmState.RUNNING, True, True),
                (VmState.RUNNING, True, True),
            ],
        )

    def test_back_within_the_same_process(self) -> None:
        """A libvirt that keeps the process tells it by one event."""
        self.feed(event(DEFINED), event(STARTED))
        told = self.told(event(RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT))
        self.assertEqual(told, [(VmState.RUNNING, True, True)])

    def test_started_from_saved_memory(self) -> None:
        """Libvirt says "from a snapshot" of that, too: nothing is rolled back by it."""
        self.feed(event(DEFINED))
        told = self.told(
            event(STARTED, libvirt.VIR_DOMAIN_EVENT_STARTED_RESTORED),
            event(RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT),
        )
        self.assertEqual(told, [(VmState.RUNNING, True, False)] * 2)
        told = self.told(event(RESUMED, libvirt.VIR_DOMAIN_EVENT_RESUMED_FROM_SNAPSHOT))
        self.assertEqual(told, [(VmState.RUNNING, True, True)])

    def test_strange_events_are_ignored(self) -> None:
        """An event of a later libvirt is no change."""
        self.assertEqual(self.feed(event(99)), [])
