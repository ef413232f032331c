"""The contract: machines go from state to state, and refuse what makes no sense."""

from __future__ import annotations

import contextlib

from twisted.internet import defer
from twisted.internet.defer import Deferred, gatherResults

from tests.contract.case import ContractCase
from tests.contract.hypervisor_fixture import DEADLINE_S
from vmcontroller.common.errors import InvalidState, Unsupported
from vmcontroller.host.hypervisor.base import Capability, Vm
from vmcontroller.host.hypervisor.vm_state import VmState


class StatesContract(ContractCase):
    """The states."""

    async def test_start_and_power_off(self) -> None:
        """Start and power_off hold as soon as they answer, and are reported, in this order."""
        vm = await self.running()
        self.assertEqual(await self.state(vm), VmState.RUNNING)
        await self.hypervisor.power_off(vm.uuid)
        self.assertEqual(await self.state(vm), VmState.POWERED_OFF)
        await self.events.until(vm.uuid, VmState.POWERED_OFF)
        self.assertNotIn(VmState.RUNNING, self.events.states(vm.uuid))

    async def test_machine_starts_again(self) -> None:
        """A machine that was powered off can be started again, as the same one."""
        vm = await self.running()
        await self.hypervisor.power_off(vm.uuid)
        await self.hypervisor.start(vm.uuid, self.agent)
        now = await self.seen(vm.uuid)
        assert now is not None
        self.assertEqual((now.uuid, now.name, now.macs), (vm.uuid, vm.name, vm.macs))
        self.assertEqual(now.state, VmState.RUNNING)

    async def test_pause_and_resume(self) -> None:
        """A paused machine is neither running nor off until it is resumed."""
        vm = await self.running()
        await self.hypervisor.pause(vm.uuid)
        self.assertEqual(await self.state(vm), VmState.PAUSED)
        await self.events.until(vm.uuid, VmState.PAUSED)
        await self.hypervisor.resume(vm.uuid)
        self.assertEqual(await self.state(vm), VmState.RUNNING)
        await self.events.until(vm.uuid, VmState.RUNNING)

    async def test_paused_machine_is_powered_off(self) -> None:
        """The power can be taken from a paused machine."""
        vm = await self.paused()
        await self.hypervisor.power_off(vm.uuid)
        self.assertEqual(await self.state(vm), VmState.POWERED_OFF)
        await self.events.until(vm.uuid, VmState.POWERED_OFF)

    async def test_reset(self) -> None:
        """A reset machine runs; who can't reset says so."""
        vm = await self.running()
        if Capability.RESET in self.hypervisor.capabilities:
            await self.hypervisor.reset(vm.uuid)
        else:
            await self.refused(Unsupported, self.hypervisor.reset(vm.uuid))
        self.assertEqual(await self.state(vm), VmState.RUNNING)

    async def test_shutdown(self) -> None:
        """A guest that obeys goes off and that is reported; who can't ask says so."""
        vm = await self.running()
        if Capability.ACPI_SHUTDOWN not in self.hypervisor.capabilities:
            await self.refused(Unsupported, self.hypervisor.shutdown(vm.uuid))
            return
        await self.hypervisor.shutdown(vm.uuid)
        if self.fixture.obeys_shutdown:
            await self._until_it_obeys(vm)
            self.assertEqual(await self.state(vm), VmState.POWERED_OFF)
        else:
            self.assertIn(await self.state(vm), {VmState.RUNNING, VmState.STOPPING})

    async def _until_it_obeys(self, vm: Vm) -> None:
        """Ask until it is off: a guest that has not come up yet may miss the first request."""
        for _ in range(DEADLINE_S):
            with contextlib.suppress(defer.TimeoutError):
                await self.events.until(vm.uuid, VmState.POWERED_OFF, deadline_s=1)
                return
            with contextlib.suppress(InvalidState):
                await self.hypervisor.shutdown(vm.uuid)
        self.fail("it never went off")

    async def test_refused_when_off(self) -> None:
        """What needs a running machine is refused for one that is off."""
        vm = await self.create()
        await self.refused_in(
            vm, VmState.POWERED_OFF, "pause", "resume", "reset", "shutdown", "power_off"
        )

    async def test_refused_when_running(self) -> None:
        """A running machine is neither started nor removed nor resumed."""
        await self.refused_in(await self.running(), VmState.RUNNING, "start", "remove", "resume")

    async def test_refused_when_paused(self) -> None:
        """A paused machine is neither started nor removed nor paused, nor can it be asked."""
        await self.refused_in(
            await self.paused(), VmState.PAUSED, "start", "remove", "pause", "shutdown"
        )

    async def test_started_once_at_the_same_time(self) -> None:
        """Of two starts at once, one is refused and the machine runs."""
        vm = await self.create()
        tries = [Deferred.fromCoroutine(self._started(vm)) for _ in range(2)]
        self.assertEqual(sorted(await gatherResults(tries)), [False, True])
        self.assertEqual(await self.state(vm), VmState.RUNNING)

    async def _started(self, vm: Vm) -> bool:
        try:
            await self.hypervisor.start(vm.uuid, self.agent)
        except InvalidState:
            return False
        return True
