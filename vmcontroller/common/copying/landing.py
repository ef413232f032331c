"""The file that is written: under a temporary name until it is whole, then in place at once.

Everything here blocks on the disk and belongs in a thread; no reactor, no words.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from vmcontroller.common.copying.reasons import Reason, explained
from vmcontroller.common.copying.source import Place, must_be_file
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.words.files import FileFacts

SYNC_BYTES: Final = 64 * 2**20
"""Never more than this waits in the page cache, so that the last fsync stays short of anyone's
deadline and a copy does not push the machine's other work out of memory."""

FLUSH_BYTES: Final = 8 * 2**20
"""After so many bytes the kernel is asked to begin writing them out, without waiting for it."""

KEPT_MODE: Final = 0o777
"""Set-user-ID, set-group-ID and sticky are dropped: a copy must not hand out rights."""

RESERVE_MOST_BYTES: Final = 256 * 2**20
RESERVE_PART: Final = 20
"""Of a file system's size; the reserve is this part of it, or the bytes above if that is less."""

_NAME_BYTES: Final = 128
_OWN_ID: Final = re.compile(r"[0-9a-f]{32}")
"""The ids that the host gives to transfers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a side asks of files that it takes in; without any, it trusts who sends them."""

    keep_reserve: bool = False
    """Refuse what would leave less than the reserve free: DISK_FULL."""
    ahead_bytes: int | None = None
    """How much space may be held beyond what has arrived; None: all of it from the start."""
    floor_bytes: int = 0
    """What must come in each idle deadline's time that the sender lets this side wait."""


TRUSTING: Final = Terms()


def temporary_name(name: str, transfer_id: str) -> str:
    """Return the name under which a file is written; short enough whatever its own name is."""
    return f".{os.fsencode(name)[:_NAME_BYTES].decode(errors='ignore')}.vmcontroller-{transfer_id}"


def is_temporary(name: str, transfer_id: str) -> bool:
    """Return whether this is a name that temporary_name makes for this transfer."""
    pattern = rf"\..*\.vmcontroller-{re.escape(transfer_id)}"
    return re.fullmatch(pattern, name, re.DOTALL) is not None


def remove_leftover(directory_fd: int, name: str) -> None:
    """Remove a temporary file that a killed process left; what is no regular file stays."""
    found = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    if stat.S_ISREG(found.st_mode):
        os.unlink(name, dir_fd=directory_fd)


def sweep(path: str) -> None:
    """Remove the temporary files that a killed process left in a directory.

    Only while nothing is copied. Those below it are not looked for. Raises OSError.
    """
    directory_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(directory_fd):
            transfer_id = name[-32:]
            if _OWN_ID.fullmatch(transfer_id) and is_temporary(name, transfer_id):
                remove_leftover(directory_fd, name)
    finally:
        os.close(directory_fd)


