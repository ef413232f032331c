"""Use cases of copies to and from guests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vmcontroller.host.reach import Reach
from vmcontroller.host.transfers.request import CopyOptions, CopyRequest, Direction
from vmcontroller.host.transfers.transfers import Transfers


class CopyOperations:
    """Files between this host and guests."""

    def __init__(self, *, reach: Reach, transfers: Transfers) -> None:
        self._reach = reach
        self._transfers = transfers

    async def cp_file_to_vm(
        self, vm: str, local_path: str, remote_path: str, options: CopyOptions
    ) -> Sequence[Any]:
        """Copy a file of the host into the guest; answer when it is whole and in place."""
        owner = True if options.owner is None else options.owner
        return await self._copy(
            vm,
            direction=Direction.TO_VM,
            local_path=local_path,
            remote_path=remote_path,
            recursive=options.recursive,
            owner=owner,
            roles=options.roles,
        )

    async def cp_file_from_vm(
        self, vm: str, remote_path: str, local_path: str, options: CopyOptions
    ) -> Sequence[Any]:
        """Copy a file of the guest to the host; answer when it is whole and in place."""
        return await self._copy(
            vm,
            direction=Direction.FROM_VM,
            local_path=local_path,
            remote_path=remote_path,
            recursive=options.recursive,
            owner=bool(options.owner),
            roles=options.roles,
        )

    async def list_transfers(self, vm: str) -> Sequence[Mapping[str, Any]]:
        """Answer all copies, or those of one VM."""
        records = self._transfers.records()
        if vm:
            uuid = (await self._reach.vm_on(vm)).uuid
            records = [record for record in records if record.request.vm_uuid == uuid]
        return [record.answer() for record in records]

    async def get_transfer(self, transfer_id: str) -> Mapping[str, Any]:
        """Answer where a copy stands."""
        return self._transfers.record(transfer_id).answer()

    async def cancel_transfer(self, transfer_id: str) -> bool:
        """End a copy; nothing of it remains. Answer whether it had not ended before."""
        return await self._transfers.cancel(transfer_id)

    async def _copy(self, vm: str, **wanted: Any) -> Sequence[Any]:
        found = await self._reach.vm_on(vm)
        guest = self._reach.agent_of(found)
        request = CopyRequest(
            vm_name=found.name,
            vm_uuid=found.uuid,
            guest=guest.id,
            protocol=guest.protocol,
            **wanted,
        )
        await self._transfers.copy(request)
        return ["", "", 0]
