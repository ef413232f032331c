"""The part of the backend that keeps what local VMs were: snapshots of their directories.

A process's memory can't be kept, so a snapshot is of the directories alone, and leaves the VM off
when it is restored. Saving and sleeping would be a lie: neither is claimed.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from vmcontroller.common.errors import Unsupported
from vmcontroller.host.hypervisor.base import VmChanged
from vmcontroller.host.hypervisor.local import processes, snapshots, store
from vmcontroller.host.hypervisor.local.machine import Machine
from vmcontroller.host.hypervisor.snapshots import Snapshot, check_new_name
from vmcontroller.host.hypervisor.vm_state import VmState

_STEADY: Final = (VmState.POWERED_OFF, VmState.ABORTED, VmState.RUNNING, VmState.PAUSED)


class Keeping:
    """A mixin of the backend, which knows its machines and their processes."""

    name: str
    _in_thread: Any
    _listener: Callable[[VmChanged], None]

    def _machine(self, uuid: str) -> Machine:
        """Return a VM; raises NoSuchVM."""
        raise NotImplementedError

    async def _kill(self, machine: Machine) -> None:
        """Kill all its processes."""
        raise NotImplementedError

    def _report(self, machine: Machine) -> None:
        """Report its state."""
        raise NotImplementedError

    async def take_snapshot(self, uuid: str, name: str, description: str = "") -> None:
        """See the interface. Its processes stand still while they are copied from."""
        check_new_name(name)
        async with self._alone_with(uuid) as machine:
            machine.need("takeSnapshot", *_STEADY)
            await self._in_thread(snapshots.check_free, machine.vm, name)
            async with self._standing_still(machine):
                await self._in_thread(snapshots.take, machine.vm, name, description, time.time())

    @contextlib.asynccontextmanager
    async def _alone_with(self, uuid: str) -> AsyncIterator[Machine]:
        machine = self._machine(uuid)
        async with machine.keeping:
            yield self._machine(uuid)  # it may have been removed meanwhile

    @contextlib.asynccontextmanager
    async def _standing_still(self, machine: Machine) -> AsyncIterator[None]:
        before = machine.state
        machine.need("takeSnapshot", *_STEADY)
        machine.state = VmState.SAVING
        self._report(machine)
        try:
            if before is VmState.RUNNING:
                await self._signal(machine, signal.SIGSTOP)
            elif machine.sweeping:
                await machine.until_gone()
            yield
        finally:
            if machine.state is VmState.SAVING:  # else its agent has ended meanwhile
                if before is VmState.RUNNING:
                    await self._signal(machine, signal.SIGCONT)
                if machine.state is VmState.SAVING:
                    machine.state = before
                    self._report(machine)

    async def _signal(self, machine: Machine, number: signal.Signals) -> None:
        await self._in_thread(processes.signal_all, machine.vm.uuid, number, machine.agent)

    async def restore_snapshot(self, uuid: str, name: str) -> None:
        """See the interface. The VM is off afterwards; its processes are killed."""
        async with self._alone_with(uuid) as machine:
            machine.need("restoreSnapshot", *_STEADY)
            await self._in_thread(snapshots.prepare, machine.vm, name)
            try:
                machine.need("restoreSnapshot", *_STEADY)
                await self._put_back(machine, name)
            finally:
                await self._in_thread(snapshots.unprepare, machine.vm)

    async def _put_back(self, machine: Machine, name: str) -> None:
        machine.stopping = True
        machine.resetting = True  # its end is not reported by itself
        try:
            if machine.state in {VmState.RUNNING, VmState.PAUSED}:
                await self._kill(machine)
            elif machine.sweeping:
                await machine.until_gone()
            machine.state = VmState.RESTORING
            store.write_process(machine.vm, None)  # one that was Aborted is no more
            await self._in_thread(snapshots.restore, machine.vm, name)
        finally:
            machine.stopping = machine.resetting = False
            machine.state = VmState.POWERED_OFF
            vm = machine.vm
            self._listener(
                VmChanged(uuid=vm.uuid, name=vm.name, state=machine.state, rolled_back=True)
            )

    async def delete_snapshot(self, uuid: str, name: str) -> None:
        """See the interface."""
        async with self._alone_with(uuid) as machine:
            await self._in_thread(snapshots.delete, machine.vm, name)

    async def list_snapshots(self, uuid: str) -> Sequence[Snapshot]:
        """See the interface."""
        found: Sequence[Snapshot] = await self._in_thread(snapshots.listed, self._machine(uuid).vm)
        return found

    async def save(self, uuid: str) -> None:
        """Refuse; see the interface."""
        self._refuse(uuid, "saving the memory of processes; pause keeps it while the host is up")

    async def discard(self, uuid: str) -> None:
        """Refuse; see the interface."""
        self._refuse(uuid, "saved states")

    async def sleep(self, uuid: str) -> None:
        """Refuse; see the interface."""
        self._refuse(uuid, "sleep: its VMs are processes of this machine; pause stops them")

    def _refuse(self, uuid: str, what: str) -> None:
        _ = self._machine(uuid)
        raise Unsupported(self.name, what)
