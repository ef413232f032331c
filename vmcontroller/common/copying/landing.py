"""The file that is written: under a temporary name until it is whole, then in place at once.

Everything here blocks on the disk and belongs in a thread; no reactor, no words.
"""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from vmcontroller.common.copying.holding import (
    begin_writing,
    finish_writing,
    hash_zeros,
    hold,
    release,
)
from vmcontroller.common.copying.leftovers import remove_leftover, temporary_name
from vmcontroller.common.copying.owners import Owners
from vmcontroller.common.copying.reasons import Reason, explained
from vmcontroller.common.copying.source import Place, must_be_file
from vmcontroller.common.copying.space import must_fit
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.whole_writes import write_all_at
from vmcontroller.common.words.files import FileFacts

SYNC_BYTES: Final = 64 * 2**20
"""Not much more than this waits in the page cache, so that the last fsync stays short of anyone's
deadline and a copy does not push the machine's other work out of memory."""

FLUSH_BYTES: Final = 8 * 2**20
"""After so many bytes the kernel is asked to begin writing them out, without waiting for it."""

KEPT_MODE: Final = 0o777
"""Set-user-ID, set-group-ID and sticky are dropped: a copy must not hand out rights."""

FOUND_BYTES: Final = 256 * 2**20
"""So much of a file that was found is hashed in one step."""

SPARSE_AHEAD_BYTES: Final = 64 * 2**20
"""Where there will be holes space is held no further ahead, for it is not known where they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a side asks of files that it takes in; without any, it trusts who sends them."""

    keep_reserve: bool = False
    """Refuse what would leave less than the reserve free: DISK_FULL."""
    ahead_bytes: int | None = None
    """How much space may be held beyond what has arrived; None: all of it from the start."""
    sparse_most_bytes: int | None = None
    """How long a file with holes may be: each zero is hashed, and nothing else bounds them."""


TRUSTING: Final = Terms()


