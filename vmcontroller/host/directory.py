"""Virtual machines by name, UUID or MAC address, as the hypervisor has them now.

What is known is kept until the hypervisor reports a change; a name that is not known is looked
for once more, so that machines made by others after the start are found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from vmcontroller.common.errors import BadArgument, DeadlinePassed, NoSuchVM
from vmcontroller.common.model import guest_id
from vmcontroller.host.hypervisor.base import Hypervisor, Vm, VmChanged
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.identity.identities import identity_of


class Directory:
    """The hypervisor's machines, and waiting for what they become."""

    def __init__(self, *, clock: IReactorTime, hypervisor: Hypervisor) -> None:
        self._clock = clock
        self._hypervisor = hypervisor
        self._vms: tuple[Vm, ...] = ()
        self._fresh = False
        self._changes = 0
        self._watchers: list[Callable[[VmChanged], None]] = []

    @property
    def is_fresh(self) -> bool:
        """Whether `last_known` is what the hypervisor has now."""
        return self._fresh

    def changed(self, change: VmChanged) -> None:
        """Take in what the hypervisor reports: the listener to give to `Hypervisor.open`."""
        self._changes += 1
        known = next((vm for vm in self._vms if vm.uuid == change.uuid), None)
        if known is None or change.state in {None, known.state} or change.name != known.name:
            self._fresh = False  # it came, went, or was defined anew
        else:
            new = replace(known, state=change.state or known.state)
            self._vms = tuple(new if vm is known else vm for vm in self._vms)
        for watcher in list(self._watchers):
            watcher(change)

    async def all(self) -> tuple[Vm, ...]:
        """Return every machine, freshly read.

        A listing during which a change was reported may be older than that: it is not kept for
        fresh, and the next to ask reads again.
        """
        self._fresh = False
        changes = self._changes
        self._vms = await self._hypervisor.list_vms()
        self._fresh = changes == self._changes
        return self._vms

    async def current(self) -> tuple[Vm, ...]:
        """Return every machine, read again only if something may have changed."""
        return self._vms if self._fresh else await self.all()

    async def find(self, reference: str, *, fresh: bool = False) -> Vm:
        """Return the machine with this name, UUID or MAC address.

        `fresh` reads the hypervisor again in any case. Raises NoSuchVM.
        """
        if self._fresh and not fresh:
            found = _match(self._vms, reference)
            if found is not None:
                return found
        found = _match(await self.all(), reference)
        if found is None:
            raise NoSuchVM(reference)
        return found

    def last_known(self) -> tuple[Vm, ...]:
        """Return what was read last, without asking the hypervisor."""
        return self._vms

    async def until(
        self, vm: Vm, wanted: Callable[[VmState | None], bool], deadline_s: float, what: str
    ) -> None:
        """Return when the machine's state (None: gone) is as wanted.

        Raises DeadlinePassed, with `what` did not happen, after `deadline_s`.
        """
        reached: Deferred[None] = Deferred()

        def watch(change: VmChanged) -> None:
            if change.uuid == vm.uuid and wanted(change.state) and not reached.called:
                reached.callback(None)

        self._watchers.append(watch)
        timer = self._clock.callLater(
            deadline_s,
            lambda: reached.errback(DeadlinePassed(f"{vm.name!r} did not {what}", deadline_s)),
        )
        try:
            now = next((other for other in await self.all() if other.uuid == vm.uuid), None)
            if wanted(now.state if now else None):
                _ = reached.addErrback(lambda _: None)  # the deadline may just have passed
                return
            await reached
        finally:
            self._watchers.remove(watch)
            if timer.active():
                timer.cancel()


def _match(vms: tuple[Vm, ...], reference: str) -> Vm | None:
    """Look for a name, then a UUID, then a MAC address."""
    for vm in vms:
        if vm.name == reference:
            return vm
    lowered = reference.lower()
    for vm in vms:
        if vm.uuid == lowered:
            return vm
    try:
        mac = guest_id(reference)
    except BadArgument:
        return None
    return next((vm for vm in vms if mac in vm.macs or mac == identity_of(vm)), None)
