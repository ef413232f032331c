"""Names of this host's accounts, which a directory service may take its time for."""

from __future__ import annotations

import pwd
from typing import Final

from twisted.internet.interfaces import IReactorTime

from vmcontroller.common.copying.course import InThread

KEPT_S: Final = 60.0
_MOST: Final = 1000


class Accounts:
    """Asks the system in a thread, and remembers for a while."""

    def __init__(self, in_thread: InThread, clock: IReactorTime) -> None:
        self._in_thread = in_thread
        self._clock = clock
        self._names: dict[int, tuple[float, str]] = {}

    def known(self, uid: int) -> str | None:
        """Return the name, where it was asked for a moment ago."""
        until_s, name = self._names.get(uid, (0.0, ""))
        return name if name and self._clock.seconds() < until_s else None

    async def find(self, uid: int) -> str:
        """Return the name; `uid N` for an account that has none."""
        name = await self._in_thread(name_of, uid)
        if len(self._names) >= _MOST:
            self._names.clear()
        self._names[uid] = self._clock.seconds() + KEPT_S, name
        return name


def name_of(uid: int) -> str:
    """Ask the system for an account's name; blocks."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
