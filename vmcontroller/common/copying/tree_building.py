"""A tree as it is made, entry by entry, below a directory that is held open. Blocks on the disk.

All is created by name in a directory that was made here and is open, and always anew: nothing that
is there is ever opened, and no symbolic link followed. A directory gets its mode and times when the
last of its entries is made, so it may be one that nobody could write to.
"""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from typing import Final

from vmcontroller.common.copying.descent import Descent
from vmcontroller.common.copying.landing import FLUSH_BYTES, KEPT_MODE, SYNC_BYTES
from vmcontroller.common.copying.owners import Owners
from vmcontroller.common.copying.reasons import explained
from vmcontroller.common.copying.tree_names import shown
from vmcontroller.common.copying.tree_stream import (
    Data,
    DirectoryEntry,
    End,
    Event,
    FileEntry,
    LinkEntry,
)
from vmcontroller.common.whole_writes import write_all_at

_FILE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TreeBuilder:
    """Makes what the events of a TreeParser say; raises TransferFailed, naming the path."""

    def __init__(self, root_fd: int, shown_path: str, *, owner: bool) -> None:
        """Take over the root, an empty directory.

        `owner`: users and groups are set where that is allowed.
        """
        self._root_fd = root_fd
        self._descent = Descent(root_fd)
        self._shown = shown_path
        self._owners = Owners() if owner else None
        self._directories: list[DirectoryEntry] = []
        """Those from below the root to where the descent is."""
        self._file: _NewFile | None = None
        self._unsynced_bytes = 0

    def take(self, event: Event) -> None:
        """Make the next entry, or write to the file that was the last one."""
        if isinstance(event, Data):
            assert self._file is not None
            with explained(self._path(self._file.entry.names)):
                self._file.write(event)
            return
        self._end_file()
        if isinstance(event, End):
            self._go_up_to(0)
            return
        self._go_up_to(len(event.names) - 1)
        name = event.names[-1]
        with explained(self._path(event.names)):
            directory_fd = self._descent.fd
            match event:
                case DirectoryEntry():
                    os.mkdir(name, 0o700, dir_fd=directory_fd)
                    self._descent.enter(name)
                    self._directories.append(event)
                case FileEntry():
                    fd = os.open(name, _FILE_FLAGS, 0o600, dir_fd=directory_fd)
                    self._file = _NewFile(fd, event)
                case LinkEntry():
                    self._make_link(event, directory_fd)

    def dress_root(self, *, mode: int, mtime_ns: int, owner: str, group: str) -> None:
        """Give the root what was kept of it; the last thing before it is put in place."""
        with explained(self._shown):
            self._dress(self._root_fd, mode=mode, mtime_ns=mtime_ns, owner=owner, group=group)

    def sync(self) -> None:
        """Wait until all that was made is on the disk.

        By one sync of the file system: one of every file would cost a turn of the disk for each,
        and a tree may have a million. Others' data are waited for, too. Raises OSError.
        """
        self._unsynced_bytes = 0
        if ctypes.CDLL(None, use_errno=True).syncfs(self._root_fd):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))

    def rest(self) -> None:
        """Hold nothing open but the root and the file at hand."""
        self._descent.rest()

    def close(self) -> None:
        """Let go of all that is open; called once."""
        if self._file is not None:
            os.close(self._file.fd)
            self._file = None
        self._descent.close()

    def _make_link(self, entry: LinkEntry, directory_fd: int) -> None:
        name = entry.names[-1]
        os.symlink(entry.target, name, dir_fd=directory_fd)
        if self._owners:
            self._owners.give_link(name, directory_fd, entry.owner, entry.group)
        times = (entry.mtime_ns, entry.mtime_ns)
        with suppress(PermissionError):
            os.utime(name, ns=times, dir_fd=directory_fd, follow_symlinks=False)

    def _end_file(self) -> None:
        if self._file is None:
            return
        file, self._file = self._file, None
        try:
            with explained(self._path(file.entry.names)):
                self._dress_entry(file.fd, file.entry)
        finally:
            os.close(file.fd)
        self._unsynced_bytes += file.unsynced_bytes
        if self._unsynced_bytes >= SYNC_BYTES:
            with explained(self._shown):
                self.sync()

    def _go_up_to(self, depth: int) -> None:
        while self._descent.depth > depth:
            entry = self._directories.pop()
            with explained(self._path(entry.names)):
                self._dress_entry(self._descent.fd, entry)
                self._descent.leave()

    def _dress_entry(self, fd: int, entry: DirectoryEntry | FileEntry) -> None:
        self._dress(
            fd, mode=entry.mode, mtime_ns=entry.mtime_ns, owner=entry.owner, group=entry.group
        )

    def _dress(self, fd: int, *, mode: int, mtime_ns: int, owner: str, group: str) -> None:
        if self._owners:
            self._owners.give(fd, owner, group)
        with suppress(PermissionError):  # vfat and its like keep neither
            os.fchmod(fd, mode & KEPT_MODE)
            os.utime(fd, ns=(mtime_ns, mtime_ns))

    def _path(self, names: tuple[bytes, ...]) -> str:
        return f"{self._shown}/{shown(names)}"


class _NewFile:
    """The file that is being written."""

    def __init__(self, fd: int, entry: FileEntry) -> None:
        """Take over the new file, unless this fails with OSError."""
        self.fd = fd
        self.entry = entry
        self.unsynced_bytes = 0
        self._unflushed_bytes = 0
        if entry.sparse:
            try:
                os.ftruncate(fd, entry.size_bytes)
            except BaseException:
                os.close(fd)
                raise

    def write(self, data: Data) -> None:
        """Write where it belongs, and see to it that little waits in the page cache."""
        write_all_at(self.fd, data.data, data.offset)
        self.unsynced_bytes += len(data.data)
        self._unflushed_bytes += len(data.data)
        if self.unsynced_bytes >= SYNC_BYTES:
            os.fdatasync(self.fd)
            self.unsynced_bytes = self._unflushed_bytes = 0
        elif self._unflushed_bytes >= FLUSH_BYTES:
            # Linux begins to write dirty pages out when told that they won't be needed.
            os.posix_fadvise(self.fd, 0, data.offset + len(data.data), os.POSIX_FADV_DONTNEED)
            self._unflushed_bytes = 0
