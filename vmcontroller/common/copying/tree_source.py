"""The directory that is read: walked twice, once to count its stream and once to read it.

Everything here blocks on the disk and belongs in a thread; no reactor, no words. Memory is bounded
by the listings of the directories on the way down, not by the number of files.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing

from vmcontroller.common.copying.descent import LISTED_FLAGS
from vmcontroller.common.copying.extents import Extent, data_extents
from vmcontroller.common.copying.reasons import explained
from vmcontroller.common.copying.source import BLOCK_BYTES, Place
from vmcontroller.common.copying.tree_stream import (
    FileEntry,
    end_head,
    head_of,
    stretch_head,
)
from vmcontroller.common.copying.tree_walk import TreeWalk
from vmcontroller.common.words.files import FileFacts


class TreeSource:
    """A directory and all below it as one stream, hashed as it is read.

    Symbolic links are sent, never followed; those that may lead out are refused, and so are
    devices, FIFOs and sockets. A hard link is sent as a file of its own. Each file is either as it
    was when it was read or CHANGED; a tree of which anything was added, removed or written to
    between the count and the reading is CHANGED, too.
    """

    def __init__(self, root_fd: int, shown_path: str, *, owner: bool = False) -> None:
        """Count the tree below `root_fd`, which is taken over even if this fails.

        `owner`: the names of users and groups are wanted. Raises TransferFailed, naming the path.
        """
        self.entries = 0
        """How many files, directories and links have been begun to be read."""
        self._root_fd = root_fd
        self._walk = TreeWalk(shown_path, owner=owner)
        self._digest = hashlib.sha256()
        self._pending = bytearray()
        self._given_bytes = 0
        try:
            self.facts, self._heads_sha256 = self._count()
        except BaseException:
            os.close(root_fd)
            raise
        self._stream: Generator[bytes, None, None] = self._read_all()

    @classmethod
    def open(cls, place: Place, *, owner: bool = False) -> TreeSource:
        """Open and count the directory that lies there, and close the place.

        Raises TransferFailed: NO_SUCH_FILE (also for what is no directory), PERMISSION_DENIED,
        NOT_A_FILE, ESCAPES_TREE, TOO_LARGE …, about the directory or anything in it.
        """
        try:
            with explained(place.shown):
                root_fd = os.open(place.name, LISTED_FLAGS, dir_fd=place.directory_fd)
        finally:
            place.close()
        return cls(root_fd, place.shown, owner=owner)

    def read(self) -> bytes:
        """Return the next block, at most BLOCK_BYTES; TransferFailed CHANGED for a changed tree."""
        return self._next_block(BLOCK_BYTES)

    def skip(self, to_bytes: int) -> str:
        """Read and hash up to this offset; return the SHA-256 of all up to there, in hex.

        Only before the first read; `to_bytes` is at most the size.
        """
        while self._given_bytes < to_bytes:
            self._next_block(min(BLOCK_BYTES, to_bytes - self._given_bytes))
        return self._digest.hexdigest()

    def finish(self) -> str:
        """Return the SHA-256 of all, in hex; TransferFailed CHANGED unless all was read."""
        if self._given_bytes != self.facts.size_bytes:
            raise self._walk.changed()
        return self._digest.hexdigest()

    def close(self) -> None:
        """Let go of what is open."""
        self._stream.close()
        os.close(self._root_fd)

    def _next_block(self, most_bytes: int) -> bytes:
        block = b""
        while len(self._pending) < most_bytes:
            piece = next(self._stream, b"")
            if not self._pending and len(piece) == most_bytes:
                block = piece
                break
            if not piece:
                break
            self._pending += piece
        if not block:
            block = bytes(self._pending[:most_bytes])
            del self._pending[:most_bytes]
        self._given_bytes += len(block)
        if not block or self._given_bytes > self.facts.size_bytes:
            raise self._walk.changed()
        self._digest.update(block)
        return block

    def _count(self) -> tuple[FileFacts, str]:
        """Go through all once; return the facts, and the digest of all heads."""
        heads = hashlib.sha256()
        entries = size_bytes = 0
        with closing(self._walk.entries(self._root_fd)) as found_entries:
            for entry, fd in found_entries:
                entries += 1
                self._walk.check_number(entries)
                head = head_of(entry)
                heads.update(head)
                size_bytes += len(head)
                if isinstance(entry, FileEntry):
                    size_bytes += self._stream_bytes(entry, fd)
        found = os.fstat(self._root_fd)
        owner, group = self._walk.owner_names(found)
        facts = FileFacts(
            size_bytes=size_bytes + len(end_head(entries)),
            mode=stat.S_IMODE(found.st_mode),
            mtime_ns=max(0, found.st_mtime_ns),
            owner=owner,
            group=group,
            tree=True,
        )
        return facts, heads.hexdigest()

    def _stream_bytes(self, entry: FileEntry, fd: int) -> int:
        """Return how much of the stream a file takes behind its head."""
        if not entry.sparse:
            return entry.data_bytes
        with self._walk.named(entry.names):
            return entry.data_bytes + sum(
                len(stretch_head(extent.offset, extent.length_bytes))
                for extent in data_extents(fd, entry.size_bytes)
            )

    def _read_all(self) -> Generator[bytes, None, None]:
        heads = hashlib.sha256()
        with closing(self._walk.entries(self._root_fd)) as found_entries:
            for entry, fd in found_entries:
                self.entries += 1
                head = head_of(entry)
                heads.update(head)
                yield head
                if isinstance(entry, FileEntry):
                    yield from self._read_file(entry, fd)
        if heads.hexdigest() != self._heads_sha256:
            raise self._walk.changed()
        yield end_head(self.entries)

    def _read_file(self, entry: FileEntry, fd: int) -> Iterator[bytes]:
        left_bytes = entry.data_bytes
        for extent in _stretches(fd, entry):
            left_bytes -= extent.length_bytes
            if left_bytes < 0:
                break
            if entry.sparse:
                yield stretch_head(extent.offset, extent.length_bytes)
            at = extent.offset
            while at < extent.end:
                # As much as makes a block together with what waits, so that few bytes are moved.
                most_bytes = min(extent.end - at, BLOCK_BYTES - len(self._pending))
                with self._walk.named(entry.names):
                    piece = os.pread(fd, most_bytes, at)
                if not piece:
                    raise self._walk.changed(entry.names)
                yield piece
                at += len(piece)
        with self._walk.named(entry.names):
            found = os.fstat(fd)
            more = os.pread(fd, 1, entry.size_bytes)
        after = (found.st_size, max(0, found.st_mtime_ns))
        # More than its size has a file of /proc, which says it is empty.
        if left_bytes or more or after != (entry.size_bytes, entry.mtime_ns):
            raise self._walk.changed(entry.names)


def _stretches(fd: int, entry: FileEntry) -> Iterable[Extent]:
    if entry.sparse:
        return data_extents(fd, entry.size_bytes)
    return [Extent(0, entry.size_bytes)] if entry.size_bytes else []
