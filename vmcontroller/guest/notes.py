"""Notes about temporary files of copies under way, so that an agent that was killed finds them at
its next start: for a day, if the host goes on with the copy, and then they are cleared away.

Everything here blocks on the disk.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

from twisted.logger import Logger

from vmcontroller.common.copying.leftovers import remove_at, temporary_path
from vmcontroller.common.copying.source import Place

TRANSFER_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
"""What a transfer's id may be: it becomes a part of a file's name."""

KEPT_S: Final = 86_400.0
"""So long is kept what the host may go on with."""

KEPT_MOST: Final = 16
"""So many are kept; the oldest go first."""


class Notes:
    """One symbolic link per transfer, named by its id, to its temporary file.

    A link, because it is whole or not there, also after the guest was reset; it is only read,
    never followed.
    """

    _log = Logger()

    def __init__(self, folder: Path, *, wall_s: Callable[[], float]) -> None:
        """`wall_s` is the time of day; where it jumps, things are kept longer or shorter."""
        self._folder = folder
        self._wall_s = wall_s
        self._active: set[str] = set()

    def open(self) -> None:
        """Make the folder, and remove what an earlier run left and nobody may go on with.

        Raises OSError where the folder can't be had.
        """
        if self._folder.is_symlink():
            self._folder.unlink()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for transfer_id in self._noted():
            if not self._is_file(transfer_id):  # a directory can't be gone on with
                self.remove(transfer_id)
        self.expire()

    def add(self, place: Place, transfer_id: str) -> None:
        """Note the temporary file that is about to be made; no copy fails for want of a note."""
        self._active.add(transfer_id)
        try:
            temporary = temporary_path(place, transfer_id)
            (self._folder / transfer_id).unlink(missing_ok=True)
            os.symlink(temporary, self._folder / transfer_id)
        except OSError as error:
            self._log.warn("no note of {id}: {error}", id=transfer_id, error=error)

    def drop(self, transfer_id: str) -> None:
        """Forget a transfer whose temporary file is in place or removed."""
        self._active.discard(transfer_id)
        try:
            (self._folder / transfer_id).unlink(missing_ok=True)
        except OSError as error:
            self._log.warn("a note of {id} stays: {error}", id=transfer_id, error=error)

    def remove(self, transfer_id: str) -> None:
        """Remove what a transfer left, and forget it.

        A note whose file can't be removed now is kept.
        """
        if transfer_id in self._active or transfer_id not in self._noted():
            return
        note = self._folder / transfer_id
        try:
            remove_at(os.readlink(note), transfer_id)
            note.unlink()
        except OSError as error:
            self._log.warn("leftovers of {id} may stay: {error}", id=transfer_id, error=error)

    def expire(self) -> None:
        """Remove what was left for too long, or is too much; not of transfers under way."""
        by_age = []
        for transfer_id in self._noted() - self._active:
            try:
                noted_s = os.lstat(self._folder / transfer_id).st_mtime
            except OSError:
                continue
            by_age.append((noted_s, transfer_id))
        by_age.sort(reverse=True)
        for number, (noted_s, transfer_id) in enumerate(by_age):
            if number >= KEPT_MOST or self._wall_s() - noted_s > KEPT_S:
                self.remove(transfer_id)

    def _noted(self) -> set[str]:
        try:
            return {name for name in os.listdir(self._folder) if TRANSFER_ID.fullmatch(name)}
        except OSError:
            return set()

    def _is_file(self, transfer_id: str) -> bool:
        try:
            return stat.S_ISREG(os.lstat(os.readlink(self._folder / transfer_id)).st_mode)
        except OSError:
            return False
