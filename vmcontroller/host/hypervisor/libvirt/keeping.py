"""The part of the backend that keeps what machines were: snapshots, saved memory, sleep.

Its calls can take long, so they have threads of their own and a deadline in hours: the calls of
other machines never stand behind them.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Final

from vmcontroller.common.errors import Unsupported
from vmcontroller.host.hypervisor.base import Capability
from vmcontroller.host.hypervisor.libvirt import calls, saving, snapshots
from vmcontroller.host.hypervisor.libvirt.drivers import Driver
from vmcontroller.host.hypervisor.libvirt.errors import BACKEND
from vmcontroller.host.hypervisor.libvirt.link import Link
from vmcontroller.host.hypervisor.snapshots import Snapshot, check_new_name

LONG_DEADLINE_S: Final = 4 * 3600.0
"""256 GiB of memory at 20 MB a second; who waits may give up before."""
LONG_CALLS: Final = 4
"""So many at a time; each of them writes as fast as the disk takes it."""


class Keeping:
    """A mixin of the backend, which knows how to reach libvirt."""

    capabilities: frozenset[Capability]
    _driver: Driver

    def _up(self) -> Link:
        """Return the connection; raises HypervisorUnreachable."""
        raise NotImplementedError

    async def _relist(self) -> None:
        """Report what no event has told."""
        raise NotImplementedError

    async def take_snapshot(self, uuid: str, name: str, description: str = "") -> None:
        """See the interface. One that is there after its caller has given up is deleted again."""
        check_new_name(name)
        await self._keep(
            uuid,
            snapshots.take(self._driver, name, description),
            Capability.SNAPSHOTS,
            undo=snapshots.delete(name),
        )

    async def restore_snapshot(self, uuid: str, name: str) -> None:
        """See the interface. The machine's definition becomes that of then, too."""
        await self._keep(uuid, snapshots.restore(name), Capability.SNAPSHOTS)
        await self._relist()

    async def delete_snapshot(self, uuid: str, name: str) -> None:
        """See the interface."""
        await self._keep(uuid, snapshots.delete(name), Capability.SNAPSHOTS)

    async def list_snapshots(self, uuid: str) -> Sequence[Snapshot]:
        """See the interface."""
        return await self._up().call(
            f"list snapshots of {uuid}",
            lambda connection: snapshots.listed(connection, uuid),
            vm=uuid,
        )

    async def save(self, uuid: str) -> None:
        """See the interface."""
        await self._keep(uuid, saving.SAVE, Capability.SAVE)

    async def discard(self, uuid: str) -> None:
        """See the interface."""
        await self._keep(uuid, saving.DISCARD, Capability.SAVE)
        await self._relist()

    async def sleep(self, uuid: str) -> None:
        """See the interface: asks QEMU's own agent in the guest, where that is installed."""
        await self._keep(uuid, saving.SLEEP, Capability.SLEEP)

    async def _keep(
        self,
        uuid: str,
        operation: calls.Operation,
        needs: Capability,
        *,
        undo: calls.Operation | None = None,
    ) -> None:
        if needs not in self.capabilities:
            raise Unsupported(BACKEND, f"{operation.name} with this driver")
        await self._long(uuid, operation, undo=undo)

    async def _long(
        self, uuid: str, operation: calls.Operation, *, undo: calls.Operation | None = None
    ) -> None:
        await self._up().call(
            f"{operation.name} {uuid}",
            lambda connection: calls.operate(connection, uuid, operation),
            vm=uuid,
            discard=None if undo is None else functools.partial(_undo, uuid, undo),
            is_long=True,
        )


def _undo(uuid: str, operation: calls.Operation, connection: Any, _result: None) -> None:
    calls.operate(connection, uuid, operation)
