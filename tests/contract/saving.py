"""The contract: memory is saved and gone on from, and guests are put to sleep."""

from __future__ import annotations

from tests.contract.case import ContractCase
from vmcontroller.common.errors import InvalidState, NoSuchVM, Unsupported
from vmcontroller.host.hypervisor.base import Capability, Vm
from vmcontroller.host.hypervisor.vm_state import VmState


class SavingContract(ContractCase):
    """Saved states and sleep; who claims none, says so."""

    def saves(self) -> bool:
        return Capability.SAVE in self.hypervisor.capabilities

    async def saved(self) -> Vm:
        vm = await self.running()
        await self.hypervisor.save(vm.uuid)
        await self.events.until(vm.uuid, VmState.SAVED)
        self.events.forget()
        return vm

    async def test_unclaimed_saving_is_unsupported(self) -> None:
        """Who can't save says so, in every state, and the machine runs on."""
        if self.saves():
            return
        vm = await self.running()
        await self.refused(Unsupported, self.hypervisor.save(vm.uuid))
        await self.refused(Unsupported, self.hypervisor.discard(vm.uuid))
        self.assertEqual(await self.state(vm), VmState.RUNNING)

    async def test_saved_machine_goes_on(self) -> None:
        """It is off and Saved until its start, which is reported as a restore."""
        if not self.saves():
            return
        vm = await self.saved()
        self.assertEqual(await self.state(vm), VmState.SAVED)
        await self.hypervisor.start(vm.uuid, self.agent)
        self.assertEqual(await self.state(vm), VmState.RUNNING)
        change = await self.events.until(vm.uuid, VmState.RUNNING)
        self.assertEqual(change.restored, self.fixture.has_memory)
        self.assertFalse(change.rolled_back)

    async def test_paused_machine_is_saved(self) -> None:
        """It is paused again after its start: it goes on as it was."""
        if not (self.saves() and self.fixture.has_memory):
            return
        vm = await self.paused()
        await self.hypervisor.save(vm.uuid)
        self.assertEqual(await self.state(vm), VmState.SAVED)
        await self.hypervisor.start(vm.uuid, self.agent)
        self.assertEqual(await self.state(vm), VmState.PAUSED)
        await self.hypervisor.resume(vm.uuid)
        self.assertEqual(await self.state(vm), VmState.RUNNING)

    async def test_saved_memory_is_discarded(self) -> None:
        """Then the machine is powered off, which is reported, and starts from its disk."""
        if not self.saves():
            return
        vm = await self.saved()
        await self.hypervisor.discard(vm.uuid)
        self.assertEqual(await self.state(vm), VmState.POWERED_OFF)
        await self.events.until(vm.uuid, VmState.POWERED_OFF)
        self.events.forget()
        await self.hypervisor.start(vm.uuid, self.agent)
        self.assertFalse((await self.events.until(vm.uuid, VmState.RUNNING)).restored)

    async def test_saving_needs_a_state(self) -> None:
        """Only what is on is saved, and only what is saved discarded; nothing else changes it."""
        if not self.saves():
            return
        vm = await self.create()
        for operation in (self.hypervisor.save, self.hypervisor.discard):
            error = await self.refused(InvalidState, operation(vm.uuid))
            self.assertEqual((error.vm, error.state), (vm.name, VmState.POWERED_OFF))
        await self.hypervisor.start(vm.uuid, self.agent)
        await self.refused(InvalidState, self.hypervisor.discard(vm.uuid))
        self.assertEqual(await self.state(vm), VmState.RUNNING)
        await self.hypervisor.save(vm.uuid)
        await self.refused(InvalidState, self.hypervisor.save(vm.uuid))
        await self.refused_in(vm, VmState.SAVED, "pause", "resume", "reset", "power_off")
        await self.refused(NoSuchVM, self.hypervisor.save("nobody"))
        await self.refused(NoSuchVM, self.hypervisor.discard("nobody"))

    async def test_saved_machine_is_removed(self) -> None:
        """What was saved of it goes, too."""
        if not self.saves():
            return
        vm = await self.saved()
        await self.hypervisor.remove(vm.uuid)
        self.assertIsNone(await self.seen(vm.uuid))

    async def test_saved_machine_outlives_the_backend(self) -> None:
        """Another one opened later sees that it is saved."""
        if not self.saves():
            return
        vm = await self.saved()
        await self.close_all()
        self.hypervisor = await self.open_one(self.events)
        self.assertEqual(await self.state(vm), VmState.SAVED)

    async def test_sleep(self) -> None:
        """A machine that can be put to sleep is paused and woken; one that can't runs on."""
        vm = await self.running()
        try:
            await self.hypervisor.sleep(vm.uuid)
        except Unsupported:
            self.assertEqual(await self.state(vm), VmState.RUNNING)
            return
        self.assertIn(Capability.SLEEP, self.hypervisor.capabilities)
        await self.events.until(vm.uuid, VmState.PAUSED)
        await self.hypervisor.resume(vm.uuid)
        await self.events.until(vm.uuid, VmState.RUNNING)

    async def test_sleep_needs_a_running_machine(self) -> None:
        """One that is off can't sleep."""
        vm = await self.create()
        claimed = Capability.SLEEP in self.hypervisor.capabilities
        expected = InvalidState if claimed else Unsupported
        await self.refused(expected, self.hypervisor.sleep(vm.uuid))
        self.assertEqual(await self.state(vm), VmState.POWERED_OFF)
