"""The directory that is written: under a temporary name until it is whole, then in place at once.

Everything here blocks on the disk and belongs in a thread; no reactor, no words. Whoever sends may
be hostile: see tree_stream for what is believed, and tree_building for how it is made.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from contextlib import suppress
from typing import Final

from vmcontroller.common.copying.descent import LISTED_FLAGS
from vmcontroller.common.copying.landing import TRUSTING, Terms
from vmcontroller.common.copying.leftovers import temporary_name
from vmcontroller.common.copying.reasons import Reason, explained
from vmcontroller.common.copying.source import Place
from vmcontroller.common.copying.space import must_fit
from vmcontroller.common.copying.tree_building import TreeBuilder
from vmcontroller.common.copying.tree_removal import remove_tree
from vmcontroller.common.copying.tree_stream import TreeParser
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.words.files import FileFacts

CHECKED_ENTRIES: Final = 64
"""After so many, the room on the disk is looked at again; each may take a block and an inode."""


class TreeLanding:
    """A directory that comes into being beside its place and takes it when it is verified.

    Space is looked for before and as it comes, but not held: the files are not known yet.
    """

    def __init__(
        self, place: Place, transfer_id: str, facts: FileFacts, terms: Terms = TRUSTING
    ) -> None:
        """Create the temporary directory; `place` stays the caller's to close, after this.

        Owners are set if `facts` name one. Raises TransferFailed: EXISTS, DISK_FULL,
        PERMISSION_DENIED …; then nothing was left behind.
        """
        self.facts = facts
        self.written_bytes = 0
        self._place = place
        self._terms = terms
        self._temporary = os.fsencode(temporary_name(place.name, transfer_id))
        self._parser = TreeParser(facts.size_bytes)
        self._digest = hashlib.sha256()
        self._failed = False
        self._must_be_free()
        with explained(place.shown):
            self._root_fd = self._make_root(place.directory_fd)
        owner = bool(facts.owner or facts.group)
        self._builder = TreeBuilder(self._root_fd, place.shown, owner=owner)
        self._open = True
        try:
            self._must_fit(facts.size_bytes)
        except BaseException:
            self.discard()
            raise

    def _make_root(self, directory_fd: int) -> int:
        try:
            os.mkdir(self._temporary, 0o700, dir_fd=directory_fd)
        except FileExistsError:
            found = os.stat(self._temporary, dir_fd=directory_fd, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
                raise
            # What a killed process left of this very copy: of what was read, nothing is known.
            remove_tree(self._temporary, directory_fd)
            os.mkdir(self._temporary, 0o700, dir_fd=directory_fd)
        try:
            return os.open(self._temporary, LISTED_FLAGS, dir_fd=directory_fd)
        except BaseException:
            os.rmdir(self._temporary, dir_fd=directory_fd)
            raise

    @property
    def entries(self) -> int:
        """How many files, directories and links have been begun."""
        return self._parser.entries

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take the next bytes of the stream.

        Raises TransferFailed: PROTOCOL or ESCAPES_TREE for what may not be, DISK_FULL …; all that
        is left to do then is discard().
        """
        self._must_be_sound()
        self._failed = True
        # A disk that fills up says so itself; only a reserve must be looked after.
        if self._terms.keep_reserve:
            self._must_fit(len(data))
        checked_entries = self.entries
        for event in self._parser.feed(data):
            self._builder.take(event)
            if self._terms.keep_reserve and self.entries >= checked_entries + CHECKED_ENTRIES:
                checked_entries = self.entries
                self._must_fit(0)
        self._digest.update(data)
        self.written_bytes += len(data)
        self._failed = False

    def hole(self, length_bytes: int) -> None:
        """Refuse: the holes of a tree's files are in its stream."""
        raise TransferFailed(
            Reason.PROTOCOL,
            f"{self._place.shown!r}: there is no hole of {length_bytes} bytes in a directory",
        )

    def prefix(self) -> str:
        """Return the SHA-256 of what was written so far, in hex."""
        return self._digest.hexdigest()

    def put_in_place(self, sha256: str) -> None:
        """Verify, sync all, and rename it to its place, where nothing may lie.

        Raises TransferFailed DIGEST_MISMATCH, EXISTS, PROTOCOL when the end was not reached …
        """
        self._must_be_sound()
        if self.prefix() != sha256:
            raise TransferFailed(
                Reason.DIGEST_MISMATCH,
                f"{self._place.shown!r}: SHA-256 is {self.prefix()}, not {sha256!r}",
            )
        if not self._parser.ended:
            raise TransferFailed(
                Reason.PROTOCOL, f"{self._place.shown!r}: the end of the tree is missing"
            )
        facts, directory_fd = self.facts, self._place.directory_fd
        self._builder.dress_root(
            mode=facts.mode, mtime_ns=facts.mtime_ns, owner=facts.owner, group=facts.group
        )
        with explained(self._place.shown):
            self._builder.sync()
            self._must_be_free()
            # Of what may have come there this moment, only an empty directory would go.
            os.rename(
                self._temporary,
                os.fsencode(self._place.name),
                src_dir_fd=directory_fd,
                dst_dir_fd=directory_fd,
            )
            self._close()
            # A directory that may be written but not listed can't be opened to be synced.
            with suppress(PermissionError):
                listing_fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory_fd)
                try:
                    os.fsync(listing_fd)
                finally:
                    os.close(listing_fd)

    def suspend(self) -> None:
        """Sync what is there, and hold little open, until resume(). Raises TransferFailed."""
        self._must_be_sound()
        self._builder.rest()
        with explained(self._place.shown):
            self._builder.sync()

    def resume(self) -> None:
        """Go on after suspend(); TransferFailed when what was kept is there no more."""
        self._must_be_sound()
        with explained(self._place.shown):
            kept = os.fstat(self._root_fd)
            found = os.stat(self._temporary, dir_fd=self._place.directory_fd, follow_symlinks=False)
            if not os.path.samestat(kept, found):
                raise FileNotFoundError(errno.ENOENT, "what was kept of it is gone")

    def discard(self) -> None:
        """Remove all that was written; nothing happens once the directory is in place."""
        if self._open:
            self._close()
            with explained(self._place.shown):
                remove_tree(self._temporary, self._place.directory_fd)

    def _close(self) -> None:
        self._open = False
        self._builder.close()

    def _must_be_sound(self) -> None:
        if self._failed or not self._open:
            raise TransferFailed(
                Reason.IO_ERROR, f"{self._place.shown!r}: writing it has failed or ended before"
            )

    def _must_be_free(self) -> None:
        if self._place.kind() is not None:
            raise TransferFailed(
                Reason.EXISTS,
                f"{self._place.shown!r} is there already, and a directory never replaces anything: "
                "remove it first, or copy to another name",
            )

    def _must_fit(self, more_bytes: int) -> None:
        with explained(self._place.shown):
            must_fit(
                self._root_fd,
                more_bytes=more_bytes,
                more_files=1,  # the next entry, for all that is known
                keep_reserve=self._terms.keep_reserve,
            )
