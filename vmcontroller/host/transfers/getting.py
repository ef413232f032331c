"""A copy from a guest: what is done each time its guest is there, and what outlives that."""

from __future__ import annotations

import posixpath
from contextlib import suppress
from dataclasses import replace

from vmcontroller.common.copying.course import Course, hashing_s, is_lost
from vmcontroller.common.copying.incoming import WINDOW_BYTES, Incoming
from vmcontroller.common.copying.landing import KEPT_MODE
from vmcontroller.common.copying.leftovers import temporary_path
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.site import Site
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.words.files import FileDone, FileFacts, FileGet
from vmcontroller.host.transfers.world import FLOOR_BYTES, TERMS, Copy, Note


class Getting:
    """Receives a file of a guest, or a directory, below the host's roots."""

    def __init__(self, copy: Copy, note: Note) -> None:
        """`note` is called when the facts are known."""
        self.half: Incoming | None = None
        """What hears the guest's words now."""
        self.facts: FileFacts | None = copy.found.facts if copy.found is not None else None
        self.target = copy.request.remote_path
        self.temporary = ""
        self._copy = copy
        self._note = note
        self._request = copy.request
        self._name = posixpath.basename(copy.request.remote_path.rstrip("/"))
        self._site: Site | None = None

    @property
    def entries(self) -> int:
        """Of a directory, how much has been begun."""
        return self._site.entries if self._site is not None else 0

    @property
    def done_bytes(self) -> int:
        """How far this connection has come."""
        return self.half.heard_bytes if self.half is not None else 0

    async def leg(self, course: Course, *, again: bool) -> FileFacts:
        """Receive as long as the connection lasts; return when it is whole and in place.

        Raises TransferFailed, AccessDenied or DeadlinePassed.
        """
        site = await self._prepare(course)
        have_bytes = site.landing.written_bytes if site.has_landed else 0
        half = self.half = Incoming(
            course, floor_bytes=FLOOR_BYTES, resumed=again, have_bytes=have_bytes
        )
        try:
            course.check()
            course.say(
                FileGet(
                    transfer_id=course.transfer_id,
                    path=self._request.remote_path,
                    credit_bytes=have_bytes + WINDOW_BYTES,
                    tree=self._request.recursive,
                    owner=self._request.owner,
                    have_bytes=have_bytes,
                    have_sha256=site.landing.prefix() if have_bytes else "",
                )
            )
            facts = self._believed(await half.ready(patience_s=hashing_s(have_bytes)))
            await self._land(course, site, facts, goes_on=half.goes_on)
        except BaseException as error:
            if is_lost(error) and site.has_landed:
                await course.uncut(site.suspend)
            else:
                await self.discard()
            raise
        await half.receive(site, say_ready=False, keeps=self._copy.resumes)
        with suppress(TransferFailed):  # it is in place, whatever became of the guest
            course.say(FileDone(transfer_id=course.transfer_id))
        return replace(facts, mode=facts.mode & KEPT_MODE)

    async def suspend(self) -> None:
        """Leave to a later call what has come of a file."""
        site, self._site = self._site, None
        if site is not None:
            await self._copy.world.in_thread(site.leave)

    async def discard(self) -> None:
        """Remove what has come."""
        site, self._site = self._site, None
        if site is not None:
            await self._copy.world.in_thread(site.discard)

    def refused(self, _reason: str) -> bool:
        """Tell that there is one name only."""
        return False

    async def _prepare(self, course: Course) -> Site:
        """Find the place, and what an earlier daemon left there; raises TransferFailed."""
        site = self._site
        if site is None or site.is_gone:
            roots = self._copy.world.roots(self._request.roles)
            place = await course.uncut(roots.writable, self._request.local_path, self._name)
            site = self._site = Site(place, course.transfer_id, TERMS)
            self.temporary = temporary_path(place, course.transfer_id)
        if self._copy.found is not None and self.facts is not None and not site.has_landed:
            await course.uncut(_find, site, self.facts)
        if site.has_landed:
            while await course.step(site.recall):
                pass
            await course.uncut(site.landing.resume)
        return site

    async def _land(self, course: Course, site: Site, facts: FileFacts, *, goes_on: bool) -> None:
        """Make the place ready for these facts."""
        if site.has_landed and not facts.are_those_of(site.facts):
            # It is another file by now. It may begin as the other did: then that is kept.
            if goes_on:
                await course.uncut(site.adopt, facts)
            else:
                await course.uncut(site.drop)
        if not site.has_landed:
            await course.uncut(site.land, facts)
        self.facts = facts
        await self._note()
        course.check()

    def _believed(self, facts: FileFacts) -> FileFacts:
        if facts.tree and not self._request.recursive:
            raise TransferFailed(Reason.PROTOCOL, "the guest sends a directory instead of a file")
        if not self._request.owner:
            return replace(facts, owner="", group="")
        return facts


def _find(site: Site, facts: FileFacts) -> None:
    site.land(facts, find=True)
