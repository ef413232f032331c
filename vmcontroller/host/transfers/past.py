"""Copies that are over: what is told of them for an hour, and what is kept of them for a day."""

from __future__ import annotations

from typing import Final

from vmcontroller.common.errors import NoSuchTransfer
from vmcontroller.host.transfers.request import CopyRequest, Entry, Record, State
from vmcontroller.host.transfers.world import RESUMES_SINCE, World

TOLD_S: Final = 3600.0
TOLD_MOST: Final = 1000
"""Of those that ended, the latest are told of."""

KEPT_S: Final = 86_400.0
KEPT_MOST: Final = 16
"""So many interrupted copies of one guest are kept; the oldest go first."""


class Past:
    """The copies that have ended or were interrupted, by id; the oldest first."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._records: dict[str, Record] = {}
        self._entries: dict[str, Entry] = {}
        self._clearing: list[Entry] = []

    def open(self) -> None:
        """Read what an earlier daemon has noted. Blocks."""
        for entry in self._world.ledger.read():
            self.add(entry.record(), entry)

    def add(self, record: Record, entry: Entry | None) -> None:
        """Take in a copy that is over; `entry` is what of it is on the disk, if it is kept."""
        self._records[record.transfer_id] = record
        if record.state is State.INTERRUPTED and entry is not None:
            self._entries[record.transfer_id] = entry
            guest = entry.request.guest
            same = [each for each in self._entries.values() if each.request.guest == guest]
            for surplus in same[:-KEPT_MOST]:
                self._clear_later(surplus.transfer_id)
        told = [each for each in self._records if each not in self._entries]
        for transfer_id in told[:-TOLD_MOST]:
            del self._records[transfer_id]

    def take(self, request: CopyRequest) -> Entry | None:
        """Return what is kept of the same copy, which is gone on with now."""
        if request.protocol < RESUMES_SINCE:
            return None
        for entry in reversed(self._entries.values()):
            if entry.request.key == request.key and entry.request.guest == request.guest:
                del self._entries[entry.transfer_id], self._records[entry.transfer_id]
                return entry
        return None

    def records(self) -> list[Record]:
        return list(self._records.values())

    def record(self, transfer_id: str) -> Record:
        """Return one; raises NoSuchTransfer."""
        record = self._records.get(transfer_id)
        if record is None:
            raise NoSuchTransfer(transfer_id)
        return record

    async def cancel(self, transfer_id: str) -> None:
        """Remove what is kept of one."""
        self._clear_later(transfer_id)
        await self._clear()

    async def expire(self) -> None:
        """Forget what is too old."""
        now_s = self._world.wall_s()
        for transfer_id, record in tuple(self._records.items()):
            if transfer_id in self._entries:
                if now_s - record.ended_s > KEPT_S:
                    self._clear_later(transfer_id)
            elif now_s - record.ended_s > TOLD_S:
                del self._records[transfer_id]
        await self._clear()

    def _clear_later(self, transfer_id: str) -> None:
        self._clearing.append(self._entries.pop(transfer_id))
        del self._records[transfer_id]

    async def _clear(self) -> None:
        while self._clearing:
            await self._world.in_thread(self._world.ledger.clear, self._clearing.pop())
