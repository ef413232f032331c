"""VMs that are left of jobs that the client has dropped."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.client.boinc.world import Machine, World, fault
from vmcontroller.client.boinc.calling import Calling
from vmcontroller.client.boinc.orphans import Owner, owner_at, owner_of, remove_orphans
from vmcontroller.client.boinc.progress import FILE_NAME, dump, fresh


class OrphanTests(SynchronousTestCase):
    def setUp(self):
        self.slots = Path(self.mktemp()).resolve()
        self.own = self.slots / "0"
        self.own.mkdir(parents=True)
        self.world = World()
        self.said = []

    def vm(self, name, number, state="Saved", **changes):
        """A VM that says it belongs to a slot beside the own one."""
        told = owner_at(self.own)
        owner = Owner(
            slot=str(changes.get("slot", self.slots / number)),
            device=told.device,
            inode=changes.get("inode", told.inode),
        )
        self.world.machines[name] = Machine(state=state, description=owner.label())

    def sweep(self):
        remove_orphans(Calling(self.world), self.own, self.said.append)
        return sorted(self.world.machines)

    def test_dropped(self):
        """One whose slot was cleared, or has another job now, is removed in any state."""
        (self.slots / "2").mkdir()
        other = dump(fresh(key="o", name="boinc_other", directory=""))
        (self.slots / "2" / FILE_NAME).write_text(other)
        for number, state in enumerate(("Saved", "Running", "Paused", "PoweredOff", "Aborted")):
            self.vm(f"boinc_{number}", "1", state)
        self.vm("boinc_9", "2")
        self.assertEqual(self.sweep(), [])
        self.assertEqual(len(self.said), 6)

    def test_kept(self):
        """One that somebody will come back for, or that is not for us to judge, stays."""
        (self.slots / "1").mkdir()
        mine = dump(fresh(key="m", name="boinc_mine", directory=""))
        (self.slots / "1" / FILE_NAME).write_text(mine)
        (self.slots / "3").mkdir()
        (self.slots / "3" / FILE_NAME).write_text("damaged")
        self.vm("boinc_mine", "1")
        self.vm("boinc_damaged", "3")
        self.vm("boinc_elsewhere", "5", slot="/other/slots/5")
        self.vm("boinc_another_clients", "5", inode=1)
        self.vm("named_by_its_job", "5")
        self.world.machines["boinc_by_hand"] = Machine(description="my VM")
        self.assertEqual(len(self.sweep()), 6)
        self.assertEqual(self.said, [])

    def test_failures(self):
        """What fails is told, and hinders nobody."""
        self.vm("boinc_1", "1")
        self.world.faults["discardState"] = [fault("BUSY")]
        self.assertEqual(self.sweep(), ["boinc_1"])
        self.assertIn("BUSY", self.said[-1])
        self.assertEqual(self.sweep(), [])

    @given(st.text().map("VM of a BOINC job ".__add__) | st.text())
    def test_any_description(self, text):
        """A description may be anything."""
        self.assertIsNone(owner_of(text))
