"""The part of the hypervisor in memory that keeps snapshots and saved states."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

from vmcontroller.common.errors import NoSuchSnapshot, SnapshotExists, Unsupported
from vmcontroller.host.hypervisor.base import Vm, VmChanged
from vmcontroller.host.hypervisor.snapshots import Snapshot, check_new_name, current
from vmcontroller.host.hypervisor.vm_state import VmState

STILL = (VmState.POWERED_OFF, VmState.ABORTED, VmState.RUNNING, VmState.PAUSED)


@dataclass
class Kept:
    """What is kept of one machine."""

    snapshots: dict[str, Snapshot] = field(default_factory=dict)
    saved: VmState = VmState.RUNNING
    """In which state its memory was saved."""

    def make_current(self, name: str) -> None:
        for each in list(self.snapshots.values()):
            self.snapshots[each.name] = replace(each, is_current=each.name == name)


class FakeKeeping:
    """A mixin; `kept` has what is kept of machines, by their UUIDs."""

    name: str
    world: dict[str, Vm]
    kept: dict[str, Kept]
    sleeps = True
    """Whether guests can be put to sleep from outside."""
    _need: Callable[..., Vm]
    becomes: Callable[..., None]
    _report: Callable[[VmChanged], None]
    _clock_s = count(1_000_000)

    def _of(self, vm: Vm) -> Kept:
        return self.kept.setdefault(vm.uuid, Kept())

    async def take_snapshot(self, uuid: str, name: str, description: str = "") -> None:
        check_new_name(name)
        vm = self._need(uuid, "takeSnapshot", *STILL)
        kept = self._of(vm)
        if name in kept.snapshots:
            raise SnapshotExists(vm.name, name)
        parent = current(kept.snapshots.values())
        kept.snapshots[name] = Snapshot(
            name=name,
            description=description,
            created_s=float(next(self._clock_s)),
            state=VmState.POWERED_OFF if vm.state.is_off else vm.state,
            parent=parent.name if parent else "",
        )
        kept.make_current(name)

    async def restore_snapshot(self, uuid: str, name: str) -> None:
        vm = self._need(uuid, "restoreSnapshot", *STILL, VmState.SAVED)
        snapshot = self._snapshot(vm, name)
        self._of(vm).make_current(name)
        if not vm.state.is_off:
            self._changes(vm, VmState.POWERED_OFF, rolled_back=True)
        if not (snapshot.state.is_off and vm.state is VmState.POWERED_OFF):
            is_on = not snapshot.state.is_off
            self._changes(vm, snapshot.state, restored=is_on, rolled_back=True)

    def _changes(self, vm: Vm, state: VmState, **how: bool) -> None:
        self.world[vm.uuid] = replace(vm, state=state)
        self._report(VmChanged(uuid=vm.uuid, name=vm.name, state=state, **how))

    async def delete_snapshot(self, uuid: str, name: str) -> None:
        vm = self._need(uuid, "deleteSnapshot", *STILL, VmState.SAVED)
        gone = self._snapshot(vm, name)
        kept = self._of(vm)
        del kept.snapshots[name]
        for each in list(kept.snapshots.values()):
            if each.parent == name:
                kept.snapshots[each.name] = replace(each, parent=gone.parent)
        if gone.is_current:
            kept.make_current(gone.parent)

    def _snapshot(self, vm: Vm, name: str) -> Snapshot:
        try:
            return self._of(vm).snapshots[name]
        except KeyError:
            raise NoSuchSnapshot(vm.name, name) from None

    async def list_snapshots(self, uuid: str) -> tuple[Snapshot, ...]:
        return tuple(self._of(self._need(uuid, "list", *VmState)).snapshots.values())

    async def save(self, uuid: str) -> None:
        vm = self._need(uuid, "saveState", VmState.RUNNING, VmState.PAUSED)
        self._of(vm).saved = vm.state
        self.becomes(vm, VmState.SAVED)

    def goes_on(self, vm: Vm) -> bool:
        """Start a saved machine from its memory; False if it is none."""
        if vm.state is not VmState.SAVED:
            return False
        self._changes(vm, self._of(vm).saved, restored=True)
        return True

    async def discard(self, uuid: str) -> None:
        self.becomes(self._need(uuid, "discardState", VmState.SAVED), VmState.POWERED_OFF)

    async def sleep(self, uuid: str) -> None:
        vm = self._need(uuid, "sleep", VmState.RUNNING)
        if not self.sleeps:
            raise Unsupported(self.name, "a sleep button")
        self.becomes(vm, VmState.PAUSED)
