"""The file that is written: under a temporary name until it is whole, then in place at once.

Everything here blocks on the disk and belongs in a thread; no reactor, no words.
"""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import suppress
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

_NAME_BYTES: Final = 128


def temporary_name(name: str, transfer_id: str) -> str:
    """Return the name under which a file is written; short enough whatever its own name is."""
    return f".{os.fsencode(name)[:_NAME_BYTES].decode(errors='ignore')}.vmcontroller-{transfer_id}"


class NewFile:
    """A file that comes into being beside its place and takes it when it is verified."""

    def __init__(self, place: Place, transfer_id: str, facts: FileFacts) -> None:
        """Create the temporary file and hold the space; `place` stays the caller's to close.

        Raises TransferFailed: IS_A_DIRECTORY or NOT_A_FILE for what lies there, DISK_FULL,
        PERMISSION_DENIED …; then nothing was left behind.
        """
        found = place.kind()
        if found is not None:
            must_be_file(found, place.shown)
        self.facts = facts
        self.written_bytes = 0
        self._place = place
        self._temporary = temporary_name(place.name, transfer_id)
        self._digest = hashlib.sha256()
        self._synced_bytes = self._flushed_bytes = 0
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with explained(place.shown):
            self._fd = os.open(self._temporary, flags, 0o600, dir_fd=place.directory_fd)
        self._open = True
        try:
            self._hold_space()
        except BaseException:
            self.discard()
            raise

    def write(self, data: bytes | bytearray) -> None:
        """Append; TransferFailed DISK_FULL, IO_ERROR …"""
        with explained(self._place.shown), memoryview(data) as rest:
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

    def _hold_space(self) -> None:
        size_bytes = self.facts.size_bytes
        if not size_bytes:
            return
        with explained(self._place.shown):
            space = os.fstatvfs(self._fd)
            blocks = space.f_bavail if os.geteuid() else space.f_bfree
            if blocks * space.f_frsize < size_bytes:
                raise OSError(errno.ENOSPC, f"{size_bytes} bytes don't fit on the disk")
            try:
                os.posix_fallocate(self._fd, 0, size_bytes)
            except OSError as error:
                if error.errno not in {errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS}:
                    raise

    def _write_out(self) -> None:
        if self.written_bytes - self._synced_bytes >= SYNC_BYTES:
            os.fdatasync(self._fd)
            self._synced_bytes = self._flushed_bytes = self.written_bytes
        elif (fresh_bytes := self.written_bytes - self._flushed_bytes) >= FLUSH_BYTES:
            # Linux begins to write dirty pages out when told that they won't be needed.
            os.posix_fadvise(self._fd, self._flushed_bytes, fresh_bytes, os.POSIX_FADV_DONTNEED)
            self._flushed_bytes = self.written_bytes
