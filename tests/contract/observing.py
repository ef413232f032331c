"""The contract: what machines use, what they show, what they write to their consoles."""

from __future__ import annotations

from tests.contract.case import ContractCase
from vmcontroller.common.errors import InvalidState, NoSuchVM, Unsupported
from vmcontroller.host.hypervisor.base import Capability

STRANGERS = ("00000000-1111-4222-8333-444444444444", "", "x", "../..", "a\x00b")
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


class ObservingContract(ContractCase):
    """Nothing of it changes a machine."""

    async def test_counters_are_of_machines_that_are_on(self) -> None:
        """One read has all that run or are paused, and none that is off; they never go back."""
        off = await self.create("-off")
        vm = await self.running()
        first = await self.hypervisor.stats()
        self.assertNotIn(off.uuid, first)
        if Capability.FIGURES not in self.hypervisor.capabilities:
            self.assertEqual(first, {})
            return
        before = first[vm.uuid]
        await self.hypervisor.pause(vm.uuid)
        now = (await self.hypervisor.stats())[vm.uuid]
        self.assertGreaterEqual(now.at_s, before.at_s)
        self.assertEqual(now.run, before.run)
        assert now.cpu_s is not None
        assert before.cpu_s is not None
        self.assertGreaterEqual(now.cpu_s, before.cpu_s)
        await self.hypervisor.power_off(vm.uuid)
        self.assertNotIn(vm.uuid, await self.hypervisor.stats())
        await self.hypervisor.start(vm.uuid, self.agent)
        again = (await self.hypervisor.stats())[vm.uuid]
        self.assertNotEqual(again.run, before.run, "its counters began again")

    async def test_display_is_never_open(self) -> None:
        """The display of a machine made here is on no network, whatever its state."""
        vm = await self.create()
        off = await self.hypervisor.display(vm.uuid)
        self.assertFalse(off.port or off.socket)
        await self.hypervisor.start(vm.uuid, self.agent)
        on = await self.hypervisor.display(vm.uuid)
        self.assertEqual(bool(on.port or on.socket), on.kind != "none")
        for display in (off, on):
            self.assertIn(display.kind, {"vnc", "spice", "vrde", "none"})
            self.assertFalse(display.open)
            self.assertEqual(bool(display.port), bool(display.password and display.host))

    async def test_screenshot(self) -> None:
        """Of a machine that is on it is a PNG; who has no screens says so."""
        vm = await self.create()
        if Capability.SCREENSHOT not in self.hypervisor.capabilities:
            await self.refused(Unsupported, self.hypervisor.screenshot(vm.uuid))
            return
        await self.refused(InvalidState, self.hypervisor.screenshot(vm.uuid))
        await self.hypervisor.start(vm.uuid, self.agent)
        picture = await self.hypervisor.screenshot(vm.uuid)
        self.assertEqual(picture[: len(PNG_MAGIC)], PNG_MAGIC)

    async def test_console_log(self) -> None:
        """It can be read of any machine, is empty at first, and never ends before it begins."""
        vm = await self.create()
        if Capability.CONSOLE_LOG not in self.hypervisor.capabilities:
            await self.refused(Unsupported, self.hypervisor.console_log(vm.uuid, 0, 100))
            return
        piece = await self.hypervisor.console_log(vm.uuid, 0, 100)
        self.assertEqual((piece.data, piece.offset, piece.next, piece.begins), (b"", 0, 0, 0))
        await self.hypervisor.start(vm.uuid, self.agent)
        for offset in (0, 10**15):
            piece = await self.hypervisor.console_log(vm.uuid, offset, 100)
            self.assertLessEqual(piece.begins, piece.offset)
            self.assertLessEqual(len(piece.data), 100)

    async def test_strangers_are_not_seen(self) -> None:
        """What is no machine's UUID has neither a display nor a screen nor a console."""
        capabilities = self.hypervisor.capabilities
        for uuid in STRANGERS:
            await self.refused(NoSuchVM, self.hypervisor.display(uuid))
            if Capability.SCREENSHOT in capabilities:
                await self.refused(NoSuchVM, self.hypervisor.screenshot(uuid))
            if Capability.CONSOLE_LOG in capabilities:
                await self.refused(NoSuchVM, self.hypervisor.console_log(uuid, 0, 1))
