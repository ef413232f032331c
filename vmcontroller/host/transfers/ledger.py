"""Copies under way, on the disk: what a daemon that was killed leaves, the next one finds.

One file of JSON for each. Everything here blocks on the disk.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from twisted.logger import Logger

from vmcontroller.common.copying.leftovers import remove_at
from vmcontroller.common.model import GuestId
from vmcontroller.common.words.files import FileFacts
from vmcontroller.host.transfers.request import CopyRequest, Direction, Entry

_SUFFIX = ".json"


class Ledger:
    """A folder that only this daemon writes to."""

    _log = Logger()

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self) -> list[Entry]:
        """Return what there is, the oldest first; what can't be read is removed and logged."""
        entries = []
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for path in self._folder.iterdir():
            try:
                if path.suffix == _SUFFIX:
                    entries.append(_entry(path.stem, json.loads(path.read_text("utf-8"))))
                    continue
            except (OSError, ValueError, KeyError, TypeError) as error:
                self._log.warn("{path} is no note of a copy: {error}", path=path, error=error)
            path.unlink(missing_ok=True)  # half of one
        return sorted(entries, key=lambda entry: entry.noted_s)

    def write(self, entry: Entry) -> None:
        """Note a copy, or note it anew; what goes wrong is logged: no copy fails for it."""
        path = self._folder / (entry.transfer_id + _SUFFIX)
        half = path.with_suffix(".half")
        fields = asdict(entry)
        del fields["transfer_id"]
        try:
            with half.open("w", encoding="utf-8") as file:
                json.dump(fields, file)
                file.flush()
                os.fsync(file.fileno())
            half.replace(path)
        except (OSError, ValueError) as error:  # a path may be no UTF-8
            self._log.warn("no note of {id}: {error}", id=entry.transfer_id, error=error)

    def drop(self, transfer_id: str) -> None:
        """Forget a copy of which nothing is left to do."""
        try:
            (self._folder / (transfer_id + _SUFFIX)).unlink(missing_ok=True)
        except OSError as error:
            self._log.warn("a note of {id} stays: {error}", id=transfer_id, error=error)

    def clear(self, entry: Entry) -> None:
        """Remove what is left of a copy that nobody goes on with, and forget it."""
        try:
            if entry.temporary:
                remove_at(entry.temporary, entry.transfer_id)
        except OSError as error:
            self._log.warn("{path} stays: {error}", path=entry.temporary, error=error)
        self.drop(entry.transfer_id)


def _entry(transfer_id: str, fields: Mapping[str, Any]) -> Entry:
    request, facts = dict(fields["request"]), dict(fields["facts"])
    request["direction"] = Direction(request["direction"])
    request["guest"] = GuestId(request["guest"])
    _ = request.pop("role", "")  # of an earlier version, without users
    request["roles"] = tuple(request.get("roles", ()))
    return Entry(
        **{
            **fields,
            "transfer_id": transfer_id,
            "request": CopyRequest(**request),
            "facts": FileFacts(**facts),
        }
    )
