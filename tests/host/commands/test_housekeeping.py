"""Commands of guests that are away: given up neither too early nor never."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.host.commands.case import AGENT, GUEST, STRANGER, CommandsCase
from vmcontroller.common.errors import HypervisorUnreachable
from vmcontroller.host.commands.absences import Absences
from vmcontroller.host.commands.housekeeping import Housekeeping
from vmcontroller.host.commands.record import CommandState
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.hypervisor.vm_state import VmState


class AbsencesTests(SynchronousTestCase):
    def test_time_counts_while_the_vm_runs(self) -> None:
        """A paused or saved VM's time stands still; a guest that came back begins anew."""
        absences = Absences(10)
        self.assertEqual(absences.look(100, {GUEST: True, STRANGER: True}), [])
        self.assertEqual(absences.look(108, {GUEST: True, STRANGER: True}), [])
        self.assertEqual(absences.look(200, {GUEST: False}), [])
        self.assertEqual(absences.look(202, {GUEST: True, STRANGER: True}), [])
        self.assertEqual(absences.look(203, {GUEST: True, STRANGER: True}), [GUEST])


class HousekeepingTests(CommandsCase):
    def setUp(self) -> None:
        super().setUp()
        self.state = VmState.RUNNING
        self.failing = False
        self.listed = 0
        self.house = Housekeeping(self.commands, list_vms=self.list_vms, lost_after_s=60)
        self.cmd_id = self.run_one()

    async def list_vms(self):
        self.listed += 1
        if self.failing:
            raise HypervisorUnreachable("fake", "it is away")
        return [] if self.state is None else [Vm(uuid="u", name="vm", state=self.state)]

    def pass_time(self, seconds: int) -> str:
        """Let it look every five seconds; return the command's error."""
        for _ in range(seconds // 5):
            self.clock.advance(5)
            self.now(self.house())
        return self.get(self.cmd_id).error

    def test_away_for_too_long(self) -> None:
        """A guest that is not heard while its VM runs loses its commands after the time."""
        self.assertEqual((self.pass_time(200), self.listed), ("", 0))
        del self.guests[GUEST]
        self.assertEqual(self.pass_time(60), "")
        self.state = VmState.PAUSED
        self.assertEqual(self.pass_time(1000), "")
        self.state = VmState.SAVED
        self.assertEqual(self.pass_time(1000), "")
        self.state = VmState.RUNNING
        self.failing = True
        self.assertEqual(self.pass_time(5), "")
        self.failing = False
        self.assertIn("not heard for 60 s", self.pass_time(15))
        self.assertIs(self.get(self.cmd_id).state, CommandState.LOST)

    def test_back_in_time(self) -> None:
        """A guest that comes back in time keeps its commands, and its time begins anew."""
        for _ in range(5):
            del self.guests[GUEST]
            self.assertEqual(self.pass_time(55), "")
            self.guests[GUEST] = AGENT
            self.assertEqual(self.pass_time(10), "")

    def test_gone_while_no_daemon_ran(self) -> None:
        """A VM that went off, or was removed, while the daemon was down has lost its commands."""
        for state, why in (
            (VmState.POWERED_OFF, "the VM is PoweredOff"),
            (VmState.ABORTED, "the VM is Aborted"),
            (None, "the VM is removed"),
        ):
            self.guests[GUEST] = AGENT
            self.cmd_id = self.run_one()
            del self.guests[GUEST]
            self.state = state
            self.assertIn(why, self.pass_time(5))
