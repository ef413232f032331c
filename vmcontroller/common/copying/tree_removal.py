"""How a directory is removed with all below it, whoever made it. Blocks on the disk."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Final

from vmcontroller.common.copying.descent import LISTED_FLAGS, Descent

_PATH_FLAGS: Final = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(name: bytes, directory_fd: int) -> None:
    """Remove a directory that is this process's own, following no symbolic link.

    Directories that their mode closes are opened first. One that is gone already is no error.
    Raises OSError.
    """
    try:
        _unlock(name, directory_fd)
        descent = Descent(os.open(name, LISTED_FLAGS, dir_fd=directory_fd))
    except FileNotFoundError:
        return
    try:
        _empty(descent)
    finally:
        descent.close()
    os.rmdir(name, dir_fd=directory_fd)


def _empty(descent: Descent) -> None:
    inner = [_unlink_files(descent.fd)]
    while inner:
        if inner[-1]:
            name = inner[-1][-1]
            _unlock(name, descent.fd)
            descent.enter(name)
            inner.append(_unlink_files(descent.fd))
            continue
        inner.pop()
        if inner:
            descent.leave()
            os.rmdir(inner[-1].pop(), dir_fd=descent.fd)


def _unlink_files(fd: int) -> list[bytes]:
    """Remove all in a directory but its directories, whose names are returned."""
    # Listed to the end first: what a listing shows of a directory that shrinks is not defined.
    with os.scandir(fd) as found:
        inside = [(os.fsencode(item.name), item.is_dir(follow_symlinks=False)) for item in found]
    for name, directory in inside:
        if not directory:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=fd)
    return [name for name, directory in inside if directory]


def _unlock(name: bytes, directory_fd: int) -> None:
    """Let its owner read, change and enter a directory; the mode of a link's target stays."""
    path_fd = os.open(name, _PATH_FLAGS, dir_fd=directory_fd)
    try:
        # fchmod refuses such a descriptor, and what is not readable gets no other.
        os.chmod(f"/proc/self/fd/{path_fd}", 0o700)
    finally:
        os.close(path_fd)
