"""Where a copy is received, from its first byte to its end: what lies there survives its peer.

Everything here blocks on the disk and belongs in a thread.
"""

from __future__ import annotations

import stat
from contextlib import suppress

from vmcontroller.common.copying.ends import Landing, Source
from vmcontroller.common.copying.landing import TRUSTING, NewFile, Terms
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.source import Place, SourceFile
from vmcontroller.common.copying.tree_landing import TreeLanding
from vmcontroller.common.copying.tree_source import TreeSource
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.words.files import FileFacts


def open_source(place: Place, *, tree: bool, holes: bool, owner: bool) -> Source:
    """Open what lies there, and close the place; raises TransferFailed.

    `tree`: if it is a directory, it and all below it are one stream. The others as SourceFile.
    """
    if tree:
        try:
            found = place.kind()
        except BaseException:
            place.close()
            raise
        if found is not None and stat.S_ISDIR(found.st_mode):
            return TreeSource.open(place, owner=owner)
    return SourceFile.open(place, holes=holes, owner=owner)


class _InPlace:
    """What has landed before, of which the sender did not hear: a Landing that is whole."""

    def __init__(self, facts: FileFacts, sha256: str) -> None:
        self.facts = facts
        self.written_bytes = facts.size_bytes
        self._sha256 = sha256

    def prefix(self) -> str:
        return self._sha256

    def write(self, data: bytes | bytearray | memoryview) -> None:
        raise TransferFailed(Reason.PROTOCOL, f"{len(data)} bytes for a file that is whole")

    def hole(self, length_bytes: int) -> None:
        raise TransferFailed(Reason.PROTOCOL, f"{length_bytes} bytes for a file that is whole")

    def put_in_place(self, sha256: str) -> None:
        if sha256 != self._sha256:
            raise TransferFailed(Reason.DIGEST_MISMATCH, "the file is there already, and another")

    def suspend(self) -> None:
        """Need nothing."""

    resume = discard = suspend


class Site:
    """The place of a copy, and what has landed there."""

    def __init__(self, place: Place, transfer_id: str, terms: Terms = TRUSTING) -> None:
        """Take over the place."""
        self.terms = terms
        self.sha256 = ""
        """Of what is in its place."""
        self._place: Place | None = place
        self._transfer_id = transfer_id
        self._landing: Landing | None = None
        self._entries = 0
        self._facts: FileFacts | None = None

    @property
    def landing(self) -> Landing:
        """What is written to; there is one after land()."""
        assert self._landing is not None
        return self._landing

    @property
    def is_gone(self) -> bool:
        """Whether it was let go of."""
        return self._place is None

    @property
    def has_landed(self) -> bool:
        return self._landing is not None

    @property
    def facts(self) -> FileFacts | None:
        """What was announced of what lies here."""
        return self._facts

    def land(self, facts: FileFacts, *, find: bool = False) -> None:
        """Begin to write; raises TransferFailed.

        `find`: go on with what a killed process left, if it is there; recall() must follow.
        """
        assert self._place is not None
        self._facts = facts
        if facts.tree:
            self._landing = TreeLanding(self._place, self._transfer_id, facts, self.terms)
        else:
            self._landing = NewFile(self._place, self._transfer_id, facts, self.terms, find=find)

    def landed_before(self, facts: FileFacts, sha256: str) -> None:
        """Take what is in its place already for what has landed."""
        self._facts = facts
        self._landing = _InPlace(facts, sha256)

    def recall(self) -> bool:
        """Hash a part of what was found; return whether there is more."""
        return isinstance(self._landing, NewFile) and self._landing.recall()

    def drop(self) -> None:
        """Throw away what is there; raises TransferFailed."""
        landing, self._landing = self.landing, None
        landing.discard()

    def begin_anew(self) -> None:
        """Throw away what is there, and land anew; raises TransferFailed."""
        facts = self.landing.facts
        self.drop()
        self.land(facts)

    def adopt(self, facts: FileFacts) -> None:
        """Go on with what is there for a file that has changed, and begins with that still.

        Raises TransferFailed CHANGED for a directory, or where there is more than that file has.
        """
        landing = self.landing
        if not isinstance(landing, NewFile) or landing.written_bytes > facts.size_bytes:
            raise TransferFailed(Reason.CHANGED, "it changed before all of it was copied")
        self._facts = landing.facts = facts

    @property
    def entries(self) -> int:
        """Of a directory, how many files, directories and links have come, or begun to."""
        if isinstance(self._landing, TreeLanding):
            self._entries = self._landing.entries
        return self._entries

    def put_in_place(self, sha256: str) -> None:
        """Verify, and put it where it belongs; raises TransferFailed."""
        self.landing.put_in_place(sha256)
        self._entries = self.entries
        self.sha256 = sha256

    def suspend(self) -> bool:
        """Keep what is there; return False, and keep nothing, where that can't be."""
        if self._landing is not None:
            with suppress(TransferFailed):
                self._landing.suspend()
                return True
        self.discard()
        return False

    def discard(self) -> None:
        """Let go of the place, and of what is not in it; nothing happens the second time."""
        landing, self._landing = self._landing, None
        try:
            if landing is not None:
                landing.discard()
        finally:
            self._let_go()

    def leave(self) -> None:
        """Let go of a file, and leave what was kept to another process; of a tree, remove it."""
        landing, self._landing = self._landing, None
        try:
            if isinstance(landing, NewFile):
                landing.close()
            elif landing is not None:
                landing.discard()
        finally:
            self._let_go()

    def _let_go(self) -> None:
        place, self._place = self._place, None
        if place is not None:
            place.close()
