"""A copy to a guest: what is done each time its guest is there, and what outlives that."""

from __future__ import annotations

import posixpath

from vmcontroller.common.copying.course import Course, hashing_s
from vmcontroller.common.copying.ends import Source
from vmcontroller.common.copying.outgoing import Outgoing
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.site import open_source
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.words.files import FileFacts, FilePut
from vmcontroller.host.transfers.world import Copy, Note


class GuestGaveUp(TransferFailed):
    """The guest's own FILE_FAILED."""


class Putting:
    """Sends a file of the host, or a directory, to a guest."""

    def __init__(self, copy: Copy, note: Note) -> None:
        """`note` is called when the facts are known."""
        self.half: Outgoing | None = None
        """What hears the guest's words now."""
        self.facts: FileFacts | None = copy.found.facts if copy.found is not None else None
        self.temporary = ""
        self._copy = copy
        self._note = note
        self._request = copy.request
        self._name = posixpath.basename(copy.request.local_path.rstrip("/"))
        self.target = copy.found.target if copy.found is not None else self._first_target()
        self._source: Source | None = None

    @property
    def entries(self) -> int:
        """Of a directory, how much has been begun."""
        return getattr(self._source, "entries", 0)

    @property
    def done_bytes(self) -> int:
        """How far this connection has come."""
        return self.half.sent_bytes if self.half is not None else 0

    async def leg(self, course: Course, *, again: bool) -> FileFacts:
        """Send as long as the connection lasts; return when the guest has it whole.

        Raises TransferFailed, AccessDenied or DeadlinePassed.
        """
        half = self.half = Outgoing(course)
        source = await course.uncut(self._open)
        try:
            course.check()
            # A file that is another by now is copied as it is now; the guest sees that it is.
            self.facts = source.facts
            self._source = source
            await self._note()
            course.check()
            course.say(
                FilePut(
                    transfer_id=course.transfer_id,
                    path=self.target,
                    facts=source.facts,
                    resume=again,
                )
            )
            patience_s = hashing_s(source.facts.size_bytes) if again else 0.0
            ready = await half.ready(patience_s=patience_s)
            if again and ready.have_bytes:
                source = await self._from(course, half, source, ready.have_bytes, ready.have_sha256)
            await half.send(source)
        finally:
            await course.uncut(source.close)
        return source.facts

    def refused(self, reason: str) -> bool:
        """Tell whether the guest has refused only the name, and there is another to try."""
        directory = {Reason.IS_A_DIRECTORY}
        if self.facts is not None and self.facts.tree:
            directory.add(Reason.EXISTS)
        if reason not in directory or self.target != self._request.remote_path:
            return False
        self.target = posixpath.join(self._request.remote_path, self._name)
        return True

    async def suspend(self) -> None:
        """Need nothing: what has come is the guest's to keep."""

    discard = suspend

    def _first_target(self) -> str:
        remote = self._request.remote_path
        return posixpath.join(remote, self._name) if remote[-1:] in {"", "/"} else remote

    def _open(self) -> Source:
        request, roots = self._request, self._copy.world.roots(self._request.roles)
        return open_source(
            roots.readable(request.local_path),
            tree=request.recursive,
            holes=self._copy.resumes,
            owner=request.owner and self._copy.resumes,
        )

    async def _from(
        self, course: Course, half: Outgoing, source: Source, have_bytes: int, sha256: str
    ) -> Source:
        """Go on from what the guest has, if it is right, else from the beginning."""
        if await half.matches(source, have_bytes, sha256):
            half.go_on(have_bytes, instead_of=have_bytes)
            return source
        again = await course.uncut(self._open)
        await course.uncut(source.close)
        self._source = again
        half.go_on(0, instead_of=have_bytes)
        return again
