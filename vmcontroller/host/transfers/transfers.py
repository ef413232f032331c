"""Files copied into and out of guests: the host's end of every transfer.

The guests are hostile: every word is checked against the transfer it names and the guest that
this transfer is with, and no guest ever chooses a path of the host.
"""

from __future__ import annotations

import posixpath
import uuid
from collections import deque
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from vmcontroller.common.background import in_background
from vmcontroller.common.copying.reasons import Reason, reported
from vmcontroller.common.errors import TransferFailed, Unsupported
from vmcontroller.common.model import GuestId
from vmcontroller.common.words.files import (
    FileCredit,
    FileData,
    FileDone,
    FileEnd,
    FileFacts,
    FileFailed,
    FileHole,
    FileReady,
)
from vmcontroller.host.transfers.past import Past
from vmcontroller.host.transfers.request import CopyRequest, Direction, Record, State
from vmcontroller.host.transfers.transfer import Transfer, tell_cancelled
from vmcontroller.host.transfers.world import RESUMES_SINCE, Copy, World

PATH_CHARS: Final = 4096
"""What a word may carry; also Linux' PATH_MAX."""

AT_ONCE: Final = 3
"""So many copies of one guest run; the others wait for their turn."""

_Answer = FileCredit | FileData | FileHole | FileDone | FileEnd | FileReady


