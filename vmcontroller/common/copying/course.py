"""One transfer as one side lives through it: waiting, steps on the disk, and its one end.

Knows nothing of paths or of bytes. A step in a thread is never cut short, because it holds open
files; every other wait ends at once when the transfer does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Protocol, TypeVar, TypeVarTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads, IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from vmcontroller.common.copying.reasons import DETAIL_CHARS, Reason
from vmcontroller.common.errors import (
    AccessDenied,
    DeadlinePassed,
    NotConnected,
    TransferFailed,
    VMControllerError,
)
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.files import FileFailed

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

HASHED_BYTES_PER_S: Final = 32 * 2**20
"""What the slowest machine we wait for reads and hashes."""


class InThread(Protocol):
    """Runs a function that blocks, away from the reactor."""

    def __call__(self, work: Callable[[*Ts], T], /, *args: *Ts) -> Deferred[T]:
        """Return what `work` returns, or fail as it fails."""
        ...


def threads_of(reactor: IReactorThreads) -> InThread:
    """Return what runs work in the reactor's own pool of threads."""

    def in_thread(work: Callable[[*Ts], T], /, *args: *Ts) -> Deferred[T]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), work, *args)

    return in_thread


CHUNK_BYTES: Final = 128 * 1024
"""In one FILE_DATA on the connection of all words: an eighth of the largest frame, so that other
words get in between."""

BULK_CHUNK_BYTES: Final = 512 * 1024
"""In one FILE_DATA on a guest's second connection, where no other words wait behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way for the words that carry bytes: FILE_DATA, FILE_HOLE and FILE_END."""

    say: Callable[[Word], None]
    """Raises NotConnected when the peer can't be reached."""
    writable: Callable[[], Awaitable[None]]
    """Returns when what was said before has mostly left this process; raises NotConnected."""
    chunk_bytes: int = CHUNK_BYTES
    """The most that one FILE_DATA carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """What a transfer needs of the world: time, threads, and the ways to its peer."""

    clock: IReactorTime
    in_thread: InThread
    say: Callable[[Word], None]
    """Raises NotConnected when the peer can't be reached."""
    writable: Callable[[], Awaitable[None]]
    """Returns when what was said before has mostly left this process."""
    bulk: Way | None = None
    """A way of their own for bytes; it is taken when a side has said use_bulk."""


