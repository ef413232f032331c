"""The contract: snapshots are taken, make a tree, are gone back to, and go."""

from __future__ import annotations

from tests.contract.case import ContractCase
from tests.contract.making import HOSTILE_NAMES
from vmcontroller.common.errors import (
    BadArgument,
    InvalidState,
    NoSuchSnapshot,
    NoSuchVM,
    SnapshotExists,
    Unsupported,
)
from vmcontroller.host.hypervisor.base import Capability, Vm
from vmcontroller.host.hypervisor.snapshots import Node, Snapshot, current, depth_first, tree
from vmcontroller.host.hypervisor.vm_state import VmState

HOSTILE_SNAPSHOTS = (*HOSTILE_NAMES, "n" * 1000, "1", "0", "42", "a\r\nb", "ж" * 100, "--", "x.xml")
HOSTILE_DESCRIPTIONS = (
    "",
    " padded ",
    "two\nlines\n\n",
    "<description>&amp;]]></description>",
    'quo\'te and "quotes"',
    "Žluťoučký 虚拟机 🚀",
    "carriage\rreturn\r\n",
    "bell\x07 nul\x00 escape\x1b[31m",
    "noncharacter\uffff",
    "vmcontroller-snapshot-1 ",
    'vmcontroller-snapshot-1 {"name": "other", "description": "stolen"}',
    "d" * 10_000,
)


