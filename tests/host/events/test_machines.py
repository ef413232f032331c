"""Which events a hypervisor's report is."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.events.machines import Machines
from vmcontroller.host.hypervisor.base import Vm, VmChanged
from vmcontroller.host.hypervisor.vm_state import VmState

RUNNING, OFF = VmState.RUNNING, VmState.POWERED_OFF


class MachinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.machines = Machines()
        self.machines.found([Vm(uuid="u1", name="one", state=OFF)])

    def changed(self, uuid: str, name: str, state: VmState | None):
        changes = self.machines.changed(VmChanged(uuid=uuid, name=name, state=state))
        return [(change.kind.value, change.vm, change.uuid, change.detail) for change in changes]

    def test_states(self) -> None:
        """A change of state says what it was before; the same state again is none."""
        event = ("vm-state", "one", "u1", {"state": "Running", "before": "PoweredOff"})
        self.assertEqual(self.changed("u1", "one", RUNNING), [event])
        self.assertEqual(self.changed("u1", "one", RUNNING), [])

    def test_coming_and_going(self) -> None:
        """A machine is added once and removed once."""
        added = ("vm-added", "two", "u2", {"state": "PoweredOff"})
        self.assertEqual(self.changed("u2", "two", OFF), [added])
        self.assertEqual(self.changed("u2", "two", None), [("vm-removed", "two", "u2", {})])
        self.assertEqual(self.changed("u2", "two", None), [])

    def test_renamed(self) -> None:
        """To who looks for names, a renamed machine has gone and come."""
        gone = ("vm-removed", "one", "u1", {})
        come = ("vm-added", "uno", "u1", {"state": "PoweredOff"})
        self.assertEqual(self.changed("u1", "uno", OFF), [gone, come])

    def test_before_the_first_listing(self) -> None:
        """What is reported before the machines were read is not taken for new."""
        self.machines = Machines()
        event = ("vm-state", "old", "u9", {"state": "Running", "before": "Unknown"})
        self.assertEqual(self.changed("u9", "old", RUNNING), [event])
        self.machines.found([Vm(uuid="u9", name="old", state=OFF)])
        stopped = ("vm-state", "old", "u9", {"state": "PoweredOff", "before": "Running"})
        self.assertEqual(self.changed("u9", "old", OFF), [stopped])