class Course:
    """The course of one transfer. Whoever ends it first decides what its error is."""

    def __init__(
        self, *, transfer_id: str, link: Link, peer: str, idle_deadline_s: float, begun: bool
    ) -> None:
        """`begun`: the peer knows of the transfer already, so it is told when it fails."""
        self.transfer_id = transfer_id
        self._link = link
        self._peer = peer
        self._idle_deadline_s = idle_deadline_s
        self.has_spoken = False
        """Whether the peer was told anything on this connection."""
        self._peer_cares = begun
        self._way = Way(say=link.say, writable=link.writable)
        self._error: Exception | None = None
        self._gate: Deferred[None] | None = None

    @property
    def ended(self) -> bool:
        return self._error is not None

    def end(self, error: Exception, *, peer_knows: bool = False) -> None:
        """End with this error as soon as the step at hand is over; only the first call counts."""
        if self._error is None:
            self._error = error
            if peer_knows:
                self._peer_cares = False
            self.wake()

    def break_off(self, problem: str) -> None:
        """End because the peer broke the rules."""
        self.end(TransferFailed(Reason.PROTOCOL, f"{self._peer} {problem}"))

    def wake(self) -> None:
        """Let whoever waits look again: something was heard."""
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.callback(None)

    def check(self) -> None:
        """Raise the error that ended the transfer, if there is one."""
        if self._error is not None:
            raise self._error

    def say(self, word: Word) -> None:
        """Say a word to the peer; TransferFailed CONNECTION_LOST when that can't be."""
        try:
            self._link.say(word)
        except NotConnected as error:
            raise TransferFailed(Reason.CONNECTION_LOST, str(error)) from error
        self._peer_cares = self.has_spoken = True

    def use_bulk(self) -> None:
        """Let bytes go their own way from now on, where there is one."""
        self._way = self._link.bulk or self._way

    @property
    def chunk_bytes(self) -> int:
        """The most that one FILE_DATA carries."""
        return self._way.chunk_bytes

    def say_bytes(self, word: Word) -> None:
        """Say FILE_DATA, FILE_HOLE or FILE_END; errors as say."""
        try:
            self._way.say(word)
        except NotConnected as error:
            raise TransferFailed(Reason.CONNECTION_LOST, str(error)) from error

    def say_failed(self, error: BaseException, *, detailed: bool) -> None:
        """Tell the peer that this side gave up, unless it knows, never heard of it, or is gone."""
        if not self._peer_cares:
            return
        reason, detail = as_reason(error)
        word = FileFailed(
            transfer_id=self.transfer_id,
            reason=reason,
            detail=detail[:DETAIL_CHARS] if detailed else "",
        )
        try:
            self._link.say(word)
        except NotConnected:
            return

    def uncut(self, work: Callable[[*Ts], T], /, *args: *Ts) -> Deferred[T]:
        """Do a step on the disk whose result must be taken even if the transfer has ended."""
        return self._link.in_thread(work, *args)

    async def step(self, work: Callable[[*Ts], T], /, *args: *Ts) -> T:
        """Do a step on the disk, then raise if the transfer ended meanwhile."""
        result = await self._link.in_thread(work, *args)
        self.check()
        return result

    async def news(self, *, waited_s: float = 0.0, patience_s: float = 0.0) -> float:
        """Wait until the peer has said something; return how long that took, in seconds.

        `waited_s` is what the peer has used up of the deadline already, with words that brought
        too little; `patience_s` is what it is given beside the deadline for work that takes long.
        DeadlinePassed when the deadline is over.
        """
        what = "said too little" if waited_s else "said nothing"
        deadline_s = self._idle_deadline_s + patience_s
        silence = DeadlinePassed(f"{self._peer} {what} about the file", deadline_s)
        began_s = self._link.clock.seconds()
        left_s = max(0.0, deadline_s - waited_s)
        overdue = self._link.clock.callLater(left_s, self.end, silence)
        try:
            await self._turn()
        finally:
            if overdue.active():
                overdue.cancel()
        return self._link.clock.seconds() - began_s

    async def room(self) -> None:
        """Wait until the way of bytes takes more; TransferFailed when it is gone."""
        outcome: list[object] = []

        def settled(result: object) -> None:
            outcome.append(result)
            self.wake()

        # Not cancelled when the transfer ends: others may wait for the same event.
        _ = Deferred.fromCoroutine(_awaited(self._way.writable())).addBoth(settled)
        while not outcome:
            await self._turn()
        self.check()
        if isinstance(outcome[0], Failure):
            error = outcome[0].value
            raise TransferFailed(Reason.CONNECTION_LOST, str(error)) from error

    async def _turn(self) -> None:
        self.check()
        self._gate = gate = Deferred[None]()
        await gate
        self.check()


def is_lost(error: BaseException) -> bool:
    """Tell whether the peer is only gone: the transfer may be taken up again."""
    if isinstance(error, TransferFailed):
        return error.reason == Reason.CONNECTION_LOST
    return isinstance(error, DeadlinePassed)


def hashing_s(size_bytes: int) -> float:
    """Return how long a slow machine may take to read and hash so much."""
    return size_bytes / HASHED_BYTES_PER_S


def as_reason(error: BaseException) -> tuple[str, str]:
    """Return the published reason and the detail that stand for an error."""
    if isinstance(error, TransferFailed):
        return error.reason, error.detail
    if isinstance(error, DeadlinePassed):
        return Reason.CONNECTION_LOST, str(error)
    if isinstance(error, AccessDenied):
        return Reason.PERMISSION_DENIED, str(error)
    return Reason.IO_ERROR, str(error) if isinstance(error, VMControllerError) else "a bug"


async def _awaited(event: Awaitable[None]) -> None:
    await event
