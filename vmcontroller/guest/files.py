"""Files copied into and out of this guest: what the agent does with the host's FILE_ words."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Final, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads, IReactorTime
from twisted.logger import Logger

from vmcontroller.common.copying.course import (
    BULK_CHUNK_BYTES,
    Course,
    InThread,
    Link,
    Way,
    as_reason,
    threads_of,
)
from vmcontroller.common.copying.incoming import Incoming
from vmcontroller.common.copying.outgoing import Outgoing
from vmcontroller.common.copying.reasons import Reason, reported
from vmcontroller.common.errors import NotConnected, TransferFailed, VMControllerError
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.files import (
    FileCredit,
    FileData,
    FileDone,
    FileEnd,
    FileFailed,
    FileGet,
    FileHole,
    FilePut,
    FileReady,
)
from vmcontroller.guest.bulk import Bulk, Line
from vmcontroller.guest.notes import TRANSFER_ID, Notes
from vmcontroller.guest.sites import Sites

RESUMES_SINCE: Final = 3
"""The protocol of hosts that go on with a broken copy, and know holes."""

_HeardOnce = FileCredit | FileData | FileHole | FileDone | FileEnd | FileReady


@dataclass(frozen=True, slots=True, kw_only=True)
class _Transfer:
    course: Course
    line: Line
    half: Incoming | Outgoing
    over: Deferred[None]
    """Fires when nothing of the transfer is left to do."""


class GuestFiles:
    """The guest's end of every transfer; the host begins them and gives them their ids."""

    log = Logger()

    def __init__(
        self,
        *,
        reactor: IReactorTime,
        say: Callable[[Word], None],
        writable: Callable[[], Awaitable[None]],
        in_thread: InThread | None = None,
        home: str | None = None,
        notes: Notes | None = None,
        bulk: Bulk | None = None,
        idle_deadline_s: float = 300.0,
    ) -> None:
        """`in_thread` is the reactor's own pool of threads, unless given.

        `home` is where relative paths begin: the agent's home directory, or `/`. `notes`, if
        given, are kept of temporary files for the agent's next start; `bulk` is the second
        connection, if there may be one. A transfer of which the host says nothing for
        `idle_deadline_s` while this side waits is given up.
        """
        self._clock = reactor
        self._in_thread = in_thread or threads_of(cast(IReactorThreads, reactor))
        self._first = Way(say=say, writable=writable)
        self._bulk = bulk or Bulk(clock=reactor, first=self._first, build=lambda _outcome: None)
        self._sites = Sites(clock=reactor, in_thread=self._in_thread, home=home, notes=notes)
        self._protocol = 1
        self._idle_deadline_s = idle_deadline_s
        self._transfers: dict[str, _Transfer] = {}
        self._past: deque[str] = deque(maxlen=64)

    def heard_file_put(self, word: FilePut) -> None:
        """Receive a file."""
        course, line = self._course(word.transfer_id)
        incoming = Incoming(course, facts=word.facts, resumed=word.resume)
        self._begin(
            course,
            line,
            incoming,
            lambda: self._receive(course, incoming, word),
            again=word.resume,
        )

    def heard_file_get(self, word: FileGet) -> None:
        """Send a file."""
        course, line = self._course(word.transfer_id)
        outgoing = Outgoing(course, credit_bytes=word.credit_bytes)
        # The host asks anew only for what it knows to have broken off.
        self._begin(course, line, outgoing, lambda: self._send(course, outgoing, word), again=True)

    def heard_file_ready(self, word: FileReady) -> None:
        self._heard(word)

    def heard_file_data(self, word: FileData) -> None:
        self._heard(word)

    def heard_file_hole(self, word: FileHole) -> None:
        self._heard(word)

    def heard_file_credit(self, word: FileCredit) -> None:
        self._heard(word)

    def heard_file_end(self, word: FileEnd) -> None:
        self._heard(word)

    def heard_file_done(self, word: FileDone) -> None:
        self._heard(word)

    def heard_file_failed(self, word: FileFailed) -> None:
        """End the transfer that the host gave up, or lost sight of."""
        why = reported(word.reason, word.detail)
        transfer = self._transfers.get(word.transfer_id)
        if transfer is not None:
            transfer.course.end(why, peer_knows=True)
        elif why.reason != Reason.CONNECTION_LOST and TRANSFER_ID.fullmatch(word.transfer_id):
            _ = Deferred.fromCoroutine(self._sites.forget(word.transfer_id))

    def connection_lost(self, reason: str) -> None:
        """End every transfer for now; what has come is kept for the host to go on with."""
        for transfer in tuple(self._transfers.values()):
            lost = TransferFailed(Reason.CONNECTION_LOST, reason)
            transfer.course.end(lost, peer_knows=True)
        self._bulk.first_lost(reason)

    def host_speaks(self, protocol: int) -> None:
        """Note that the host has answered HELLO, and which version both speak."""
        self._protocol = protocol
        self._bulk.host_speaks(protocol)

    async def stop(self) -> None:
        """End every transfer, tell the host, and return when nothing of them is open."""
        reason = Reason.CONNECTION_LOST if self._resumes else Reason.CANCELLED
        running = tuple(self._transfers.values())
        for transfer in running:
            transfer.course.end(TransferFailed(reason, "the agent is stopping"))
        for transfer in running:
            await transfer.over
        await self._sites.leave()

    @property
    def _resumes(self) -> bool:
        return self._protocol >= RESUMES_SINCE

    def _course(self, transfer_id: str) -> tuple[Course, Line]:
        line = self._bulk.line()
        link = Link(
            clock=self._clock,
            in_thread=self._in_thread,
            say=line.say,
            writable=self._first.writable,
            bulk=Way(say=line.say, writable=line.writable, chunk_bytes=BULK_CHUNK_BYTES),
        )
        course = Course(
            transfer_id=transfer_id,
            link=link,
            peer="the host",
            idle_deadline_s=self._idle_deadline_s,
            begun=True,
        )
        return course, line

    def _begin(
        self,
        course: Course,
        line: Line,
        half: Incoming | Outgoing,
        work: Callable[[], Coroutine[Deferred[None], object, None]],
        *,
        again: bool,
    ) -> None:
        """`again`: the host may have lost sight of this transfer, and begin it once more."""
        transfer_id = course.transfer_id
        before = self._transfers.get(transfer_id)
        if before is not None and not again:
            self.log.info("a transfer was begun twice: {id}", id=transfer_id)
            return
        if not TRANSFER_ID.fullmatch(transfer_id):
            course.say_failed(TransferFailed(Reason.PROTOCOL, "not a transfer's id"), detailed=True)
            return
        transfer = _Transfer(course=course, line=line, half=half, over=Deferred())
        self._transfers[transfer_id] = transfer
        if before is not None:
            lost = TransferFailed(Reason.CONNECTION_LOST, "the host has begun it anew")
            before.course.end(lost, peer_knows=True)
        _ = Deferred.fromCoroutine(self._carry_out(transfer, work, before))

    async def _carry_out(
        self,
        transfer: _Transfer,
        work: Callable[[], Coroutine[Deferred[None], object, None]],
        before: _Transfer | None,
    ) -> None:
        course = transfer.course

        def lost(reason: str) -> None:
            why = f"the second connection is lost: {reason}"
            course.end(TransferFailed(Reason.CONNECTION_LOST, why))

        try:
            if before is not None:
                await before.over
            if await transfer.line.open(lost):
                course.use_bulk()
            await work()
        except Exception as error:  # noqa: BLE001 - one transfer must not take the agent down
            self.log.info("{id}: {why}", id=course.transfer_id, why=": ".join(as_reason(error)))
            if not isinstance(error, VMControllerError):
                self.log.failure("a transfer failed for no known reason")
            course.say_failed(error, detailed=True)
        finally:
            if self._transfers.get(course.transfer_id) is transfer:
                del self._transfers[course.transfer_id]
                self._past.append(course.transfer_id)
            transfer.line.close()
            transfer.over.callback(None)

    async def _receive(self, course: Course, incoming: Incoming, word: FilePut) -> None:
        site = await self._sites.open(course, word)
        try:
            await incoming.receive(site, say_ready=True, keeps=self._resumes)
        except BaseException:
            await self._sites.put_away(word.transfer_id, site)
            raise
        await self._sites.finished(word.transfer_id, site)
        course.say(FileDone(transfer_id=course.transfer_id))

    async def _send(self, course: Course, outgoing: Outgoing, word: FileGet) -> None:
        source, have_bytes = await self._sites.source(course, outgoing, word, holes=self._resumes)
        try:
            course.check()
            outgoing.go_on(have_bytes, instead_of=word.have_bytes)
            course.say(
                FileReady(
                    transfer_id=course.transfer_id,
                    facts=source.facts,
                    have_bytes=have_bytes,
                    have_sha256=word.have_sha256 if have_bytes else "",
                )
            )
            await outgoing.send(source)
        finally:
            await course.uncut(source.close)

    def _heard(self, word: _HeardOnce) -> None:
        transfer = self._transfers.get(word.transfer_id)
        if transfer is None:
            self._disown(word.transfer_id)
        elif not transfer.course.ended:
            transfer.half.heard(word)

    def _disown(self, transfer_id: str) -> None:
        # Words of a transfer that ended here are still under way; a restarted agent, though,
        # must say at once that it knows nothing, or the host would wait for its deadline.
        if transfer_id in self._past:
            return
        self._past.append(transfer_id)
        unknown = FileFailed(
            transfer_id=transfer_id,
            reason=Reason.CONNECTION_LOST,
            detail="this agent knows no such transfer; it was restarted meanwhile",
        )
        try:
            self._first.say(unknown)
        except NotConnected:
            return
