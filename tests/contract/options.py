"""The contract: what a machine can be made with, and that it tells what it was made with."""

from __future__ import annotations

import dataclasses
import uuid as uuids
from typing import Any

from tests.contract.case import ContractCase
from vmcontroller.common.errors import NoSuchVM, Unsupported
from vmcontroller.host.hypervisor.base import Capability, Vm
from vmcontroller.host.hypervisor.specification import DiskImage, ExtraDisk
from vmcontroller.host.hypervisor.vm_state import VmState

MISSING = DiskImage(path="/no/such/disk.qcow2", format="qcow2")


class OptionsContract(ContractCase):
    """Options are fulfilled, or refused by whoever doesn't claim them."""

    async def create_with(self, **changes: Any) -> Vm:
        """Make a machine that differs from the usual one; it need not be able to start."""
        spec = self.fixture.make_spec(self.prefix)
        vm = await self.hypervisor.create(dataclasses.replace(spec, **changes))
        self.made.append(vm.uuid)
        return vm

    async def own(self) -> list[Vm]:
        """The machines of this test; others come and go on a host that others work on, too."""
        vms = await self.hypervisor.list_vms()
        return [vm for vm in vms if vm.name.startswith(self.prefix)]

    async def test_uuid_chosen_beforehand(self) -> None:
        """A machine has the UUID that it was given, so that its files can be made before it."""
        uuid = str(uuids.uuid4())
        vm = await self.create_with(uuid=uuid)
        self.assertEqual(vm.uuid, uuid)
        self.assertEqual(await self.seen(uuid), vm)

    async def test_what_it_was_made_with(self) -> None:
        """A machine tells its size, or that it has none of its own; its network and description."""
        text = "<what> it's & 'for'\nsecond line"
        spec = self.fixture.make_spec(self.prefix)
        vm = await self.create_with(description=text, vcpus=2)
        told = await self.hypervisor.describe(vm.uuid)
        self.assertIn((told.memory_mib, told.vcpus), {(spec.memory_mib, 2), (0, 0)})
        self.assertEqual((told.network, told.description), (spec.network, text))
        self.assertEqual(told.disks, vm.disks)
        self.assertIn(told.firmware, {"", "bios", "uefi"})

    async def test_it_tells_in_every_state(self) -> None:
        """What a machine was made with does not depend on whether it runs."""
        vm = await self.running()
        told = await self.hypervisor.describe(vm.uuid)
        await self.hypervisor.power_off(vm.uuid)
        await self.events.until(vm.uuid, VmState.POWERED_OFF)
        self.assertEqual(await self.hypervisor.describe(vm.uuid), told)

    async def test_unknown_machine_tells_nothing(self) -> None:
        """What is no machine's UUID is told so."""
        for uuid in ("00000000-1111-4222-8333-444444444444", "", "../..", "\udc80"):
            await self.refused(NoSuchVM, self.hypervisor.describe(uuid))

    async def test_options_are_claimed_or_unsupported(self) -> None:
        """Each option is fulfilled by who claims it, and else refused with nothing left."""
        for capability, changes in (
            (Capability.DEVICES, {"disks": (ExtraDisk(image=MISSING),)}),
            (Capability.DEVICES, {"bus": "ide"}),
            (Capability.DEVICES, {"cdrom": "/no/such.iso"}),
            (Capability.DEVICES, {"boot_order": ("disk",)}),
            (Capability.FIRMWARE, {"firmware": "bios"}),
            (Capability.SEEDS, {"seed": "/no/such/seed.iso"}),
        ):
            if capability in self.hypervisor.capabilities:
                vm = await self.create_with(**changes)
                self.assertEqual(await self.seen(vm.uuid), vm, changes)
                await self.hypervisor.remove(vm.uuid)
            else:
                await self.refused(Unsupported, self.create_with(**changes))
            self.assertEqual(await self.own(), [], changes)

    async def test_networks_are_claimed_or_unsupported(self) -> None:
        """Who has no other networks than its own refuses them, and leaves nothing."""
        if Capability.NETWORKS in self.hypervisor.capabilities:
            return  # what they are takes a real guest to see
        for changes in ({"network": "isolated"}, {"network": "bridge", "bridge": "br0"}):
            await self.refused(Unsupported, self.create_with(**changes))
        self.assertEqual(await self.own(), [])

    async def test_read_only_drives_are_told(self) -> None:
        """A disc that a machine only reads is told from a disk that it writes to."""
        if Capability.DEVICES not in self.hypervisor.capabilities:
            return
        vm = await self.create_with(cdrom="/no/such.iso", disks=(ExtraDisk(image=MISSING),))
        read_only = {disk.path: disk.read_only for disk in vm.disks}
        self.assertEqual(
            {path: read_only[path] for path in ("/no/such.iso", MISSING.path)},
            {"/no/such.iso": True, MISSING.path: False},
        )
