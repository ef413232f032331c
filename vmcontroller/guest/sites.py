"""Where copies into this guest are made, and what of them is kept while the host is away."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vmcontroller.common.background import in_background
from vmcontroller.common.copying.course import Course, InThread, is_lost
from vmcontroller.common.copying.ends import Source
from vmcontroller.common.copying.outgoing import Outgoing
from vmcontroller.common.copying.site import Site, open_source
from vmcontroller.common.copying.source import place_at
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.words.files import FileFacts, FileGet, FilePut
from vmcontroller.guest.notes import KEPT_MOST, KEPT_S, Notes

FINISHED_MOST: Final = 64


class Sites:
    """The sites of transfers: those under way are with their transfer, the suspended are here."""

    _log = Logger()

    def __init__(
        self, *, clock: IReactorTime, in_thread: InThread, home: str | None, notes: Notes | None
    ) -> None:
        """`home` is where relative paths begin, if not in the home of the agent's user.

        `notes` are of what is kept on the disk.
        """
        self.home = home or _home()
        self._clock = clock
        self._in_thread = in_thread
        self._notes = notes
        self._kept: dict[str, tuple[Site, IDelayedCall]] = {}
        self._finished: deque[tuple[str, FileFacts, str]] = deque(maxlen=FINISHED_MOST)
        """What is in its place: the host may not have heard so."""

    async def source(
        self, course: Course, outgoing: Outgoing, word: FileGet, *, holes: bool
    ) -> tuple[Source, int]:
        """Open what is to be sent, and say from where on: what the host has, if that is right.

        `holes`: the host knows them. Raises TransferFailed.
        """

        def open_it() -> Source:
            path = word.path.rstrip("/") or word.path if word.tree else word.path
            place = place_at(path, home=self.home)
            return open_source(place, tree=word.tree, holes=holes, owner=word.owner)

        source = await course.uncut(open_it)
        try:
            if await outgoing.matches(source, word.have_bytes, word.have_sha256):
                return source, word.have_bytes
        except BaseException:
            await course.uncut(source.close)
            raise
        await course.uncut(source.close)
        return await course.uncut(open_it), 0

    async def open(self, course: Course, word: FilePut) -> Site:
        """Return where this is to be written: what is kept of it, if it is gone on with.

        Raises TransferFailed; then nothing is left.
        """
        site = self._take(word.transfer_id)
        if site is not None and not await course.uncut(_goes_on, site, word):
            await course.uncut(site.discard)
            site = None
        if site is not None:
            return site
        site = await course.uncut(self._make, word)
        try:
            while await course.uncut(site.recall):
                course.check()
        except BaseException as error:
            if self._notes is not None and is_lost(error):
                await course.uncut(site.leave)
            else:
                await course.uncut(self._remove, word.transfer_id, site)
            raise
        return site

    async def put_away(self, transfer_id: str, site: Site) -> None:
        """Take in the site of a transfer that has failed, or that only lost its peer."""
        if not site.has_landed:
            await self._in_thread(self._drop, transfer_id)
            return
        timer = self._clock.callLater(KEPT_S, self._expire, transfer_id)
        self._kept[transfer_id] = (site, timer)
        while len(self._kept) > KEPT_MOST:
            await self.forget(next(iter(self._kept)))

    async def finished(self, transfer_id: str, site: Site) -> None:
        """Take note of a transfer whose file is in its place."""
        if site.facts is not None:
            self._finished.append((transfer_id, site.facts, site.sha256))
        await self._in_thread(self._drop, transfer_id)

    async def forget(self, transfer_id: str) -> None:
        """Remove what is kept of a transfer, by this agent or by one before it."""
        site = self._take(transfer_id)
        if site is not None:
            try:
                await self._in_thread(self._remove, transfer_id, site)
            except TransferFailed as error:
                self._log.warn("{id}: {error}", id=transfer_id, error=str(error))
        elif self._notes is not None:
            await self._in_thread(self._notes.remove, transfer_id)

    async def leave(self) -> None:
        """Let go of all; the next agent finds what is on the disk."""
        while self._kept:
            transfer_id = next(iter(self._kept))
            site = self._take(transfer_id)
            assert site is not None
            if self._notes is None or (site.facts is not None and site.facts.tree):
                await self._in_thread(self._remove, transfer_id, site)
            else:
                await self._in_thread(site.leave)

    def _expire(self, transfer_id: str) -> Deferred[None]:
        return in_background(self.forget(transfer_id), "removing what is left of a copy")

    def _take(self, transfer_id: str) -> Site | None:
        site, timer = self._kept.pop(transfer_id, (None, None))
        if timer is not None and timer.active():
            timer.cancel()
        return site

    def _finished_as(self, word: FilePut) -> list[tuple[str, FileFacts, str]]:
        return [
            each
            for each in self._finished
            if word.resume and each[0] == word.transfer_id and word.facts.are_those_of(each[1])
        ]

    def _make(self, word: FilePut) -> Site:
        path = word.path.rstrip("/") or word.path if word.facts.tree else word.path
        place = place_at(path, home=self.home)
        site = Site(place, word.transfer_id)
        for _, facts, sha256 in self._finished_as(word):
            site.landed_before(facts, sha256)
            return site
        if self._notes is not None:
            self._notes.add(place, word.transfer_id)
        try:
            site.land(word.facts, find=word.resume)
        except BaseException:
            self._remove(word.transfer_id, site)
            raise
        return site

    def _remove(self, transfer_id: str, site: Site) -> None:
        try:
            site.discard()
        finally:
            self._drop(transfer_id)

    def _drop(self, transfer_id: str) -> None:
        if self._notes is not None:
            self._notes.drop(transfer_id)
            self._notes.expire()


def _goes_on(site: Site, word: FilePut) -> bool:
    """Tell whether what is kept is what the host goes on with, and is there still."""
    if not word.resume or not word.facts.are_those_of(site.facts):
        return False
    try:
        site.landing.resume()
    except TransferFailed:
        return False
    return True


def _home() -> str:
    try:
        home = Path.home()
        return str(home) if home.is_dir() else "/"
    except (RuntimeError, OSError):  # no HOME and an unknown user; or it may not be looked at
        return "/"
