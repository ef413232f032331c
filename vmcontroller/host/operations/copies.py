"""Use cases of copies to and from guests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vmcontroller.host.reach import Reach
from vmcontroller.host.transfers.transfers import Transfers


class CopyOperations:
    """Files between this host and guests."""

    def __init__(self, *, reach: Reach, transfers: Transfers) -> None:
        self._reach = reach
        self._transfers = transfers

    async def cp_file_to_vm(self, vm: str, local_path: str, remote_path: str) -> Sequence[Any]:
        """Copy a file of the host into the guest; answer when it is whole and in place."""
        found = await self._reach.vm_on(vm)
        await self._transfers.put(self._reach.agent_of(found).id, local_path, remote_path)
        return ["", "", 0]

    async def cp_file_from_vm(self, vm: str, remote_path: str, local_path: str) -> Sequence[Any]:
        """Copy a file of the guest to the host; answer when it is whole and in place."""
        found = await self._reach.vm_on(vm)
        await self._transfers.get(self._reach.agent_of(found).id, remote_path, local_path)
        return ["", "", 0]
