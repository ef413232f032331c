"""Which events a change of a virtual machine is. Pure, but remembers the machines."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from vmcontroller.host.events.log import Kind
from vmcontroller.host.hypervisor.base import Vm, VmChanged
from vmcontroller.host.hypervisor.vm_state import VmState


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One event about a machine."""

    kind: Kind
    vm: str
    uuid: str
    detail: dict[str, str] = field(default_factory=dict)


class Machines:
    """The machines as the events have told them."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, VmState]] = {}
        self._listed = False

    def found(self, vms: Collection[Vm]) -> None:
        """Take the machines that are there when the daemon begins to follow them: no events."""
        self._listed = True
        for vm in vms:
            _ = self._known.setdefault(vm.uuid, (vm.name, vm.state))

    def changed(self, change: VmChanged) -> Sequence[Change]:
        """Return the events of what the hypervisor reports."""
        known = self._known.get(change.uuid)
        if change.state is None:
            if self._known.pop(change.uuid, None) is None and self._listed:
                return ()
            return (_about(Kind.VM_REMOVED, change),)
        self._known[change.uuid] = (change.name, change.state)
        if known is None:
            if self._listed:
                return (_about(Kind.VM_ADDED, change, state=change.state),)
            known = (change.name, VmState.UNKNOWN)  # it was there before, as it may have been
        name, before = known
        events = []
        if name != change.name:  # to whoever looks for a name, one has gone and another come
            events.append(Change(kind=Kind.VM_REMOVED, vm=name, uuid=change.uuid))
            events.append(_about(Kind.VM_ADDED, change, state=change.state))
        if before is not change.state:
            events.append(_about(Kind.VM_STATE, change, state=change.state, before=before))
        return events


def _about(kind: Kind, change: VmChanged, **detail: VmState) -> Change:
    shown = {key: state.value for key, state in detail.items()}
    return Change(kind=kind, vm=change.name, uuid=change.uuid, detail=shown)
