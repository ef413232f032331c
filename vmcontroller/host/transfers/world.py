"""What all copies of a daemon share: its clock, its threads, the ways to guests, its terms."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from twisted.internet.interfaces import IReactorTime

from vmcontroller.common.copying.course import Course, InThread, Link, Way
from vmcontroller.common.copying.landing import Terms
from vmcontroller.common.model import GuestId
from vmcontroller.common.words.ears import Word
from vmcontroller.host.transfers.ledger import Ledger
from vmcontroller.host.transfers.request import CopyRequest, Entry, Record
from vmcontroller.host.transfers.roots import RootsOf

TERMS: Final = Terms(keep_reserve=True, ahead_bytes=64 * 2**20, sparse_most_bytes=2**44)
"""A guest says how large its file is: it must not fill the host's disk, nor be a hole without
end (16 TiB are the most that a file of ext4 has)."""

FLOOR_BYTES: Final = 64 * 1024
"""Must come in each idle deadline's time: a guest must not hold a part of the host's disk for
longer than an honest guest on a poor line would."""

RESUMES_SINCE: Final = 3
"""The protocol of agents that go on with a broken copy, know holes, directories and owners."""

NOTED_BYTES: Final = 8 * 2**20
"""What is smaller is sooner sent again than noted on the disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What a copy needs of the daemon."""

    clock: IReactorTime
    wall_s: Callable[[], float]
    in_thread: InThread
    say: Callable[[GuestId, Word], None]
    writable: Callable[[GuestId], Awaitable[None]]
    """Returns when the first connection of this guest takes more."""
    bulk: Callable[[GuestId], Way] | None
    ask_for_hello: Callable[[GuestId], None]
    roots: RootsOf
    ledger: Ledger
    resume_grace_s: float
    idle_deadline_s: float = 60.0
    began: Callable[[str], None] = lambda _: None
    """Gets the id of each copy, in the context of whoever asks for it."""
    ended: Callable[[Record], None] = lambda _: None
    """Gets each copy that is over, or interrupted."""

    def course(self, transfer_id: str, guest: GuestId, *, begun: bool) -> Course:
        """Return the course of a copy for as long as one connection lasts."""
        return Course(
            transfer_id=transfer_id,
            link=Link(
                clock=self.clock,
                in_thread=self.in_thread,
                say=lambda word: self.say(guest, word),
                writable=lambda: self.writable(guest),
                bulk=self.bulk(guest) if self.bulk is not None else None,
            ),
            peer=f"the guest {guest}",
            idle_deadline_s=self.idle_deadline_s,
            begun=begun,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One copy, as it was asked for or found on the disk."""

    transfer_id: str
    request: CopyRequest
    world: World
    found: Entry | None = None
    """What an earlier daemon, or an earlier call, has left of it."""

    @property
    def resumes(self) -> bool:
        """Whether its guest can go on with it after a break."""
        return self.request.protocol >= RESUMES_SINCE


Note = Callable[[], Awaitable[None]]
"""Puts a copy, as it is now, on the disk."""
