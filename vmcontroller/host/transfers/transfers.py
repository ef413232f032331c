"""Files copied into and out of guests: the host's end of every transfer.

The guests are hostile: every word is checked against the transfer it names and the guest that
this transfer is with, and no guest ever chooses a path of the host.
"""

from __future__ import annotations

import posixpath
import uuid
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmcontroller.common.copying.course import Course, InThread, Link, Way
from vmcontroller.common.copying.incoming import WINDOW_BYTES, Incoming
from vmcontroller.common.copying.landing import KEPT_MODE, Terms
from vmcontroller.common.copying.outgoing import Outgoing
from vmcontroller.common.copying.reasons import Reason, reported
from vmcontroller.common.copying.source import SourceFile
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.model import GuestId
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.files import (
    FileCredit,
    FileData,
    FileDone,
    FileEnd,
    FileFacts,
    FileFailed,
    FileGet,
    FilePut,
    FileReady,
)
from vmcontroller.host.transfers.roots import AllowedRoots

PATH_CHARS: Final = 4096
"""What a word may carry; also Linux' PATH_MAX."""

TERMS: Final = Terms(keep_reserve=True, ahead_bytes=64 * 2**20, floor_bytes=64 * 1024)
"""A guest says how large its file is and how fast it comes: it must neither fill the host's
disk, nor hold a part of it for longer than an honest guest on a poor line would."""

_Answer = FileCredit | FileData | FileDone | FileEnd | FileReady


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transfer:
    guest: GuestId
    course: Course
    half: Incoming | Outgoing
    over: Deferred[None]
    """Fires when nothing of the transfer is left to do."""


class _GuestGaveUp(TransferFailed):
    """The guest's own FILE_FAILED."""


