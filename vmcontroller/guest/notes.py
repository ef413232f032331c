"""Notes about temporary files of copies under way, so that an agent that was killed clears them
away at its next start. Everything here blocks on the disk.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from twisted.logger import Logger

from vmcontroller.common.copying.landing import is_temporary, remove_leftover, temporary_name
from vmcontroller.common.copying.source import Place, open_below

TRANSFER_ID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")
"""What a transfer's id may be: it becomes a part of a file's name."""


class Notes:
    """One symbolic link per transfer, named by its id, to its temporary file.

    A link, because it is whole or not there, also after the guest was reset; it is only read,
    never followed.
    """

    _log = Logger()

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> None:
        """Make the folder, and remove the files that an earlier run noted and left.

        Raises OSError where the folder can't be had.
        """
        if self._folder.is_symlink():
            self._folder.unlink()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in os.listdir(self._folder):
            if TRANSFER_ID.fullmatch(name):
                self._settle(name)

    def add(self, place: Place, transfer_id: str) -> None:
        """Note the temporary file that is about to be made; no copy fails for want of a note."""
        try:
            directory = os.readlink(f"/proc/self/fd/{place.directory_fd}")
            temporary = os.path.join(directory, temporary_name(place.name, transfer_id))
            os.symlink(temporary, self._folder / transfer_id)
        except OSError as error:
            self._log.warn("no note of {id}: {error}", id=transfer_id, error=error)

    def drop(self, transfer_id: str) -> None:
        """Forget a transfer whose temporary file is in place or removed."""
        try:
            (self._folder / transfer_id).unlink(missing_ok=True)
        except OSError as error:
            self._log.warn("a note of {id} stays: {error}", id=transfer_id, error=error)

    def _settle(self, transfer_id: str) -> None:
        # What has another name than this transfer's temporary files have, or is reached through
        # a link, is not ours and stays. A note whose file can't be removed now is kept.
        note = self._folder / transfer_id
        try:
            directory, name = os.path.split(os.readlink(note))
            if directory.startswith("/") and is_temporary(name, transfer_id):
                self._remove(directory, name)
            note.unlink()
        except OSError as error:
            self._log.warn("leftovers of {id} may stay: {error}", id=transfer_id, error=error)

    def _remove(self, directory: str, name: str) -> None:
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
