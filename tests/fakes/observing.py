"""The part of the hypervisor in memory that lets be seen what its machines show and use."""

from __future__ import annotations

from collections import Counter

from vmcontroller.common.errors import InvalidState, NoSuchVM
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.hypervisor.screen import ConsolePiece, Display
from vmcontroller.host.hypervisor.stats import Counters

PNG = b"\x89PNG\r\n\x1a\nnot looked at"


class FakeObserving:
    """A mixin of FakeHypervisor: `world` has the machines."""

    world: dict[str, Vm]

    def __init__(self) -> None:
        self.counters: dict[str, Counters] = {}
        """What tests set; a machine that runs and isn't here has counted nothing yet."""
        self.consoles: dict[str, bytes] = {}
        self.bulk_reads = 0
        self.starts: Counter[str] = Counter()

    async def stats(self):
        self.bulk_reads += 1
        return {
            uuid: self.counters.get(uuid, Counters(at_s=0.0, run=str(self.starts[uuid]), cpu_s=0.0))
            for uuid, vm in self.world.items()
            if not vm.state.is_off
        }

    async def display(self, uuid: str) -> Display:
        vm = self._here(uuid)
        return Display(kind="vnc", socket="" if vm.state.is_off else f"/run/{uuid}")

    async def screenshot(self, uuid: str) -> bytes:
        vm = self._here(uuid)
        if vm.state.is_off:
            raise InvalidState(vm.name, vm.state, "takeScreenshot", "Running")
        return PNG

    async def console_log(self, uuid: str, offset: int, length: int) -> ConsolePiece:
        self._here(uuid)
        written = self.consoles.get(uuid, b"")
        offset = min(offset, len(written))
        return ConsolePiece(data=written[offset : offset + length], offset=offset, begins=0)

    def _here(self, uuid: str) -> Vm:
        if uuid not in self.world:
            raise NoSuchVM(uuid)
        return self.world[uuid]
