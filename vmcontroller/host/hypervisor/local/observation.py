"""What can be seen of local VMs, as a part of the backend that changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vmcontroller.common.copying.course import InThread
from vmcontroller.common.errors import HypervisorError, Unsupported
from vmcontroller.host.hypervisor.console_files import ConsoleFiles
from vmcontroller.host.hypervisor.local.console import log_of
from vmcontroller.host.hypervisor.local.machine import Machine
from vmcontroller.host.hypervisor.local.stats import ProcessStats
from vmcontroller.host.hypervisor.screen import ConsolePiece, Display
from vmcontroller.host.hypervisor.stats import Counters


class Observation:
    """See the interface `Observable`. A mixin: the backend has the machines."""

    name: str
    _in_thread: InThread
    _machine: Callable[[str], Machine]
    _machines: dict[str, Machine]

    def __init__(self, state_dir: str) -> None:
        self._console_files = ConsoleFiles(f"{state_dir}/console")
        self._process_stats = ProcessStats()

    async def stats(self) -> Mapping[str, Counters]:
        """See the interface: what a VM's processes use of this machine."""
        agents = {
            uuid: machine.agent
            for uuid, machine in self._machines.items()
            if machine.agent is not None and not machine.state.is_off
        }
        return await self._in_thread(self._process_stats.read, agents) if agents else {}

    async def display(self, uuid: str) -> Display:
        """See the interface: there is none."""
        self._machine(uuid)
        return Display()

    async def screenshot(self, uuid: str) -> bytes:
        """See the interface: there is no screen."""
        self._machine(uuid)
        raise Unsupported(self.name, "screenshots: its VMs are processes without a screen")

    async def console_log(self, uuid: str, offset: int, length: int) -> ConsolePiece:
        """See the interface: what the VM's agent logs."""
        path = str(log_of(self._machine(uuid).vm))
        try:
            return await self._in_thread(self._console_files.read, uuid, path, offset, length)
        except OSError as error:
            raise HypervisorError(self.name, f"the agent's log cannot be read: {error}") from error