def reserve_bytes(disk_bytes: int) -> int:
    """Return what stays free of a file system of this size: 5 % of it, at most 256 MiB."""
    return min(disk_bytes // RESERVE_PART, RESERVE_MOST_BYTES)


class NewFile:
    """A file that comes into being beside its place and takes it when it is verified."""

    def __init__(
        self, place: Place, transfer_id: str, facts: FileFacts, terms: Terms = TRUSTING
    ) -> None:
        """Create the temporary file and hold space for it; `place` stays the caller's to close.

        Raises TransferFailed: IS_A_DIRECTORY or NOT_A_FILE for what lies there, DISK_FULL,
        PERMISSION_DENIED …; then nothing was left behind.
        """
        found = place.kind()
        if found is not None:
            must_be_file(found, place.shown)
        self.facts = facts
        self.written_bytes = 0
        self._place = place
        self._terms = terms
        self._held_bytes = 0
        self._temporary = temporary_name(place.name, transfer_id)
        self._digest = hashlib.sha256()
        self._synced_bytes = self._flushed_bytes = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with explained(place.shown):
            self._fd = os.open(self._temporary, flags, 0o600, dir_fd=place.directory_fd)
        self._open = True
        try:
            self._hold_space(0)
        except BaseException:
            self.discard()
            raise

    def write(self, data: bytes | bytearray) -> None:
        """Append; TransferFailed DISK_FULL, IO_ERROR …"""
        with explained(self._place.shown), memoryview(data) as rest:
            self._hold_space(len(rest))
            done = 0
            while done < len(rest):
                done += os.write(self._fd, rest[done:])
            self._digest.update(rest)
            self.written_bytes += done
            self._write_out()

    def put_in_place(self, sha256: str) -> None:
        """Verify, give it its mode and time, and rename it over whatever file lay there.

        Raises TransferFailed DIGEST_MISMATCH when its bytes are not those that were meant.
        """
        if self._digest.hexdigest() != sha256:
            raise TransferFailed(
                Reason.DIGEST_MISMATCH,
                f"{self._place.shown!r}: SHA-256 is {self._digest.hexdigest()}, not {sha256!r}",
            )
        directory_fd = self._place.directory_fd
        with explained(self._place.shown):
            with suppress(PermissionError):  # vfat and its like keep neither
                os.fchmod(self._fd, self.facts.mode & KEPT_MODE)
                os.utime(self._fd, ns=(self.facts.mtime_ns, self.facts.mtime_ns))
            os.fsync(self._fd)
            os.rename(
                self._temporary,
                self._place.name,
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

    def discard(self) -> None:
        """Remove the temporary file; nothing happens once the file is in place."""
        if self._open:
            self._close()
            with explained(self._place.shown), suppress(FileNotFoundError):
                os.unlink(self._temporary, dir_fd=self._place.directory_fd)

    def _close(self) -> None:
        self._open = False
        os.close(self._fd)

    def _hold_space(self, coming_bytes: int) -> None:
        """Hold space for what comes now, and ahead as far as the terms allow."""
        size_bytes = self.facts.size_bytes
        needed_bytes = self.written_bytes + coming_bytes
        ahead_bytes = self._terms.ahead_bytes
        if self._held_bytes and needed_bytes <= self._held_bytes:
            return
        goal_bytes = size_bytes
        if ahead_bytes is not None:
            goal_bytes = min(size_bytes, needed_bytes + ahead_bytes)
        fresh_bytes = goal_bytes - self._held_bytes
        if fresh_bytes <= 0:
            return
        with explained(self._place.shown):
            self._must_fit(size_bytes - self._held_bytes)
            try:
                os.posix_fallocate(self._fd, self._held_bytes, fresh_bytes)
            except OSError as error:
                if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
                    raise
        self._held_bytes = goal_bytes

    def _must_fit(self, more_bytes: int) -> None:
        space = os.fstatvfs(self._fd)
        blocks = space.f_bavail if os.geteuid() else space.f_bfree
        kept_bytes = 0
        if self._terms.keep_reserve:
            kept_bytes = reserve_bytes(space.f_blocks * space.f_frsize)
        if blocks * space.f_frsize < more_bytes + kept_bytes:
            kept = f", of which {kept_bytes} stay free" if kept_bytes else ""
            raise OSError(errno.ENOSPC, f"{more_bytes} more bytes don't fit on the disk{kept}")

    def _write_out(self) -> None:
        if self.written_bytes - self._synced_bytes >= SYNC_BYTES:
            os.fdatasync(self._fd)
            self._synced_bytes = self._flushed_bytes = self.written_bytes
        elif (fresh_bytes := self.written_bytes - self._flushed_bytes) >= FLUSH_BYTES:
            # Linux begins to write dirty pages out when told that they won't be needed.
            os.posix_fadvise(self._fd, self._flushed_bytes, fresh_bytes, os.POSIX_FADV_DONTNEED)
            self._flushed_bytes = self.written_bytes