class SnapshotContract(ContractCase):
    """Snapshots; who claims none, says so."""

    def can(self, *capabilities: Capability) -> bool:
        return set(capabilities) <= self.hypervisor.capabilities

    async def take(self, vm: Vm, name: str, description: str = "") -> Snapshot:
        await self.hypervisor.take_snapshot(vm.uuid, name, description)
        return await self.snapshot(vm, name)

    async def snapshot(self, vm: Vm, name: str) -> Snapshot:
        found = [each for each in await self.snapshots(vm) if each.name == name]
        self.assertEqual(len(found), 1, name)
        return found[0]

    async def snapshots(self, vm: Vm) -> list[Snapshot]:
        return list(await self.hypervisor.list_snapshots(vm.uuid))

    async def drawn(self, vm: Vm) -> str:
        """Return the tree as text: a(b c(d))."""

        def text(nodes: tuple[Node, ...]) -> str:
            return " ".join(
                node.snapshot.name + (f"({text(node.children)})" if node.children else "")
                for node in nodes
            )

        return text(tree(await self.snapshots(vm)))

    async def current_name(self, vm: Vm) -> str:
        found = current(await self.snapshots(vm))
        return found.name if found else ""

    async def test_unclaimed_snapshots_are_unsupported(self) -> None:
        """Who can't keep machines says so, for every operation; who can has none at first."""
        vm = await self.create()
        if self.can(Capability.SNAPSHOTS):
            self.assertEqual(await self.snapshots(vm), [])
            return
        await self.refused(Unsupported, self.hypervisor.take_snapshot(vm.uuid, "a"))
        await self.refused(Unsupported, self.hypervisor.restore_snapshot(vm.uuid, "a"))
        await self.refused(Unsupported, self.hypervisor.delete_snapshot(vm.uuid, "a"))
        await self.refused(Unsupported, self.hypervisor.list_snapshots(vm.uuid))

    async def test_snapshot_of_a_machine_that_is_off(self) -> None:
        """It is listed as it was taken, current, and the machine stays off through it all."""
        if not self.can(Capability.SNAPSHOTS):
            return
        vm = await self.create()
        taken = await self.take(vm, "first", "before it began")
        self.assertEqual(taken.description, "before it began")
        self.assertEqual((taken.state, taken.parent), (VmState.POWERED_OFF, ""))
        self.assertTrue(taken.is_current)
        self.assertGreater(taken.created_s, 1_000_000 - 1)
        self.assertEqual(await self.state(vm), VmState.POWERED_OFF)
        await self.hypervisor.restore_snapshot(vm.uuid, "first")
        self.assertEqual(await self.state(vm), VmState.POWERED_OFF)
        await self.hypervisor.start(vm.uuid, self.agent)
        self.assertEqual(await self.state(vm), VmState.RUNNING)

    async def test_live_snapshot(self) -> None:
        """A machine runs on after it, and is in the snapshot's state after going back."""
        if not self.can(Capability.SNAPSHOTS):
            return
        vm = await self.running()
        taken = await self.take(vm, "live")
        keeps_memory = self.can(Capability.MEMORY_SNAPSHOTS)
        state = VmState.RUNNING if keeps_memory else VmState.POWERED_OFF
        self.assertEqual(taken.state, state)
        self.assertEqual(await self.state(vm), VmState.RUNNING)
        self.events.forget()
        await self.hypervisor.restore_snapshot(vm.uuid, "live")
        self.assertEqual(await self.state(vm), state)
        change = await self.events.until(vm.uuid, state)
        self.assertTrue(change.rolled_back)
        self.assertEqual(change.restored, keeps_memory)

    async def test_snapshot_of_a_paused_machine(self) -> None:
        """It stays paused, and is paused again after going back to it from running."""
        if not self.can(Capability.SNAPSHOTS):
            return
        vm = await self.paused()
        taken = await self.take(vm, "paused")
        keeps_memory = self.can(Capability.MEMORY_SNAPSHOTS)
        state = VmState.PAUSED if keeps_memory else VmState.POWERED_OFF
        self.assertEqual(taken.state, state)
        self.assertEqual(await self.state(vm), VmState.PAUSED)
        await self.hypervisor.resume(vm.uuid)
        await self.hypervisor.restore_snapshot(vm.uuid, "paused")
        self.assertEqual(await self.state(vm), state)
        if state is VmState.PAUSED:
            await self.hypervisor.resume(vm.uuid)
            self.assertEqual(await self.state(vm), VmState.RUNNING)

    async def test_back_to_each_state(self) -> None:
        """From off to a live one, and from running to one that was off: reported either way."""
        if not self.can(Capability.SNAPSHOTS):
            return
        vm = await self.create()
        await self.take(vm, "off")
        await self.hypervisor.start(vm.uuid, self.agent)
        await self.events.until(vm.uuid, VmState.RUNNING)
        live = await self.take(vm, "live")
        self.events.forget()
        await self.hypervisor.restore_snapshot(vm.uuid, "off")
        self.assertEqual(await self.state(vm), VmState.POWERED_OFF)
        await self.events.until(vm.uuid, VmState.POWERED_OFF)
        await self.hypervisor.restore_snapshot(vm.uuid, "live")
        self.assertEqual(await self.state(vm), live.state)
        if not live.state.is_off:
            await self.events.until(vm.uuid, live.state)
            await self.hypervisor.power_off(vm.uuid)

    async def test_tree(self) -> None:
        """Branches begin at what was gone back to; what is deleted in the middle leaves its own."""
        if not self.can(Capability.SNAPSHOTS):
            return
        vm = await self.create()
        for name in ("a", "b", "c"):
            await self.take(vm, name)
        await self.hypervisor.restore_snapshot(vm.uuid, "a")
        self.assertEqual(await self.current_name(vm), "a")
        await self.take(vm, "d")
        await self.take(vm, "e")
        self.assertEqual(sorted(await self.drawn(vm)), sorted("a(b(c) d(e))"))
        names = {each.name: each.parent for each in await self.snapshots(vm)}
        self.assertEqual(names, {"a": "", "b": "a", "c": "b", "d": "a", "e": "d"})
        self.assertEqual(await self.current_name(vm), "e")
        await self.hypervisor.delete_snapshot(vm.uuid, "b")
        names = {each.name: each.parent for each in await self.snapshots(vm)}
        self.assertEqual(names, {"a": "", "c": "a", "d": "a", "e": "d"})
        await self.hypervisor.delete_snapshot(vm.uuid, "a")
        names = {each.name: each.parent for each in await self.snapshots(vm)}
        self.assertEqual(names, {"c": "", "d": "", "e": "d"})
        await self.hypervisor.restore_snapshot(vm.uuid, "c")
        self.assertEqual(await self.current_name(vm), "c")
        await self.refused(NoSuchSnapshot, self.hypervisor.restore_snapshot(vm.uuid, "a"))

    async def test_current_one_is_deleted(self) -> None:
        """Then its parent is current, though the machine did not go back: the next stands there."""
        if not self.can(Capability.SNAPSHOTS):
            return
        vm = await self.create()
        for name in ("a", "b"):
            await self.take(vm, name)
        await self.hypervisor.delete_snapshot(vm.uuid, "b")
        self.assertEqual(await self.current_name(vm), "a")
        self.assertEqual((await self.take(vm, "c")).parent, "a")
        for name in ("c", "a"):
            await self.hypervisor.delete_snapshot(vm.uuid, name)
        self.assertEqual(await self.snapshots(vm), [])
        self.assertEqual((await self.take(vm, "a")).parent, "")

    async def test_name_is_taken_once_per_machine(self) -> None:
        """A second snapshot of the same name is refused; another machine may have it."""
        if not self.can(Capability.SNAPSHOTS):
            return
        vm, other = await self.create("-1"), await self.create("-2")
        first = await self.take(vm, "same one", "first")
        error = await self.refused(
            SnapshotExists, self.hypervisor.take_snapshot(vm.uuid, "same one", "second")
        )
        self.assertEqual((error.vm, error.name), (vm.name, "same one"))
        self.assertEqual(await self.snapshots(vm), [first])
        await self.take(other, "same one")

    async def test_hostile_snapshot_names(self) -> None:
        """Any name is either taken to the letter or refused, and nothing is left of a refused."""
        if not self.can(Capability.SNAPSHOTS):
            return
        vm = await self.create()
        taken: set[str] = set()
        for name in HOSTILE_SNAPSHOTS:
            try:
                await self.take(vm, name, f"of {name!r}")
            except BadArgument:
                self.assertNotIn(name, {"1", "two words", "..", "Žluťoučký 虚拟机 🚀"})
            else:
                taken.add(name)
            self.assertEqual({each.name for each in await self.snapshots(vm)}, taken)
        for name in taken:
            self.assertEqual((await self.snapshot(vm, name)).description, f"of {name!r}")
            await self.hypervisor.restore_snapshot(vm.uuid, name)
            self.assertEqual(await self.current_name(vm), name)
        for name in sorted(taken):
            await self.hypervisor.delete_snapshot(vm.uuid, name)
            taken.discard(name)
            self.assertEqual({each.name for each in await self.snapshots(vm)}, taken)

    async def test_descriptions_are_kept_exactly(self) -> None:
        """Whatever a description holds comes back as it was given."""
        if not self.can(Capability.SNAPSHOTS):
            return
        vm = await self.create()
        for number, description in enumerate(HOSTILE_DESCRIPTIONS):
            taken = await self.take(vm, f"number{number}", description)
            self.assertEqual(taken.description, description)
        in_order = depth_first(tree(await self.snapshots(vm)))
        self.assertEqual(tuple(each.description for each in in_order), HOSTILE_DESCRIPTIONS)

    async def test_unknown_snapshots_and_machines(self) -> None:
        """Each is told by its own error."""
        if not self.can(Capability.SNAPSHOTS):
            return
        vm = await self.create()
        for name in ("nobody", "", "..", "a\x00b", "\udc80"):
            for operation in (self.hypervisor.restore_snapshot, self.hypervisor.delete_snapshot):
                error = await self.refused(NoSuchSnapshot, operation(vm.uuid, name))
                self.assertEqual((error.vm, error.name), (vm.name, name))
        for uuid in ("00000000-1111-4222-8333-444444444444", "", "../.."):
            await self.refused(NoSuchVM, self.hypervisor.take_snapshot(uuid, "a"))
            await self.refused(NoSuchVM, self.hypervisor.restore_snapshot(uuid, "a"))
            await self.refused(NoSuchVM, self.hypervisor.delete_snapshot(uuid, "a"))
            await self.refused(NoSuchVM, self.hypervisor.list_snapshots(uuid))

    async def test_snapshots_outlive_the_backend(self) -> None:
        """Another one opened later sees the same tree, and goes back to what is in it."""
        if not self.can(Capability.SNAPSHOTS):
            return
        vm = await self.create()
        for name in ("a", "b"):
            await self.take(vm, name)
        await self.hypervisor.restore_snapshot(vm.uuid, "a")
        before = await self.snapshots(vm)
        await self.close_all()
        self.hypervisor = await self.open_one(self.events)
        self.assertEqual(await self.snapshots(vm), before)
        await self.hypervisor.restore_snapshot(vm.uuid, "b")
        self.assertEqual(await self.current_name(vm), "b")

    async def test_machine_with_snapshots_is_removed(self) -> None:
        """All of it goes; a new machine of the same name has none."""
        if not self.can(Capability.SNAPSHOTS):
            return
        vm = await self.create()
        for name in ("a", "b c"):
            await self.take(vm, name)
        await self.hypervisor.remove(vm.uuid)
        await self.refused(NoSuchVM, self.hypervisor.list_snapshots(vm.uuid))
        again = await self.create()
        self.assertEqual(await self.snapshots(again), [])
        self.assertEqual((await self.take(again, "a")).parent, "")

    async def test_no_snapshot_of_a_saved_machine(self) -> None:
        """Its memory would not be in it. Going back drops what was saved."""
        if not self.can(Capability.SNAPSHOTS, Capability.SAVE):
            return
        vm = await self.create()
        await self.take(vm, "off")
        await self.hypervisor.start(vm.uuid, self.agent)
        await self.hypervisor.save(vm.uuid)
        error = await self.refused(InvalidState, self.hypervisor.take_snapshot(vm.uuid, "saved"))
        self.assertEqual(error.state, VmState.SAVED)
        self.assertEqual(await self.state(vm), VmState.SAVED)
        self.events.forget()
        await self.hypervisor.restore_snapshot(vm.uuid, "off")
        self.assertEqual(await self.state(vm), VmState.POWERED_OFF)
        await self.events.until(vm.uuid, VmState.POWERED_OFF)
