"""The contract: machines are made, listed and removed."""

from __future__ import annotations

import dataclasses

from twisted.internet.defer import Deferred, gatherResults

from tests.contract.case import ContractCase
from vmcontroller.common.credentials import Credential
from vmcontroller.common.errors import BadArgument, NoSuchVM, Unsupported, VMExists
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.hypervisor.specification import VmSpec
from vmcontroller.host.hypervisor.vm_state import VmState

HOSTILE_NAMES = (
    "two words",
    'quo\'te and "quotes"',
    "<&>]]>&amp;<!--",
    "$(reboot);`id`|%s%n",
    "{braces} %(percent)s",
    "Žluťoučký 虚拟机 🚀",
    "-rf",
    "--help",
    ".hidden",
    "..",
    ".",
    "../../../../tmp/escape",
    "a/b",
    "back\\slash",
    "new\nline",
    "tab\tbed",
    "bell\x07",
    "nul\x00",
    "surrogate\udc80",
    "noncharacter\uffff",
    "",
    " ",
    " padded ",
    "n" * 150,
    "ж" * 75,
    "n" * 300,
    "ж" * 200,
    "a,b=c",
)


class MakingContract(ContractCase):
    """Making, listing and removing."""

    async def test_credential(self) -> None:
        """A machine is told a credential whether it is off or on, and says whose it has."""
        vm = await self.create()
        self.assertEqual(vm.told_login, "")
        first = Credential(login=vm.uuid, passcode="1-a")
        await self.hypervisor.tell(vm.uuid, first)
        self.assertEqual((await self.listed(vm)).told_login, vm.uuid)
        second = Credential(login=vm.uuid, passcode="2-b")
        await self.hypervisor.start(vm.uuid, dataclasses.replace(self.agent, credential=second))
        await self.events.until(vm.uuid, VmState.RUNNING)
        await self.hypervisor.tell(vm.uuid, first)
        self.assertEqual((await self.listed(vm)).told_login, vm.uuid)
        with self.assertRaises(NoSuchVM):
            await self.hypervisor.tell("11111111-1111-4111-8111-111111111111", first)

    async def test_new_machine_is_listed_and_reported(self) -> None:
        """A new machine is off, listed as create answered, and reported once."""
        vm = await self.create()
        self.assertEqual(vm.name, self.prefix)
        self.assertEqual(vm.state, VmState.POWERED_OFF)
        self.assertRegex(vm.uuid, r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertEqual(await self.seen(vm.uuid), vm)
        change = await self.events.until(vm.uuid, VmState.POWERED_OFF)
        self.assertEqual(change.name, vm.name)
        self.assertEqual(self.events.states(vm.uuid), [VmState.POWERED_OFF])

    async def test_machines_differ(self) -> None:
        """Two machines have two UUIDs and no MAC address in common; addresses are upper case."""
        first, second = await self.create("-1"), await self.create("-2")
        self.assertNotEqual(first.uuid, second.uuid)
        self.assertFalse(set(first.macs) & set(second.macs))
        for mac in (*first.macs, *second.macs):
            self.assertRegex(mac, r"^[0-9A-F]{2}(:[0-9A-F]{2}){5}$")

    async def test_name_is_taken_once(self) -> None:
        """A second machine of the same name is refused, and the first stays as it was."""
        vm = await self.create()
        error = await self.refused(
            VMExists, self.hypervisor.create(self.fixture.make_spec(vm.name))
        )
        self.assertEqual(error.name, vm.name)
        self.assertEqual(set(await self.hypervisor.list_vms()), self.before | {vm})

    async def test_name_is_taken_once_at_the_same_time(self) -> None:
        """Of two creates at once with one name, one is refused."""
        tries = [
            Deferred.fromCoroutine(self._created_or_refused(self.fixture.make_spec(self.prefix)))
            for _ in range(2)
        ]
        created = [vm for vm in await gatherResults(tries) if vm is not None]
        self.assertEqual(len(created), 1)
        self.assertEqual(set(await self.hypervisor.list_vms()), self.before | set(created))

    async def _created_or_refused(self, spec: VmSpec) -> Vm | None:
        try:
            vm = await self.hypervisor.create(spec)
        except VMExists:
            return None
        self.made.append(vm.uuid)
        return vm

    async def test_hostile_names(self) -> None:
        """Any name is either taken to the letter or refused, and nothing is left of a refused."""
        for suffix in HOSTILE_NAMES:
            name = f"{suffix}{self.prefix}" if suffix.strip() else suffix
            try:
                vm = await self.hypervisor.create(self.fixture.make_spec(name))
            except BadArgument:
                self.assertEqual(set(await self.hypervisor.list_vms()), self.before, name)
                continue
            self.made.append(vm.uuid)
            self.assertEqual((await self.seen(vm.uuid)), vm, name)
            self.assertEqual(vm.name, name)
            await self.hypervisor.start(vm.uuid, self.agent)
            self.assertEqual(await self.state(vm), VmState.RUNNING, name)
            await self.hypervisor.power_off(vm.uuid)
            await self.hypervisor.remove(vm.uuid)
            self.assertEqual(set(await self.hypervisor.list_vms()), self.before, name)

    async def test_failed_create_leaves_nothing(self) -> None:
        """What can't be had is refused and leaves neither a machine nor a report."""
        good = self.fixture.make_spec(self.prefix)
        bad = VmSpec(name=good.name, image=good.image, disk=good.disk, network="moon")
        await self.refused((BadArgument, Unsupported), self.hypervisor.create(bad))
        self.assertEqual(set(await self.hypervisor.list_vms()), self.before)
        self.assertEqual(self.events.seen, [])
        await self.create()

    async def test_removed_machine_is_gone(self) -> None:
        """After remove it is not listed, reported as gone, unknown, and its name is free."""
        vm = await self.create()
        await self.hypervisor.remove(vm.uuid)
        self.assertIsNone(await self.seen(vm.uuid))
        change = await self.events.until(vm.uuid, None)
        self.assertEqual(change.name, vm.name)
        await self.refused(NoSuchVM, self.hypervisor.start(vm.uuid, self.agent))
        await self.refused(NoSuchVM, self.hypervisor.remove(vm.uuid))
        again = await self.create()
        self.assertNotEqual(again.uuid, vm.uuid)

    async def test_unknown_machines(self) -> None:
        """Every operation on what is no machine's UUID answers NoSuchVM."""
        strangers = ("00000000-1111-4222-8333-444444444444", "", "x", "../..", "a\x00b", "\udc80")
        for uuid in strangers:
            for name, operation in self.operations(self.hypervisor).items():
                if self.claimed(name):
                    error = await self.refused(NoSuchVM, operation(uuid))
                    self.assertEqual(error.vm, uuid, name)

    async def test_disks_are_named(self) -> None:
        """A machine made from a disk image says so, so that nobody else is given it."""
        vm = await self.create()
        disk = self.fixture.make_spec(self.prefix).disk
        self.assertEqual(len(vm.disks), 0 if disk is None else 1)
