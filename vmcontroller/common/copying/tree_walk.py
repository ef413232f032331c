"""A directory as it is gone through: every entry in the stream's order, no link followed.

Everything here blocks on the disk and belongs in a thread.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Final, TypedDict

from vmcontroller.common.copying.descent import Descent
from vmcontroller.common.copying.extents import data_extents
from vmcontroller.common.copying.owners import Owners
from vmcontroller.common.copying.reasons import Reason, explained
from vmcontroller.common.copying.tree_names import (
    ENTRIES_MOST,
    check_names,
    check_target,
    shown,
)
from vmcontroller.common.copying.tree_stream import (
    DirectoryEntry,
    Entry,
    FileEntry,
    LinkEntry,
)
from vmcontroller.common.errors import TransferFailed

_GONE: Final = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE}
_FILE_FLAGS: Final = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC


class _Common(TypedDict):
    """What every entry has."""

    names: tuple[bytes, ...]
    mtime_ns: int
    owner: str
    group: str


class TreeWalk:
    """The way through one tree, as often as it is needed; raises TransferFailed."""

    def __init__(self, shown_path: str, *, owner: bool) -> None:
        """`shown_path`: the directory as errors name it. `owner`: names of owners are wanted."""
        self._shown = shown_path
        self._owners = Owners() if owner else None

    def owner_names(self, found: os.stat_result) -> tuple[str, str]:
        """Return the names of user and group; empty when they are not wanted."""
        return self._owners.names(found) if self._owners else ("", "")

    def check_number(self, entries: int) -> None:
        """Raise unless a tree may have so many entries."""
        if entries > ENTRIES_MOST:
            raise TransferFailed(
                Reason.TOO_LARGE, f"{self._shown!r}: more than {ENTRIES_MOST} entries"
            )

    def entries(self, root_fd: int) -> Generator[tuple[Entry, int], None, None]:
        """Go through all in the stream's order; with a file comes its descriptor, else -1."""
        with self.named():
            descent = Descent(os.dup(root_fd))
        try:
            listings = [self._listing(descent)]
            while listings:
                if not listings[-1]:
                    listings.pop()
                    if listings:
                        descent.leave()
                    continue
                names = (*descent.names, listings[-1].pop())
                entry, fd = self._look_at(names, descent)
                try:
                    yield entry, fd
                finally:
                    if fd >= 0:
                        os.close(fd)
                if isinstance(entry, DirectoryEntry):
                    with self.named(names):
                        descent.enter(names[-1])
                    listings.append(self._listing(descent))
        finally:
            descent.close()

    def _listing(self, descent: Descent) -> list[bytes]:
        """Return the names in a directory, the last one first."""
        with self.named(descent.names), os.scandir(descent.fd) as found:
            names = [os.fsencode(item.name) for item in islice(found, ENTRIES_MOST + 1)]
        self.check_number(len(names))
        names.sort(reverse=True)
        return names

    def _look_at(self, names: tuple[bytes, ...], descent: Descent) -> tuple[Entry, int]:
        check_names(names)
        with self.named(names):
            directory_fd = descent.fd
            found = os.stat(names[-1], dir_fd=directory_fd, follow_symlinks=False)
            if stat.S_ISDIR(found.st_mode):
                mode = stat.S_IMODE(found.st_mode)
                return DirectoryEntry(mode=mode, **self._common(names, found)), -1
            if stat.S_ISLNK(found.st_mode):
                target = os.readlink(names[-1], dir_fd=directory_fd)
                check_target(names, target)
                return LinkEntry(target=target, **self._common(names, found)), -1
            # Looked at before it is opened too: opening a watchdog's device arms it.
            self._must_be_file(names, found)
            fd = os.open(names[-1], _FILE_FLAGS, dir_fd=directory_fd)
            try:
                return self._file_entry(names, fd), fd
            except BaseException:
                os.close(fd)
                raise

    def _file_entry(self, names: tuple[bytes, ...], fd: int) -> FileEntry:
        found = os.fstat(fd)
        self._must_be_file(names, found)
        data_bytes = size_bytes = found.st_size
        if found.st_blocks * 512 < size_bytes:
            data_bytes = sum(extent.length_bytes for extent in data_extents(fd, size_bytes))
        return FileEntry(
            mode=stat.S_IMODE(found.st_mode),
            size_bytes=size_bytes,
            data_bytes=data_bytes,
            **self._common(names, found),
        )

    def _must_be_file(self, names: Sequence[bytes], found: os.stat_result) -> None:
        if not stat.S_ISREG(found.st_mode):
            raise TransferFailed(
                Reason.NOT_A_FILE,
                f"{self._path(names)!r} is a device, a FIFO or a socket, which is never copied",
            )

    def _common(self, names: tuple[bytes, ...], found: os.stat_result) -> _Common:
        owner, group = self.owner_names(found)
        return {
            "names": names,
            "mtime_ns": max(0, found.st_mtime_ns),
            "owner": owner,
            "group": group,
        }

    def _path(self, names: Sequence[bytes]) -> str:
        return "/".join([self._shown, *([shown(names)] if names else [])])

    @contextmanager
    def named(self, names: Sequence[bytes] = ()) -> Iterator[None]:
        """Turn an error of the system about this path into TransferFailed."""
        try:
            yield
        except OSError as error:
            # It was there a moment ago.
            if error.errno in _GONE:
                raise self.changed(names) from error
            with explained(self._path(names)):
                raise

    def changed(self, names: Sequence[bytes] = ()) -> TransferFailed:
        return TransferFailed(
            Reason.CHANGED,
            f"{self._path(names)!r} changed while it was read, or has no true size",
        )
