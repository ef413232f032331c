"""How much output lies in the files of the daemon, and of each guest. No I/O."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Final

from vmcontroller.common.model import GuestId

WAITING_BYTES: Final = 4 * 2**20
"""So much of one guest may wait in memory for the disk; what comes beyond is asked for again."""


class SpoolLedger:
    """What is in files and what waits for them, by guest."""

    def __init__(self, limit_bytes: int) -> None:
        """`limit_bytes`: over all guests; one guest has at most half of it."""
        self._limit_bytes = limit_bytes
        self._kept: Counter[GuestId] = Counter()
        self._waiting: Counter[GuestId] = Counter()

    @property
    def kept_bytes(self) -> int:
        """How much there is in all files."""
        return self._kept.total()

    def found(self, guest: GuestId, size_bytes: int) -> None:
        """Count what a daemon before this one has kept."""
        self._kept[guest] += size_bytes

    def released(self, guest: GuestId, size_bytes: int) -> None:
        """Count what was removed, or granted and not written."""
        _take_off(self._kept, guest, size_bytes)

    def written(self, guest: GuestId, size_bytes: int) -> None:
        """Count what waits no more."""
        _take_off(self._waiting, guest, size_bytes)

    def room_of(self, guest: GuestId) -> GuestRoom:
        """Return the room that a guest has."""
        return GuestRoom(self, guest)

    def may_wait(self, guest: GuestId, size_bytes: int) -> bool:
        """Tell whether so much more may wait; if so, it counts."""
        if self._waiting[guest] and self._waiting[guest] + size_bytes > WAITING_BYTES:
            return False
        self._waiting[guest] += size_bytes
        return True

    def grant(self, guest: GuestId, size_bytes: int) -> tuple[int, str]:
        """Return how much may be kept, and what hinders if that is less; it counts."""
        free = self._limit_bytes - self.kept_bytes
        own = self._limit_bytes // 2 - self._kept[guest]
        granted = max(0, min(size_bytes, free, own))
        self._kept[guest] += granted
        if granted == size_bytes:
            return granted, ""
        self.written(guest, size_bytes - granted)
        whose = "the output of this guest takes half" if own < free else "all output takes all"
        return granted, f"{whose} of commands.spool_limit_mib ({self._limit_bytes >> 20} MiB)"


@dataclass(slots=True)
class GuestRoom:
    """The room of one guest, for one piece of output: an output.Room."""

    _ledger: SpoolLedger
    _guest: GuestId
    problem: str = ""

    def may_wait(self, size_bytes: int) -> bool:
        return self._ledger.may_wait(self._guest, size_bytes)

    def grant(self, size_bytes: int) -> int:
        granted, self.problem = self._ledger.grant(self._guest, size_bytes)
        return granted

    def give_back(self, size_bytes: int) -> None:
        self._ledger.released(self._guest, size_bytes)
        self._ledger.written(self._guest, size_bytes)


def _take_off(counter: Counter[GuestId], guest: GuestId, size_bytes: int) -> None:
    counter[guest] -= size_bytes
    if counter[guest] <= 0:
        del counter[guest]
