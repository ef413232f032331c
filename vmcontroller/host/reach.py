"""From a VM to its guest: which agent is there, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vmcontroller.common.errors import GuestUnreachable
from vmcontroller.common.model import GuestId
from vmcontroller.host.directory import Directory
from vmcontroller.host.guest_answers import answer_of
from vmcontroller.host.guests import Guest, Guests
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.identity.identities import identity_of


class Reach:
    """The guests of the directory's machines.

    `now_s` is the daemon's clock, `wall_s` the time of day.
    """

    def __init__(
        self,
        *,
        directory: Directory,
        guests: Guests,
        now_s: Callable[[], float],
        wall_s: Callable[[], float],
    ) -> None:
        self._directory = directory
        self._guests = guests
        self._now_s = now_s
        self._wall_s = wall_s

    async def vm_on(self, vm: str) -> Vm:
        """Find a VM; one that was last known to be off may have been started meanwhile."""
        found = await self._directory.find(vm)
        return await self._directory.find(vm, fresh=True) if found.state.is_off else found

    def id_of(self, vm: Vm) -> GuestId:
        """Return the id that the guest of this VM has; raises GuestUnreachable when it is off."""
        if vm.state.is_off:
            raise GuestUnreachable(vm.name, f"the VM is {vm.state}; start it first")
        found = self._there(vm)
        return found.id if found is not None else identity_of(vm)

    def agent_of(self, vm: Vm) -> Guest:
        """Return the agent of this VM; raises GuestUnreachable when it is not connected."""
        guest = self._guests.get(self.id_of(vm))
        if guest is None:
            raise GuestUnreachable(
                vm.name, f"its agent is not connected (the VM is {vm.state}); ping waits for it"
            )
        return guest

    def agents(self) -> Sequence[Guest]:
        """Return all agents that are connected, of whatever VM."""
        return self._guests.everyone()

    def forget(self, vm: Vm, why: str) -> None:
        """Let the guest of this VM go."""
        for guest in _ids_of(vm):
            self._guests.leave(guest, why)

    async def describe(self, vm: str) -> Mapping[str, Any]:
        """Return what is known of a VM's guest; raises NoSuchVM."""
        return self._answer(await self._directory.find(vm))

    async def describe_all(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the same of every VM, by name."""
        return {vm.name: self._answer(vm) for vm in await self._directory.all()}

    def _answer(self, vm: Vm) -> Mapping[str, Any]:
        return answer_of(
            vm,
            self._there(vm),
            detail=next(filter(None, map(self._guests.why_gone, _ids_of(vm))), ""),
            now_s=self._now_s(),
            wall_s=self._wall_s(),
        )

    def _there(self, vm: Vm) -> Guest | None:
        return next(filter(None, map(self._guests.get, _ids_of(vm))), None)


def _ids_of(vm: Vm) -> tuple[GuestId, ...]:
    """Return the ids that its agent may have: on an external broker it chooses its NIC itself."""
    return tuple(dict.fromkeys((identity_of(vm), *map(GuestId, vm.macs))))
