"""Use cases of virtual machines: made, started, stopped, listed."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmcontroller.common.background import in_background, pause
from vmcontroller.common.errors import InvalidState, VMControllerError, VMExists
from vmcontroller.host.adoption import Adoption
from vmcontroller.host.broker_addresses import BrokerAddresses
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.creation.creation import Creation
from vmcontroller.host.directory import Directory
from vmcontroller.host.hypervisor.base import Capability, Hypervisor, Vm, VmChanged
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.identity.identities import identity_of
from vmcontroller.host.names import check_new_name
from vmcontroller.host.reach import Reach
from vmcontroller.host.requests import CreateOptions
from vmcontroller.host.transfers.transfers import Transfers
from vmcontroller.host.vm_answers import vm_answer

SHUTDOWN_REPEAT_S = 10.0
"""A guest that still boots does not see its power button: it is pressed again meanwhile."""


WAKES_WITHIN_S = 10.0
"""A guest that sleeps is woken by a signal that the hypervisor gives it."""


class VmOperations:
    """What is done to a machine from outside; its guest is not asked, but for `shutdown`."""

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        hypervisor: Hypervisor,
        directory: Directory,
        creation: Creation,
        reach: Reach,
        adoption: Adoption | None,
        commands: Commands,
        transfers: Transfers,
        broker_addresses: BrokerAddresses,
        stop_timeout_s: float,
    ) -> None:
        self._clock = clock
        self._hypervisor = hypervisor
        self._directory = directory
        self._creation = creation
        self._reach = reach
        self._adoption = adoption
        self._commands = commands
        self._transfers = transfers
        self._broker_addresses = broker_addresses
        self._stop_timeout_s = stop_timeout_s
        self._creating = DeferredLock()

    # Creational.

    async def create_vm(self, name: str, image: str, options: CreateOptions) -> Sequence[Any]:
        """Make a VM named `name` from the image at path `image`; answer [True, name]."""
        check_new_name(name)
        async with self._creating:
            vms = await self._directory.all()
            if any(vm.name == name for vm in vms):
                raise VMExists(name)
            vm = await self._creation.create(name, image, options, vms)
        await self._tell(vm)
        self._log.info("created {name} ({uuid})", name=name, uuid=vm.uuid)
        return [True, name]

    async def _tell(self, vm: Vm) -> None:
        """Let a new VM have its credential, so that it can also be started by others."""
        if self._adoption is None:
            return
        try:
            await self._hypervisor.tell(vm.uuid, self._adoption.credential_of(vm))
        except VMControllerError as error:  # a start tells it, too
            self._log.warn("{name} is not told yet: {error}", name=vm.name, error=str(error))

    async def remove_vm(self, vm: str) -> Sequence[Any]:
        """Undefine a VM that is off; disk images that were given stay. Answer [True, name]."""
        found = await self._directory.find(vm, fresh=True)
        await self._creation.remove(found, self._directory.last_known())
        self._log.info("removed {name} ({uuid})", name=found.name, uuid=found.uuid)
        return [True, found.name]

    async def sweep_disks(self) -> None:
        """Remove what an earlier daemon left of VMs that were half made when it ended."""
        async with self._creating:
            await self._creation.sweep(await self._directory.all())

    # Behavioural.

    async def start(self, vm: str) -> bool:
        """Power a VM on; its agent learns where the broker is."""
        found = await self._directory.find(vm)
        agent = self._broker_addresses.for_agents()
        if self._adoption is not None:
            agent = replace(agent, credential=self._adoption.credential_of(found))
        await self._hypervisor.start(found.uuid, agent)
        await self._broker_addresses.refresh()  # its network may have come with it
        return True

    async def shutdown(self, vm: str) -> bool:
        """Ask the guest to shut down; answer when it is off.

        Raises DeadlinePassed when it is not within `guests.stop_timeout`; it may still obey.
        """
        found = await self._directory.find(vm, fresh=True)
        await self._hypervisor.shutdown(found.uuid)
        pressing = in_background(self._keep_pressing(found), "asking again for a shutdown")
        try:
            await self._directory.until(
                found,
                lambda state: state is None or state.is_off,
                self._stop_timeout_s,
                "shut down",
            )
        finally:
            pressing.cancel()
        return True

    async def _keep_pressing(self, vm: Vm) -> None:
        with contextlib.suppress(InvalidState):  # it is off
            while True:
                await pause(self._clock, SHUTDOWN_REPEAT_S)
                await self._hypervisor.shutdown(vm.uuid)

    async def power_off(self, vm: str) -> bool:
        """Take the power away."""
        found = await self._directory.find(vm)
        await self._hypervisor.power_off(found.uuid)
        return True

    async def reset(self, vm: str) -> bool:
        """Press the reset button."""
        found = await self._directory.find(vm)
        await self._hypervisor.reset(found.uuid)
        self._commands.hearing.vm_stopped(found.uuid, "the VM was reset")
        self._reach.forget(found, "the VM was reset")
        return True

    async def pause(self, vm: str) -> bool:
        """Freeze a running VM."""
        found = await self._directory.find(vm)
        await self._hypervisor.pause(found.uuid)
        return True

    async def resume(self, vm: str) -> bool:
        """Let a paused VM run on."""
        found = await self._directory.find(vm)
        await self._hypervisor.resume(found.uuid)
        await self._directory.until(
            found, lambda state: state is not VmState.PAUSED, WAKES_WITHIN_S, "wake up"
        )
        return True

    # State based.

    async def get_vm(self, vm: str) -> Mapping[str, Any]:
        """Answer what a VM was made with, and its state."""
        found = await self._directory.find(vm, fresh=True)
        details = await self._hypervisor.describe(found.uuid)
        made = await self._creation.made(found.uuid)
        has_snapshots = Capability.SNAPSHOTS in self._hypervisor.capabilities
        snapshots = await self._hypervisor.list_snapshots(found.uuid) if has_snapshots else ()
        return vm_answer(
            found,
            details,
            hypervisor=self._hypervisor.name,
            made=made,
            snapshots=len(snapshots),
        )

    async def get_state(self, vm: str) -> str:
        """Answer the state as the hypervisor has it now."""
        return (await self._directory.find(vm, fresh=True)).state

    async def list_vms(self) -> Sequence[str]:
        """Answer the names of all VMs."""
        return [vm.name for vm in await self._directory.all()]

    async def list_vms_with_state(self) -> Mapping[str, str]:
        """Answer {name: state}."""
        return {vm.name: vm.state for vm in await self._directory.all()}

    async def list_running_vms(self) -> Sequence[str]:
        """Answer the names of those that run."""
        return [vm.name for vm in await self._directory.all() if vm.state is VmState.RUNNING]

    async def get_ids_to_names_mapping(self) -> Mapping[str, str]:
        """Answer {id of the guest: name}."""
        return {identity_of(vm): vm.name for vm in await self._directory.all()}

    async def get_names_to_ids_mapping(self) -> Mapping[str, str]:
        """Answer {name: id of the guest}."""
        return {vm.name: identity_of(vm) for vm in await self._directory.all()}

    async def states(self) -> Mapping[str, int]:
        """Answer {state: number}, for clients of old."""
        return {state: number for number, state in enumerate(VmState)}

    # What the hypervisor reports.

    def vm_changed(self, change: VmChanged) -> None:
        """Follow a machine that went off or back: its agent is gone, its commands are lost."""
        before = next((vm for vm in self._directory.last_known() if vm.uuid == change.uuid), None)
        self._directory.changed(change)
        if self._adoption is not None:
            self._adoption.changed(change)
        why = _why_gone(change)
        if not why:
            return
        if change.state is not VmState.SAVED:  # what is saved runs on when it is restored
            self._commands.hearing.vm_stopped(change.uuid, why)
        self._transfers.vm_stopped(change.uuid, why)
        if before is not None:
            self._reach.forget(before, why)


def _why_gone(change: VmChanged) -> str:
    """Say why the guest that was there is there no more; empty when it still is."""
    if change.rolled_back:
        return "the VM was restored to a snapshot"
    if change.state is None or change.state.is_off:
        return f"the VM is {change.state or 'removed'}"
    return ""
