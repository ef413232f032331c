"""What the hypervisor contract is given for a backend, and how it waits for reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from vmcontroller.host.hypervisor.base import Hypervisor, Vm, VmChanged
from vmcontroller.host.hypervisor.specification import VmSpec
from vmcontroller.host.hypervisor.vm_state import VmState

DEADLINE_S = 120
"""No honest machine reaches it."""


class Fixture(Protocol):
    """What the suite must be given for a backend."""

    obeys_shutdown: bool
    """Whether the guest of `make_spec` goes off when asked."""

    has_memory: bool
    """Whether a machine that is saved really goes on; libvirt's mock driver starts it anew."""

    def hypervisor(self) -> Hypervisor:
        """Return a new backend, not yet open, on the same machines as every other one."""
        ...

    def make_spec(self, name: str) -> VmSpec:
        """Return a machine that can be had, with an image of its own."""
        ...

    async def kill(self, vm: Vm) -> None:
        """Kill a machine's process for real; only asked of a `killable` backend."""
        ...

    async def cleanup(self) -> None:
        """Remove all that the fixture made."""
        ...


class Events:
    """Keeps what was reported, and lets a test wait for more."""

    def __init__(self, reactor: Any) -> None:
        self.seen: list[VmChanged] = []
        self._reactor = reactor
        self._waiting: list[tuple[Callable[[VmChanged], bool], Deferred[VmChanged]]] = []

    def __call__(self, change: VmChanged) -> None:
        self.seen.append(change)
        for entry in list(self._waiting):
            wanted, done = entry
            if wanted(change):
                self._waiting.remove(entry)
                done.callback(change)

    def forget(self) -> None:
        self.seen.clear()

    def states(self, uuid: str) -> list[VmState | None]:
        return [change.state for change in self.seen if change.uuid == uuid]

    async def until(
        self, uuid: str, state: VmState | None, *, deadline_s: float = DEADLINE_S
    ) -> VmChanged:
        """Return the first report of this since the last `forget`, waiting for it if need be."""

        def wanted(change: VmChanged) -> bool:
            return change.uuid == uuid and change.state == state

        for change in self.seen:
            if wanted(change):
                return change
        done: Deferred[VmChanged] = Deferred()
        self._waiting.append((wanted, done))
        return await done.addTimeout(deadline_s, self._reactor)
