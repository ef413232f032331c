"""The contract: a backend is opened, closed, and says what it can do."""

from __future__ import annotations

import dataclasses
import ipaddress
import re

from tests.contract.case import ContractCase
from tests.contract.hypervisor_fixture import Events
from vmcontroller.common.errors import (
    HypervisorUnreachable,
    NoSuchVM,
    Unsupported,
    VMControllerError,
)
from vmcontroller.host.hypervisor.base import Capability
from vmcontroller.host.hypervisor.specification import DirectBoot
from vmcontroller.host.hypervisor.vm_state import VmState


class OpeningContract(ContractCase):
    """Opening and closing."""

    async def test_machines_outlive_the_backend(self) -> None:
        """After close the machines run on; another one opened sees and operates the same."""
        off = await self.create("-off")
        vm = await self.running()
        before = set(await self.hypervisor.list_vms())
        await self.close_all()
        self.hypervisor = await self.open_one(self.events)
        self.assertEqual(set(await self.hypervisor.list_vms()), before)
        self.assertEqual(await self.state(off), VmState.POWERED_OFF)
        self.events.forget()
        await self.hypervisor.power_off(vm.uuid)
        await self.events.until(vm.uuid, VmState.POWERED_OFF)

    async def test_close_twice_and_open_again(self) -> None:
        """Closing is idempotent, and the very same backend can be opened again."""
        await self.hypervisor.close()
        await self.hypervisor.close()
        await self.hypervisor.open(self.events)
        vm = await self.create()
        await self.events.until(vm.uuid, VmState.POWERED_OFF)

    async def test_closed_backend_reports_nothing(self) -> None:
        """After close no report comes, though the machine changes."""
        vm = await self.create()
        await self.events.until(vm.uuid, VmState.POWERED_OFF)
        await self.close_all()
        self.events.forget()
        later = Events(self.events._reactor)
        self.hypervisor = await self.open_one(later)
        await self.hypervisor.remove(vm.uuid)
        await later.until(vm.uuid, None)
        self.assertEqual(self.events.seen, [])

    async def test_closed_backend_raises_ours(self) -> None:
        """A closed backend answers with one of our errors, or knows no machine."""
        vm = await self.create()
        await self.close_all()
        for name, operation in self.operations(self.hypervisor).items():
            if self.claimed(name):
                await self.refused((HypervisorUnreachable, NoSuchVM), operation(vm.uuid))

    # What it can do.

    async def test_direct_boot_is_claimed_or_unsupported(self) -> None:
        """A kernel is taken by who claims it, and else refused with nothing left."""
        good = self.fixture.make_spec(self.prefix)
        spec = dataclasses.replace(good, boot=DirectBoot(kernel="/vmlinuz"))
        if Capability.DIRECT_BOOT in self.hypervisor.capabilities:
            vm = await self.hypervisor.create(spec)
            self.made.append(vm.uuid)
            self.assertEqual(vm.state, VmState.POWERED_OFF)
            return
        await self.refused(Unsupported, self.hypervisor.create(spec))
        self.assertEqual(set(await self.hypervisor.list_vms()), self.before)

    async def test_guest_networks_are_addresses(self) -> None:
        """The host's addresses in its guests' networks are IP addresses, each once."""
        networks = await self.hypervisor.guest_networks()
        self.assertEqual(len(set(networks)), len(networks))
        for address in networks:
            self.assertTrue(ipaddress.ip_address(address))

    async def test_name_is_published(self) -> None:
        """Errors and logs name the backend by a plain word."""
        self.assertTrue(re.fullmatch(r"[a-z]+", self.hypervisor.name))
        self.assertLessEqual(self.hypervisor.capabilities, frozenset(Capability))
        self.assertTrue(issubclass(Unsupported, VMControllerError))
