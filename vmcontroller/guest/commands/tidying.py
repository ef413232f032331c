"""Removing what the host has stored, some at a time, when nobody waits for anything."""

from __future__ import annotations

from collections.abc import Callable, Collection

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from vmcontroller.common.background import in_background
from vmcontroller.guest.commands.journal import Journal
from vmcontroller.guest.commands.spool import remove_folder

AFTER_S = 0.2

_Work = Callable[[], None]
InThread = Callable[[_Work], Deferred[None]]

_log = Logger()


def at_once_here(work: _Work) -> Deferred[None]:
    """Do it now: for whoever has no threads."""
    done: Deferred[None] = Deferred()
    work()
    done.callback(None)
    return done


class Tidying:
    """What is forgotten stays a moment: a result that is told twice hurts nobody."""

    def __init__(self, clock: IReactorTime, *, in_thread: InThread, journal: Journal) -> None:
        self._clock = clock
        self._in_thread = in_thread
        self._journal = journal
        self._ids: list[str] = []
        self._folders: list[str] = []
        self._timer: IDelayedCall | None = None

    def forget(self, cmd_id: str, folder: str) -> None:
        """Forget a command soon, and remove its folder, if it has one (else: empty)."""
        self._ids.append(cmd_id)
        if folder:
            self._folders.append(folder)
        if self._timer is None:
            self._timer = self._clock.callLater(AFTER_S, self._tidy)

    def stop(self) -> None:
        """Do now what is to be done."""
        if self._timer is not None:
            self._timer.cancel()
            self._tidy()

    def _tidy(self) -> None:
        self._timer = None
        ids, self._ids = self._ids, []
        folders, self._folders = self._folders, []
        for cmd_id in ids:
            self._journal.forgotten(cmd_id)
        if folders:
            _ = in_background(self._remove(folders), "removing what the host has stored")

    async def _remove(self, folders: Collection[str]) -> None:
        await self._in_thread(lambda: remove_all(folders))


def remove_all(folders: Collection[str]) -> None:
    """Remove folders of commands; what can't be removed is swept away at the next start."""
    for folder in folders:
        try:
            remove_folder(folder)
        except OSError as error:
            _log.warn("{folder} stays: {error}", folder=folder, error=error)