class NewFile:
    """A file that comes into being beside its place and takes it when it is verified: a Landing."""

    def __init__(
        self,
        place: Place,
        transfer_id: str,
        facts: FileFacts,
        terms: Terms = TRUSTING,
        *,
        find: bool = False,
    ) -> None:
        """Create the temporary file and hold space for it; `place` is to stay open, too.

        `find`: go on with what a process that was killed left of this transfer, if that is
        there; it is all hashed when recall() has said so. Raises TransferFailed: IS_A_DIRECTORY
        or NOT_A_FILE for what lies there, DISK_FULL, PERMISSION_DENIED …; then nothing was left
        behind.
        """
        found = place.kind()
        if found is not None:
            must_be_file(found, place.shown)
        self.facts = facts
        self.written_bytes = 0
        self._place = place
        self._found_bytes = 0
        self._terms = terms
        self._held_bytes = 0
        self._temporary = temporary_name(place.name, transfer_id)
        self._digest = hashlib.sha256()
        self._synced_bytes = self._flushed_bytes = 0
        with explained(place.shown):
            self._fd = self._open(place, find=find)
        self._is_open = True
        try:
            if not self._found_bytes:
                self._hold_space(0)
        except BaseException:
            self.discard()
            raise

    def _open(self, place: Place, *, find: bool) -> int:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        if find:
            with suppress(FileNotFoundError):
                found = os.stat(self._temporary, dir_fd=place.directory_fd, follow_symlinks=False)
                if self._is_ours(found):
                    self._found_bytes = found.st_size
                    return os.open(self._temporary, flags, dir_fd=place.directory_fd)
                remove_leftover(place.directory_fd, self._temporary)
        create = flags | os.O_CREAT | os.O_EXCL
        return os.open(self._temporary, create, 0o600, dir_fd=place.directory_fd)

    def _is_ours(self, found: os.stat_result) -> bool:
        return (
            stat.S_ISREG(found.st_mode)
            and (found.st_uid, found.st_nlink) == (os.geteuid(), 1)
            and found.st_size <= self.facts.size_bytes
        )

    def recall(self) -> bool:
        """Hash a part of what was found; return whether there is more of it."""
        if not self._found_bytes:
            return False
        with explained(self._place.shown):
            stop_bytes = min(self._found_bytes, self.written_bytes + FOUND_BYTES)
            while self.written_bytes < stop_bytes:
                length_bytes = min(2**20, stop_bytes - self.written_bytes)
                block = os.pread(self._fd, length_bytes, self.written_bytes)
                if not block:
                    break
                self._digest.update(block)
                self.written_bytes += len(block)
            more = self.written_bytes < self._found_bytes
            if not more:
                self._found_bytes = 0
                self._held_bytes = self._flushed_bytes = self._synced_bytes = self.written_bytes
        return more

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append; TransferFailed DISK_FULL, IO_ERROR …"""
        with explained(self._place.shown), memoryview(data) as rest:
            self._hold_space(len(rest))
            write_all_at(self._fd, rest, self.written_bytes)
            self._digest.update(rest)
            self.written_bytes += len(rest)
            self._write_out()

    def hole(self, length_bytes: int) -> None:
        """Append zeros that take no space; TransferFailed TOO_LARGE …"""
        with explained(self._place.shown):
            release(self._fd, self.written_bytes)
            self.written_bytes += length_bytes
            os.ftruncate(self._fd, self.written_bytes)
            self._held_bytes = self.written_bytes
            hash_zeros(self._digest, length_bytes)

    def prefix(self) -> str:
        """Return the SHA-256 of what is written so far, in hex."""
        return self._digest.hexdigest()

    def put_in_place(self, sha256: str) -> None:
        """Verify, give it its owner, mode and time, and rename it over whatever file lay there.

        Raises TransferFailed DIGEST_MISMATCH when its bytes are not those that were meant.
        """
        if self._digest.hexdigest() != sha256:
            raise TransferFailed(
                Reason.DIGEST_MISMATCH,
                f"{self._place.shown!r}: the bytes that came are not those that were sent",
            )
        directory_fd = self._place.directory_fd
        with explained(self._place.shown):
            Owners().give(self._fd, self.facts.owner, self.facts.group)
            os.fchmod(self._fd, self.facts.mode & KEPT_MODE)
            os.utime(self._fd, ns=(self.facts.mtime_ns, self.facts.mtime_ns))
            os.fsync(self._fd)
            os.rename(
                self._temporary,
                self._place.name,
                src_dir_fd=directory_fd,
                dst_dir_fd=directory_fd,
            )
            # A directory that may be written but not listed can't be opened to be synced.
            with suppress(PermissionError):
                listing_fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory_fd)
                try:
                    os.fsync(listing_fd)
                finally:
                    os.close(listing_fd)
            self._close()

    def suspend(self) -> None:
        """Keep what is there, synced and without space that is held ahead; see Landing.suspend."""
        with explained(self._place.shown):
            release(self._fd, self.written_bytes)
            os.fdatasync(self._fd)
            self._held_bytes = self._synced_bytes = self._flushed_bytes = self.written_bytes

    def resume(self) -> None:
        """Go on; TransferFailed IO_ERROR when somebody has removed or cut what was kept."""
        with explained(self._place.shown):
            found = os.fstat(self._fd)
            if not found.st_nlink or found.st_size != self.written_bytes:
                raise OSError(errno.EIO, "what was kept of the copy is there no more")

    def close(self) -> None:
        """Let go of it and leave what was kept on the disk, for another process to find."""
        if self._is_open:
            self._close()

    def discard(self) -> None:
        """Remove the temporary file; nothing happens once the file is in place."""
        if self._is_open:
            with explained(self._place.shown), suppress(FileNotFoundError):
                try:
                    os.unlink(self._temporary, dir_fd=self._place.directory_fd)
                finally:
                    self._close()

    def _close(self) -> None:
        self._is_open = False
        os.close(self._fd)

    def _hold_space(self, coming_bytes: int) -> None:
        """Hold space for what comes now, and ahead as far as the terms allow."""
        needed_bytes = self.written_bytes + coming_bytes
        if self._held_bytes and needed_bytes <= self._held_bytes:
            return
        sparse = self.facts.data_bytes is not None
        ahead_bytes = self._terms.ahead_bytes
        if sparse and ahead_bytes is None:
            ahead_bytes = SPARSE_AHEAD_BYTES
        goal_bytes = self.facts.size_bytes
        if ahead_bytes is not None:
            goal_bytes = min(goal_bytes, needed_bytes + ahead_bytes)
        fresh_bytes = goal_bytes - self._held_bytes
        if fresh_bytes <= 0:
            return
        with explained(self._place.shown):
            self._must_fit(fresh_bytes if sparse else self.facts.size_bytes - self._held_bytes)
            hold(self._fd, self._held_bytes, fresh_bytes)
        self._held_bytes = goal_bytes

    def _must_fit(self, more_bytes: int) -> None:
        most_bytes = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if most_bytes == resource.RLIM_INFINITY:
            most_bytes = self.facts.size_bytes
        if self.facts.data_bytes is not None and self._terms.sparse_most_bytes is not None:
            most_bytes = min(most_bytes, self._terms.sparse_most_bytes)
        if self.facts.size_bytes > most_bytes:
            raise OSError(errno.EFBIG, f"such a file may have {most_bytes} bytes at most here")
        must_fit(
            self._fd,
            more_bytes=more_bytes,
            more_files=0,
            keep_reserve=self._terms.keep_reserve,
        )

    def _write_out(self) -> None:
        """Keep the disk busy, and wait for it only where it is far behind."""
        fresh_bytes = self.written_bytes - self._flushed_bytes
        if fresh_bytes < FLUSH_BYTES:
            return
        begin_writing(self._fd, self._flushed_bytes, fresh_bytes)
        self._flushed_bytes = self.written_bytes
        behind_bytes = self.written_bytes - self._synced_bytes - SYNC_BYTES
        if behind_bytes > 0:
            finish_writing(self._fd, self._synced_bytes, behind_bytes)
            self._synced_bytes += behind_bytes
