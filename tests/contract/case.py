"""What every part of the hypervisor contract stands on: a backend, its machines, its reports."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tests.contract.hypervisor_fixture import DEADLINE_S, Events, Fixture
from vmcontroller.common.errors import InvalidState
from vmcontroller.host.hypervisor.base import AgentAddress, Capability, Hypervisor, Vm, VmChanged
from vmcontroller.host.hypervisor.vm_state import VmState


class ContractCase(TestCase):
    """Has no tests; each module of the contract has a mixin with some, and what they need here."""

    timeout = 3 * DEADLINE_S
    make_fixture: ClassVar[Callable[[TestCase], Fixture]]
    agent = AgentAddress(port=1, hosts=("127.0.0.1",))

    async def setUp(self) -> None:
        self.prefix = f"vmcontroller-contract-{secrets.token_hex(4)}"
        self.fixture = type(self).make_fixture(self)
        self.events = Events(reactor)
        self.made: list[str] = []
        self.opened: list[Hypervisor] = []
        self.addCleanup(self.fixture.cleanup)
        self.addCleanup(self.leave_nothing)  # before that: trial tears down after its cleanups
        self.hypervisor = await self.open_one(self.events)
        self.before = set(await self.hypervisor.list_vms())

    async def leave_nothing(self) -> None:
        survivor = self.fixture.hypervisor()
        await self.close_all()
        await survivor.open(lambda _: None)
        for vm in await survivor.list_vms():
            if vm.uuid in self.made:
                if not vm.state.is_off:
                    await survivor.power_off(vm.uuid)
                await survivor.remove(vm.uuid)
        await survivor.close()

    async def open_one(self, events: Callable[[VmChanged], None]) -> Hypervisor:
        hypervisor = self.fixture.hypervisor()
        await hypervisor.open(events)
        self.opened.append(hypervisor)
        return hypervisor

    async def close_all(self) -> None:
        while self.opened:
            await self.opened.pop().close()

    async def create(self, suffix: str = "") -> Vm:
        vm = await self.hypervisor.create(self.fixture.make_spec(self.prefix + suffix))
        self.made.append(vm.uuid)
        return vm

    async def running(self) -> Vm:
        vm = await self.create()
        await self.hypervisor.start(vm.uuid, self.agent)
        await self.events.until(vm.uuid, VmState.RUNNING)
        self.events.forget()
        return vm

    async def paused(self) -> Vm:
        vm = await self.running()
        await self.hypervisor.pause(vm.uuid)
        await self.events.until(vm.uuid, VmState.PAUSED)
        self.events.forget()
        return vm

    async def seen(self, uuid: str) -> Vm | None:
        found = [vm for vm in await self.hypervisor.list_vms() if vm.uuid == uuid]
        self.assertLessEqual(len(found), 1)
        return found[0] if found else None

    async def state(self, vm: Vm) -> VmState | None:
        found = await self.seen(vm.uuid)
        return found.state if found else None

    async def refused(self, expected: Any, awaitable: Awaitable[object]) -> Any:
        """Return the error; one of another class, the vendor's say, fails the test."""
        try:
            result = await awaitable
        except expected as error:
            return error
        return self.fail(f"{result!r} instead of {expected}")

    def operations(self, hypervisor: Hypervisor) -> dict[str, Callable[[str], Awaitable[None]]]:
        return {
            "start": lambda uuid: hypervisor.start(uuid, self.agent),
            "shutdown": hypervisor.shutdown,
            "power_off": hypervisor.power_off,
            "reset": hypervisor.reset,
            "pause": hypervisor.pause,
            "resume": hypervisor.resume,
            "remove": hypervisor.remove,
        }

    def claimed(self, *names: str) -> list[str]:
        """Return those of the operations that the backend can do at all."""
        needs = {"shutdown": Capability.ACPI_SHUTDOWN, "reset": Capability.RESET}
        return [
            name
            for name in names
            if name not in needs or needs[name] in self.hypervisor.capabilities
        ]

    async def refused_in(self, vm: Vm, state: VmState, *names: str) -> None:
        operations = self.operations(self.hypervisor)
        for name in self.claimed(*names):
            error = await self.refused(InvalidState, operations[name](vm.uuid))
            self.assertEqual((error.vm, error.state), (vm.name, state), name)
            self.assertTrue(error.operation, name)
            self.assertTrue(error.allowed, name)
        self.assertEqual(await self.state(vm), state)

    async def listed(self, vm: Vm) -> Vm:
        return next(each for each in await self.hypervisor.list_vms() if each.uuid == vm.uuid)
