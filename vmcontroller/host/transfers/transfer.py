"""One copy from the first word to its end: over as many connections of its guest as that takes."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from twisted.logger import Logger

from vmcontroller.common.copying.course import Course, as_reason, is_lost
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.errors import NotConnected, TransferFailed
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.files import FileFacts, FileFailed
from vmcontroller.host.transfers.getting import Getting
from vmcontroller.host.transfers.meter import Meter, estimate_s
from vmcontroller.host.transfers.patience import Patience
from vmcontroller.host.transfers.putting import GuestGaveUp, Putting
from vmcontroller.host.transfers.request import Direction, Entry, Record, State
from vmcontroller.host.transfers.world import NOTED_BYTES, Copy


class Transfer:
    """A copy, and where it stands."""

    _log = Logger()

    def __init__(self, copy: Copy) -> None:
        self.transfer_id = copy.transfer_id
        self.request = copy.request
        self.state = State.QUEUED
        self._copy = copy
        self._world = copy.world
        to_vm = copy.request.direction is Direction.TO_VM
        self._work: Putting | Getting = (
            Putting(copy, self._note) if to_vm else Getting(copy, self._note)
        )
        found = copy.found
        self._started_s = found.started_s if found is not None else copy.world.wall_s()
        self._ended_s = 0.0
        self._error = ""
        self._resumed = found.resumed + 1 if found is not None else 0
        self._guest_keeps = found is not None
        """Whether the guest may have kept something of it."""
        self._noted = found is not None
        self._done_bytes = found.done_bytes if found is not None else 0
        """How far the last connection came."""
        self._meter = Meter()
        self._course: Course | None = None
        self._final: Exception | None = None
        """What ends it for good, whatever the guest does."""
        self._patience = Patience(
            clock=copy.world.clock,
            grace_s=copy.world.resume_grace_s,
            ask=lambda: copy.world.ask_for_hello(copy.request.guest),
        )

    # What others tell it.

    def heard(self, word: Word) -> None:
        """Take a word of the guest."""
        half, course = self._work.half, self._course
        if half is not None and course is not None and not course.ended:
            half.heard(word)
            self._meter.note(self._world.clock.seconds(), self.done_bytes)

    def use_bulk(self) -> None:
        """Let bytes go to the guest's connection for bulk."""
        if self._course is not None:
            self._course.use_bulk()

    def failed(self, error: TransferFailed) -> None:
        """Take the guest's FILE_FAILED."""
        if self._course is not None:
            self._course.end(GuestGaveUp(error.reason, error.detail), peer_knows=True)

    def lost(self, reason: str, *, peer_knows: bool) -> None:
        """The guest is gone for now; `peer_knows`: or has begun anew itself."""
        self._patience.away()
        if self._course is not None:
            lost = TransferFailed(Reason.CONNECTION_LOST, reason)
            self._course.end(lost, peer_knows=peer_knows)

    def there(self) -> None:
        """The guest has said HELLO: it goes on, if it waits."""
        self._patience.there()

    def end(self, error: Exception) -> None:
        """End it for good; the first error counts."""
        if self._final is None and not self.state.is_over:
            self._final = error
            if self._course is not None:
                self._course.end(error)
            self._patience.end(error)

    @property
    def done_bytes(self) -> int:
        """How far it has come."""
        return self._work.done_bytes or self._done_bytes

    def record(self) -> Record:
        """Tell what it is and where it stands."""
        facts = self._work.facts
        size_bytes = facts.size_bytes if facts is not None else -1
        rate = 0.0
        if self.state is State.RUNNING:
            rate = self._meter.rate(self._world.clock.seconds(), self.done_bytes)
        elif self.state is State.DONE and self._ended_s > self._started_s:
            rate = size_bytes / (self._ended_s - self._started_s)
        left_bytes = size_bytes - self.done_bytes if facts is not None else 1
        return Record(
            transfer_id=self.transfer_id,
            request=self.request,
            state=self.state,
            size_bytes=size_bytes,
            done_bytes=self.done_bytes,
            rate_bytes_per_s=rate,
            estimate_s=0.0 if self.state is State.DONE else estimate_s(left_bytes, rate),
            entries=self._work.entries,
            started_s=self._started_s,
            ended_s=self._ended_s,
            error=self._error,
            resumed=self._resumed,
        )

    def entry(self) -> Entry | None:
        """Return what is on the disk of it, if it was interrupted."""
        facts = self._work.facts
        if facts is None or not self._noted:
            return None
        return Entry(
            transfer_id=self.transfer_id,
            request=self.request,
            facts=facts,
            target=self._work.target,
            temporary=self._work.temporary,
            started_s=self._started_s,
            noted_s=self._world.wall_s(),
            done_bytes=self.done_bytes,
            resumed=self._resumed,
            error=self._error,
        )

    # What it does.

    async def run(self) -> FileFacts:
        """Copy; return when it is whole, verified and in place.

        Raises TransferFailed, AccessDenied, DeadlinePassed; then `state` says what is left of it.
        """
        try:
            facts = await self._all_legs()
        except BaseException as error:
            await self._give_up(error)
            raise
        self.state = State.DONE
        self._ended_s = self._world.wall_s()
        self._done_bytes = facts.size_bytes
        await self._forget_note()
        return facts

    async def _all_legs(self) -> FileFacts:
        again = self._copy.found is not None
        refusal: GuestGaveUp | None = None
        while True:
            try:
                return await self._one_leg(again=again)
            except Exception as error:
                if self._final is not None:
                    raise self._final from error
                if isinstance(error, GuestGaveUp) and refusal is None:
                    if self._work.refused(error.reason):
                        refusal = error
                        continue
                elif isinstance(error, GuestGaveUp) and error.reason == Reason.NO_SUCH_FILE:
                    raise refusal or error from error
                if not (is_lost(error) and self._copy.resumes):
                    raise
                await self._wait(error)
                again = True
                self._resumed += 1

    async def _one_leg(self, *, again: bool) -> FileFacts:
        if self._final is not None:
            raise self._final
        self.state = State.RUNNING
        self._patience.begins()
        course = self._course = self._world.course(
            self.transfer_id, self.request.guest, begun=False
        )
        try:
            facts = await self._work.leg(course, again=again)
        except Exception as error:
            # Without detail: a guest has no business with the host's paths.
            course.say_failed(error, detailed=False)
            raise
        finally:
            self._guest_keeps = self._guest_keeps and not course.has_spoken
            self._done_bytes = self.done_bytes
            self._work.half = self._course = None
            self._meter.rest()
        return facts

    async def _wait(self, error: Exception) -> None:
        """Wait until the guest is there again; raises what ended the last connection if not."""
        self.state = State.WAITING
        self._guest_keeps = True
        self._log.info(
            "{id} waits for {guest}: {why}",
            id=self.transfer_id,
            guest=self.request.guest,
            why=": ".join(as_reason(error)),
        )
        if self._noted:
            await self._write_note()
        if self._final is not None:
            raise self._final
        await self._patience.wait(error, self._done_bytes)

    async def _give_up(self, error: BaseException) -> None:
        self._error = str(error) or type(error).__name__
        self._ended_s = self._world.wall_s()
        keeps = self._noted and is_lost(error) and not (self._work.facts or _NO_FACTS).tree
        if keeps:
            await self._work.suspend()
            await self._write_note()
            self.state = State.INTERRUPTED
            return
        await self._work.discard()
        if self._copy.found is not None:  # it may never have come to where that lies
            await self._world.in_thread(self._world.ledger.clear, self._copy.found)
        await self._forget_note()
        cancelled = isinstance(error, TransferFailed) and error.reason == Reason.CANCELLED
        self.state = State.CANCELLED if cancelled else State.FAILED
        if self._guest_keeps or is_lost(error):
            tell_cancelled(self._copy)

    async def _note(self) -> None:
        """Note it when its facts are known, for the daemon after this one."""
        facts = self._work.facts
        worth = facts is not None and facts.size_bytes >= NOTED_BYTES and not facts.tree
        if worth and self._copy.resumes and not self._noted:
            self._noted = True
            await self._write_note()

    async def _write_note(self) -> None:
        entry = self.entry()
        if entry is not None:
            await self._world.in_thread(self._world.ledger.write, entry)

    async def _forget_note(self) -> None:
        if self._noted:
            self._noted = False
            await self._world.in_thread(self._world.ledger.drop, self.transfer_id)


_NO_FACTS: Final = FileFacts(size_bytes=0, mode=0, mtime_ns=0)


def tell_cancelled(copy: Copy) -> None:
    """Let a guest remove what it has kept of a copy, if it keeps any, and can be told."""
    if not copy.resumes:
        return
    word = FileFailed(transfer_id=copy.transfer_id, reason=Reason.CANCELLED, detail="")
    with suppress(NotConnected):
        copy.world.say(copy.request.guest, word)
