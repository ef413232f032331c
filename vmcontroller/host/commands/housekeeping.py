"""What is done for commands every few seconds: results expire, guests are given up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from vmcontroller.common.errors import VMControllerError
from vmcontroller.host.commands.absences import Absences
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.hypervisor.vm_state import VmState


class Housekeeping:
    """Looks after commands whose guests are away."""

    def __init__(
        self,
        commands: Commands,
        *,
        list_vms: Callable[[], Awaitable[Sequence[Vm]]],
        lost_after_s: float,
    ) -> None:
        """`list_vms` returns all VMs as they are now; it may raise a VMControllerError."""
        self._commands = commands
        self._list_vms = list_vms
        self._lost_after_s = lost_after_s
        self._absences = Absences(lost_after_s)

    async def __call__(self) -> None:
        """Do it once."""
        try:
            await self._commands.expire()
            await self._give_up()
        except VMControllerError:
            return  # there is no broker, no hypervisor or no room now: there may be next time

    async def _give_up(self) -> None:
        """Lose the commands of VMs that are off or gone, and of guests away for too long."""
        world = self._commands.world
        away = {
            command.guest: command.vm_uuid
            for command in self._commands.registry.running()
            if world.there(command.guest) is None
        }
        vms = {vm.uuid: vm for vm in await self._list_vms()} if away else {}
        hearing = self._commands.hearing
        for uuid in set(away.values()):
            state = vms[uuid].state if uuid in vms else None
            if state in {None, VmState.POWERED_OFF, VmState.ABORTED}:
                hearing.vm_stopped(uuid, f"the VM is {state or 'removed'}")
        runs = {
            guest: uuid in vms and vms[uuid].state is VmState.RUNNING
            for guest, uuid in away.items()
        }
        for guest in self._absences.look(world.clock.seconds(), runs):
            hearing.guest_lost(
                guest, f"its guest was not heard for {self._lost_after_s:.0f} s while its VM ran"
            )