class Transfers:
    """All copies between the host and its guests."""

    log = Logger()

    def __init__(self, world: World) -> None:
        self._world = world
        self._transfers: dict[str, Transfer] = {}
        self._past = Past(world)
        self._queues: dict[GuestId, deque[tuple[Transfer, Deferred[bool]]]] = {}
        self._running: dict[GuestId, int] = {}
        self._stopping = False
        self._idle: list[Deferred[None]] = []

    def open(self) -> None:
        """Find what an earlier daemon has left; blocks, at the daemon's start."""
        self._past.open()

    async def copy(self, request: CopyRequest) -> FileFacts:
        """Copy a file, or a directory; return its facts when it is whole and in place.

        A relative path of the host begins in the first root, one of the guest in the home of its
        agent's user. An empty path, one that ends in a slash and an existing directory get the
        copy under the base name of what is copied, as with cp. Raises TransferFailed with a
        published reason (DISK_FULL also when less than the reserve would stay free),
        AccessDenied for a path of the host outside the roots, DeadlinePassed when the guest stays
        silent, Unsupported for what its agent can't. Cancelling cancels it.
        """
        _check(request)
        if self._stopping:
            raise _stopping()
        found = self._past.take(request)
        copy = Copy(
            transfer_id=found.transfer_id if found is not None else uuid.uuid4().hex,
            request=request,
            world=self._world,
            found=found,
        )
        transfer = Transfer(copy)
        self._transfers[copy.transfer_id] = transfer

        def cancel(answer: Deferred[FileFacts]) -> None:
            answer.errback(CancelledError())
            cancelled = TransferFailed(Reason.CANCELLED, "whoever asked for it cancelled it")
            self._end(transfer, cancelled)

        # The caller waits for `answer` alone, so that cancelling it can't tear the work away
        # from a thread that still uses its files; after that nobody listens to the outcome.
        answer = Deferred[FileFacts](cancel)
        self._world.began(copy.transfer_id)
        _ = Deferred.fromCoroutine(self._to_its_end(transfer)).addCallbacks(
            lambda facts: None if answer.called else answer.callback(facts),
            lambda failure: None if answer.called else answer.errback(failure),
        )
        return await answer

    def records(self) -> list[Record]:
        """Return all copies, also those of the last hour that have ended; the oldest first."""
        records = [*self._past.records(), *(each.record() for each in self._transfers.values())]
        return sorted(records, key=lambda record: record.started_s)

    def record(self, transfer_id: str) -> Record:
        """Return one copy; raises NoSuchTransfer."""
        transfer = self._transfers.get(transfer_id)
        return transfer.record() if transfer is not None else self._past.record(transfer_id)

    async def cancel(self, transfer_id: str) -> bool:
        """End a copy, and remove what has come of it; return whether there was something to end.

        Raises NoSuchTransfer.
        """
        transfer = self._transfers.get(transfer_id)
        if transfer is not None:
            self._end(transfer, TransferFailed(Reason.CANCELLED, "it was cancelled"))
            return True
        record = self._past.record(transfer_id)
        if record.state is not State.INTERRUPTED:
            return False
        await self._past.cancel(transfer_id)
        tell_cancelled(Copy(transfer_id=transfer_id, request=record.request, world=self._world))
        return True

    def expire(self) -> None:
        """Forget what has ended long ago, and remove what nobody went on with."""
        _ = in_background(self._past.expire(), "removing what is left of old copies")

    def heard_file_ready(self, word: FileReady, sender: GuestId) -> None:
        transfer = self._of(word, sender)
        if transfer is not None and word.bulk:
            transfer.use_bulk()
        self._heard(word, sender)

    def heard_file_data(self, word: FileData, sender: GuestId) -> None:
        self._heard(word, sender)

    def heard_file_hole(self, word: FileHole, sender: GuestId) -> None:
        self._heard(word, sender)

    def heard_file_credit(self, word: FileCredit, sender: GuestId) -> None:
        self._heard(word, sender)

    def heard_file_end(self, word: FileEnd, sender: GuestId) -> None:
        self._heard(word, sender)

    def heard_file_done(self, word: FileDone, sender: GuestId) -> None:
        self._heard(word, sender)

    def heard_file_failed(self, word: FileFailed, sender: GuestId) -> None:
        """End the transfer that its guest gave up, or lost sight of."""
        transfer = self._of(word, sender)
        if transfer is not None:
            transfer.failed(reported(word.reason, word.detail))

    def guest_lost(self, guest: GuestId, reason: str) -> None:
        """Break that guest's transfers off, and tell it so if it can be told.

        It may well be there, and only unheard for a while. They wait for its HELLO.
        """
        for transfer in self._with(guest):
            transfer.lost(reason, peer_knows=False)

    def guest_there(self, guest: GuestId, *, anew: bool) -> None:
        """Go on with that guest's transfers: it has said HELLO, on a new connection if `anew`."""
        for transfer in self._with(guest):
            if anew:
                transfer.lost("the agent has connected anew", peer_knows=True)
            transfer.there()

    def broker_lost(self, reason: str) -> None:
        """Break all transfers off: words may be lost."""
        for transfer in tuple(self._transfers.values()):
            transfer.lost(reason, peer_knows=False)

    def vm_stopped(self, uuid: str, reason: str) -> None:
        """End the transfers with a VM that is off or removed."""
        for transfer in tuple(self._transfers.values()):
            if transfer.request.vm_uuid == uuid:
                self._end(transfer, TransferFailed(Reason.CONNECTION_LOST, reason))

    async def stop(self) -> None:
        """End all transfers and begin no more; return when nothing of them is open."""
        self._stopping = True
        for transfer in tuple(self._transfers.values()):
            self._end(transfer, _stopping())
        if self._transfers:
            idle = Deferred[None]()
            self._idle.append(idle)
            await idle

    async def _to_its_end(self, transfer: Transfer) -> FileFacts:
        guest = transfer.request.guest
        try:
            has_turn = await self._turn(transfer)
            try:
                return await transfer.run()
            finally:
                if has_turn:
                    self._next(guest)
        finally:
            del self._transfers[transfer.transfer_id]
            self._past.add(transfer.record(), transfer.entry())
            self._world.ended(transfer.record())
            if not self._transfers:
                idle, self._idle = self._idle, []
                for each in idle:
                    each.callback(None)

    async def _turn(self, transfer: Transfer) -> bool:
        """Wait until few enough of that guest's copies run; False for one that ended meanwhile."""
        guest = transfer.request.guest
        if self._running.get(guest, 0) >= AT_ONCE:
            turn = Deferred[bool]()
            self._queues.setdefault(guest, deque()).append((transfer, turn))
            return await turn
        self._running[guest] = self._running.get(guest, 0) + 1
        return True

    def _end(self, transfer: Transfer, error: Exception) -> None:
        transfer.end(error)
        for waiting, turn in tuple(self._queues.get(transfer.request.guest, ())):
            if waiting is transfer:
                self._queues[transfer.request.guest].remove((waiting, turn))
                turn.callback(False)

    def _next(self, guest: GuestId) -> None:
        queue = self._queues.get(guest)
        if queue:
            queue.popleft()[1].callback(True)
            return
        self._queues.pop(guest, None)
        self._running[guest] -= 1
        if not self._running[guest]:
            del self._running[guest]

    def _with(self, guest: GuestId) -> list[Transfer]:
        return [each for each in self._transfers.values() if each.request.guest == guest]

    def _of(self, word: _Answer | FileFailed, sender: GuestId) -> Transfer | None:
        transfer = self._transfers.get(word.transfer_id)
        if transfer is None or transfer.request.guest != sender:
            # Late words of a transfer that ended are usual; nothing else is worth an answer.
            self.log.debug("{sender} said {word} of no transfer", sender=sender, word=word.NAME)
            return None
        return transfer

    def _heard(self, word: _Answer, sender: GuestId) -> None:
        transfer = self._of(word, sender)
        if transfer is not None:
            transfer.heard(word)


def _check(request: CopyRequest) -> None:
    """Raise TransferFailed or Unsupported for what can't be asked of this guest."""
    remote = request.remote_path
    if len(remote) > PATH_CHARS:
        problem = f"longer than {PATH_CHARS} characters: {remote[:40]!r} ..."
        raise TransferFailed(Reason.NO_SUCH_FILE, problem)
    name = posixpath.basename(remote.rstrip("/") if request.recursive else remote)
    if request.direction is Direction.FROM_VM and name in {"", ".", ".."}:
        reason = Reason.IS_A_DIRECTORY if remote else Reason.NO_SUCH_FILE
        raise TransferFailed(reason, f"{remote!r} names no file of the guest")
    if request.recursive and request.protocol < RESUMES_SINCE:
        raise Unsupported(f"the agent of {request.vm_name!r}", "the option `recursive`: it is old")


def _stopping() -> TransferFailed:
    return TransferFailed(
        Reason.CONNECTION_LOST, "the host daemon is stopping; later the same call goes on with it"
    )