class Transfers:
    """All copies under way between the host and its guests."""

    log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        in_thread: InThread,
        say: Callable[[GuestId, Word], None],
        writable: Callable[[], Awaitable[None]],
        roots: AllowedRoots,
        bulk: Callable[[GuestId], Way] | None = None,
        idle_deadline_s: float = 60.0,
    ) -> None:
        """`say` raises NotConnected when it can't; `in_thread`: copying.course.threads_of.

        `bulk` is the way to a guest's connection for bulk, which its FILE_READY says is there.
        """
        self._clock = clock
        self._in_thread = in_thread
        self._say = say
        self._writable = writable
        self._roots = roots
        self._bulk = bulk
        self._idle_deadline_s = idle_deadline_s
        self._transfers: dict[str, _Transfer] = {}
        self._stopping = False

    async def put(self, guest: GuestId, local_path: str, remote_path: str) -> FileFacts:
        """Copy a file of the host into the guest; return when it is verified and in place there.

        A relative `remote_path` begins in the agent's home. An empty one, one that ends in a
        slash and an existing directory get the file under its own base name, as with cp.
        Raises TransferFailed with a published reason, AccessDenied for a path of the host
        outside the roots, DeadlinePassed when the guest falls silent. Cancelling cancels it.
        """
        name = posixpath.basename(local_path)
        target = posixpath.join(remote_path, name) if remote_path[-1:] in {"", "/"} else remote_path
        try:
            return await self._put(guest, local_path, target)
        except _GuestGaveUp as refusal:
            if refusal.reason != Reason.IS_A_DIRECTORY or target != remote_path:
                raise
        return await self._put(guest, local_path, posixpath.join(remote_path, name))

    async def get(self, guest: GuestId, remote_path: str, local_path: str) -> FileFacts:
        """Copy a file of the guest to the host; return when it is verified and in place here.

        A relative `local_path` begins in the first root; an empty one, one that ends in a slash
        and an existing directory get the file under the base name of `remote_path`. Errors as
        put; DISK_FULL also when less than 5 % of the disk (at most 256 MiB) would stay free, and
        DeadlinePassed also when a guest sends less than 64 KiB in all of the idle deadline.
        The facts are those of the copy.
        """
        name = posixpath.basename(remote_path)
        if name in {"", ".", ".."}:
            reason = Reason.IS_A_DIRECTORY if remote_path else Reason.NO_SUCH_FILE
            raise TransferFailed(reason, f"{remote_path!r} names no file of the guest")
        _check_length(remote_path)
        course = self._course(guest)
        incoming = Incoming(course, terms=TERMS)

        async def receive() -> FileFacts:
            place = await course.uncut(self._roots.writable, local_path, name)
            try:
                course.check()
                course.say(
                    FileGet(
                        transfer_id=course.transfer_id, path=remote_path, credit_bytes=WINDOW_BYTES
                    )
                )
                facts = await incoming.ready()
                await incoming.receive(place, facts, say_ready=False)
            finally:
                place.close()
            with suppress(TransferFailed):  # the file is in place, whatever became of the guest
                course.say(FileDone(transfer_id=course.transfer_id))
            return replace(facts, mode=facts.mode & KEPT_MODE)

        return await self._carried_out(guest, course, incoming, receive)

    def heard_file_ready(self, word: FileReady, sender: GuestId) -> None:
        transfer = self._of(word, sender)
        if transfer is not None and word.bulk:
            transfer.course.use_bulk()
        self._heard(word, sender)

    def heard_file_data(self, word: FileData, sender: GuestId) -> None:
        self._heard(word, sender)

    def heard_file_credit(self, word: FileCredit, sender: GuestId) -> None:
        self._heard(word, sender)

    def heard_file_end(self, word: FileEnd, sender: GuestId) -> None:
        self._heard(word, sender)

    def heard_file_done(self, word: FileDone, sender: GuestId) -> None:
        self._heard(word, sender)

    def heard_file_failed(self, word: FileFailed, sender: GuestId) -> None:
        """End the transfer that its guest gave up."""
        transfer = self._of(word, sender)
        if transfer is not None:
            said = reported(word.reason, word.detail)
            transfer.course.end(_GuestGaveUp(said.reason, said.detail), peer_knows=True)

    def guest_lost(self, guest: GuestId, reason: str) -> None:
        """End that guest's transfers with CONNECTION_LOST, and tell it so if it can be told.

        It may well be there: only unheard for a while, or introducing itself again.
        """
        for transfer in tuple(self._transfers.values()):
            if transfer.guest == guest:
                transfer.course.end(TransferFailed(Reason.CONNECTION_LOST, reason))

    async def stop(self) -> None:
        """End all transfers and begin no more; return when nothing of them is left."""
        self._stopping = True
        running = tuple(self._transfers.values())
        for transfer in running:
            transfer.course.end(_stopping())
        for transfer in running:
            await transfer.over

    async def _put(self, guest: GuestId, local_path: str, remote_path: str) -> FileFacts:
        _check_length(remote_path)
        course = self._course(guest)
        outgoing = Outgoing(course)

        async def send() -> FileFacts:
            source = await course.uncut(self._open, local_path)
            try:
                course.check()
                course.say(
                    FilePut(transfer_id=course.transfer_id, path=remote_path, facts=source.facts)
                )
                await outgoing.ready()
                await outgoing.send(source)
            finally:
                await course.uncut(source.close)
            return source.facts

        return await self._carried_out(guest, course, outgoing, send)

    def _course(self, guest: GuestId) -> Course:
        return Course(
            transfer_id=uuid.uuid4().hex,
            link=Link(
                clock=self._clock,
                in_thread=self._in_thread,
                say=lambda word: self._say(guest, word),
                writable=self._writable,
                bulk=self._bulk(guest) if self._bulk is not None else None,
            ),
            peer=f"the guest {guest}",
            idle_deadline_s=self._idle_deadline_s,
            begun=False,
        )

    async def _carried_out(
        self,
        guest: GuestId,
        course: Course,
        half: Incoming | Outgoing,
        work: Callable[[], Coroutine[Deferred[FileFacts], object, FileFacts]],
    ) -> FileFacts:
        if self._stopping:
            raise _stopping()
        transfer = _Transfer(guest=guest, course=course, half=half, over=Deferred())
        self._transfers[course.transfer_id] = transfer

        def cancel(answer: Deferred[FileFacts]) -> None:
            answer.errback(CancelledError())
            course.end(TransferFailed(Reason.CANCELLED, "whoever asked for the copy cancelled it"))

        # The caller waits for `answer` alone, so that cancelling it can't tear the work away
        # from a thread that still uses its files; after that nobody listens to the outcome.
        answer = Deferred[FileFacts](cancel)
        _ = Deferred.fromCoroutine(self._to_its_end(transfer, work)).addCallbacks(
            lambda facts: None if answer.called else answer.callback(facts),
            lambda failure: None if answer.called else answer.errback(failure),
        )
        return await answer

    async def _to_its_end(
        self,
        transfer: _Transfer,
        work: Callable[[], Coroutine[Deferred[FileFacts], object, FileFacts]],
    ) -> FileFacts:
        course = transfer.course
        try:
            return await work()
        except Exception as error:
            # Without detail: a guest has no business with the host's paths.
            course.say_failed(error, detailed=False)
            raise
        finally:
            del self._transfers[course.transfer_id]
            transfer.over.callback(None)

    def _open(self, path: str) -> SourceFile:
        return SourceFile.open(self._roots.readable(path))

    def _of(self, word: _Answer | FileFailed, sender: GuestId) -> _Transfer | None:
        transfer = self._transfers.get(word.transfer_id)
        if transfer is None or transfer.guest != sender:
            # Late words of a transfer that ended are usual; nothing else is worth an answer.
            self.log.debug("{sender} said {word} of no transfer", sender=sender, word=word.NAME)
            return None
        return transfer

    def _heard(self, word: _Answer, sender: GuestId) -> None:
        transfer = self._of(word, sender)
        if transfer is not None and not transfer.course.ended:
            transfer.half.heard(word)


def _check_length(remote_path: str) -> None:
    if len(remote_path) > PATH_CHARS:
        problem = f"longer than {PATH_CHARS} characters: {remote_path[:40]!r} ..."
        raise TransferFailed(Reason.NO_SUCH_FILE, problem)


def _stopping() -> TransferFailed:
    return TransferFailed(Reason.CANCELLED, "the host daemon is stopping")
