"""The names of a file's user and group: found for a copy, and given to it. Blocks on the disk."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from typing import Final

from vmcontroller.common.copying.tree_names import OWNER_CHARS

_AS_IT_IS: Final = -1


class Owners:
    """Users and groups of this machine by name; asked for once, and as long as a copy lasts."""

    def __init__(self) -> None:
        self._user_name = lru_cache(maxsize=256)(_user_name)
        self._group_name = lru_cache(maxsize=256)(_group_name)
        self._user_id = lru_cache(maxsize=256)(_user_id)
        self._group_id = lru_cache(maxsize=256)(_group_id)

    def names(self, found: os.stat_result) -> tuple[str, str]:
        """Return the names of user and group; empty for an id that has none here."""
        return self._user_name(found.st_uid), self._group_name(found.st_gid)

    def give(self, fd: int, owner: str, group: str) -> None:
        """Give what is open to these, as far as they are known here and this process may.

        An empty name leaves its half as it is. Raises OSError, but not for a lack of rights.
        """
        self._give(lambda uid, gid: os.fchown(fd, uid, gid), owner, group)

    def give_link(self, name: bytes, directory_fd: int, owner: str, group: str) -> None:
        """Give a symbolic link itself to these, likewise."""

        def change(uid: int, gid: int) -> None:
            os.chown(name, uid, gid, dir_fd=directory_fd, follow_symlinks=False)

        self._give(change, owner, group)

    def _give(self, change: Callable[[int, int], None], owner: str, group: str) -> None:
        # One at a time: who may not give a file away may still give it to another of his groups.
        for ids in ((_AS_IT_IS, self._group_id(group)), (self._user_id(owner), _AS_IT_IS)):
            if ids != (_AS_IT_IS, _AS_IT_IS):
                with suppress(PermissionError):
                    change(*ids)


def _user_name(uid: int) -> str:
    with suppress(KeyError):
        return _fitting(pwd.getpwuid(uid).pw_name)
    return ""


def _group_name(gid: int) -> str:
    with suppress(KeyError):
        return _fitting(grp.getgrgid(gid).gr_name)
    return ""


def _fitting(name: str) -> str:
    return name if len(name) <= OWNER_CHARS else ""


def _user_id(owner: str) -> int:
    # ValueError: a NUL or half a surrogate pair, which no name of a user has.
    with suppress(KeyError, ValueError):
        return pwd.getpwnam(owner).pw_uid if owner else _AS_IT_IS
    return _AS_IT_IS


def _group_id(group: str) -> int:
    with suppress(KeyError, ValueError):
        return grp.getgrnam(group).gr_gid if group else _AS_IT_IS
    return _AS_IT_IS
