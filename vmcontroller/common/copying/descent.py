"""The way down into a tree of directories that someone else may be changing. Blocks on the disk.

Directories are opened by name, one below the other, and no symbolic link is ever followed. Few
are held open at once, whatever the depth: those left out are opened anew from the root when they
are needed, and must be the same ones.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

LISTED_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_MOST: Final = 16


@dataclass(frozen=True, slots=True)
class _Step:
    name: bytes
    device: int
    inode: int

    def must_be(self, found: os.stat_result) -> None:
        if (found.st_dev, found.st_ino) != (self.device, self.inode):
            raise OSError(errno.ESTALE, "a directory was replaced meanwhile")


class Descent:
    """Where one is in a tree; the root at first."""

    def __init__(self, root_fd: int) -> None:
        """Take over the root's descriptor."""
        self._root_fd = root_fd
        self._steps: list[_Step] = []
        self._open: list[int] = []
        """Descriptors of the deepest steps."""

    @property
    def depth(self) -> int:
        """How many directories below the root this is."""
        return len(self._steps)

    @property
    def names(self) -> Sequence[bytes]:
        """The names from the root to here."""
        return [step.name for step in self._steps]

    @property
    def fd(self) -> int:
        """The directory one is in; good until one enters or leaves. Raises OSError."""
        if not self._steps:
            return self._root_fd
        if not self._open:
            self._reopen()
        return self._open[-1]

    def enter(self, name: bytes) -> None:
        """Go into a directory here.

        Raises OSError: ENOTDIR for what is none or a symbolic link, EACCES, ENOENT …
        """
        below_fd = os.open(name, LISTED_FLAGS, dir_fd=self.fd)
        found = os.fstat(below_fd)
        self._steps.append(_Step(name, found.st_dev, found.st_ino))
        self._hold(below_fd)

    def leave(self) -> None:
        """Go back up into the directory that this one was entered from."""
        self._steps.pop()
        if self._open:
            os.close(self._open.pop())

    def rest(self) -> None:
        """Hold nothing open but the root, until it is needed again."""
        while self._open:
            os.close(self._open.pop())

    def close(self) -> None:
        """Let go of all, the root too; called once."""
        self.rest()
        os.close(self._root_fd)

    def _hold(self, below_fd: int) -> None:
        self._open.append(below_fd)
        if len(self._open) > OPEN_MOST:
            os.close(self._open.pop(0))

    def _reopen(self) -> None:
        try:
            here_fd = self._root_fd
            for step in self._steps:
                here_fd = os.open(step.name, LISTED_FLAGS, dir_fd=here_fd)
                self._hold(here_fd)
                step.must_be(os.fstat(here_fd))
        except BaseException:
            self.rest()
            raise
