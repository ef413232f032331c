"""What killed processes leave of copies: found by the names that temporary files have, removed.

Everything here blocks on the disk.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Set as AbstractSet
from typing import Final

from vmcontroller.common.copying.source import Place, open_below
from vmcontroller.common.copying.tree_removal import remove_tree

_NAME_BYTES: Final = 128
_OWN_ID: Final = re.compile(r"[0-9a-f]{32}")
"""The ids that the host gives to transfers."""


def temporary_name(name: str, transfer_id: str) -> str:
    """Return the name under which a file is written; short enough whatever its own name is."""
    return f".{os.fsencode(name)[:_NAME_BYTES].decode(errors='ignore')}.vmcontroller-{transfer_id}"


def temporary_path(place: Place, transfer_id: str) -> str:
    """Return the whole path of that file, wherever its directory has been moved to meanwhile."""
    directory = os.readlink(f"/proc/self/fd/{place.directory_fd}")
    return os.path.join(directory, temporary_name(place.name, transfer_id))


def is_temporary(name: str, transfer_id: str) -> bool:
    """Return whether this is a name that temporary_name makes for this transfer."""
    pattern = rf"\..*\.vmcontroller-{re.escape(transfer_id)}"
    return re.fullmatch(pattern, name, re.DOTALL) is not None


def remove_leftover(directory_fd: int, name: str) -> None:
    """Remove a temporary file or directory that a killed process left; what is neither stays.

    Raises OSError.
    """
    found = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    if stat.S_ISREG(found.st_mode):
        os.unlink(name, dir_fd=directory_fd)
    elif stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid():
        remove_tree(os.fsencode(name), directory_fd)


def remove_at(path: str, transfer_id: str) -> None:
    """Remove what a transfer left at this path, if that is one of its temporary names.

    What has another name, or is reached through a link, is not ours and stays. Raises OSError.
    """
    directory, name = os.path.split(path)
    if not directory.startswith("/") or not is_temporary(name, transfer_id):
        return
    try:
        directory_fd = open_below("/", [part for part in directory.split("/") if part])
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        remove_leftover(directory_fd, name)
    except FileNotFoundError:
        return
    finally:
        os.close(directory_fd)


def sweep(path: str, keep: AbstractSet[str] = frozenset()) -> None:
    """Remove what killed processes left in a directory, but not of the transfers to `keep`.

    Only while nothing is copied. What lies below is not looked for. Raises OSError.
    """
    directory_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in os.listdir(directory_fd):
            transfer_id = name[-32:]
            ours = _OWN_ID.fullmatch(transfer_id) and is_temporary(name, transfer_id)
            if ours and transfer_id not in keep:
                remove_leftover(directory_fd, name)
    finally:
        os.close(directory_fd)
