"""The files that are made for VMs, and the record by which they are known again. Blocks.

DIRECTORY/UUID/made.json   whose they are, which they are, and how far things are
               ...         disks and seed, as the record lists them

A record is written before the files it lists, and is gone after them. Nothing else is ever
removed: what the record doesn't list stays, and with it the directory.
"""

from __future__ import annotations

import contextlib
import json
import os
import uuid as uuids
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path

RECORD = "made.json"


class Stage(StrEnum):
    """How far a VM with such files is."""

    MAKING = "making"
    """It may not be there: a daemon that ends now leaves files that nobody has."""
    MADE = "made"
    REMOVING = "removing"
    """It may be gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What was made for one VM."""

    uuid: str
    vm: str
    """Its name then."""
    hypervisor: str
    stage: Stage
    files: tuple[str, ...]
    """Names within its directory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What came of a look at all records."""

    removed: tuple[str, ...]
    """UUIDs of VMs that never were, or were being removed; their files are gone."""
    orphans: tuple[Record, ...]
    """Of VMs that others have removed: their files stay."""


class MadeFiles:
    """The directories below one directory; those of other hypervisors are left alone."""

    def __init__(self, directory: Path, hypervisor: str) -> None:
        self._directory = directory
        self._hypervisor = hypervisor

    def path(self, uuid: str, name: str) -> str:
        """Return where a file of a VM is."""
        return str(self._directory / uuid / name)

    def begin(self, uuid: str, vm: str, files: Sequence[str]) -> None:
        """Make a VM's directory and its record; the files may be made then. Raises OSError."""
        home = self._directory / uuid
        home.mkdir(mode=0o711)
        home.chmod(0o711)  # whatever the umask: QEMU's own user has to pass
        self._write(
            Record(
                uuid=uuid,
                vm=vm,
                hypervisor=self._hypervisor,
                stage=Stage.MAKING,
                files=tuple(files),
            )
        )

    def mark(self, uuid: str, stage: Stage) -> None:
        """Note how far a VM is; one without files is none of ours. Raises OSError."""
        record = self._read(uuid)
        if record is not None:
            with contextlib.suppress(FileNotFoundError):  # removed at the same time
                self._write(replace(record, stage=stage))

    def files(self, uuid: str) -> tuple[str, ...]:
        """Return the paths of what was made for a VM."""
        record = self._read(uuid)
        return () if record is None else tuple(self.path(uuid, name) for name in record.files)

    def drop(self, uuid: str, keep: Collection[str] = ()) -> None:
        """Remove the files of a VM, but for those paths that others need. Raises OSError."""
        record = self._read(uuid)
        if record is None:
            if _is_uuid(uuid):
                self._clear(uuid)  # not even the record was written
            return
        kept = tuple(name for name in record.files if self.path(uuid, name) in keep)
        for name in record.files:
            if name not in kept:
                Path(self.path(uuid, name)).unlink(missing_ok=True)
        if kept:
            self._write(replace(record, stage=Stage.MADE, files=kept))
            return
        self._clear(uuid)

    def sweep(self, is_there: Callable[[str], bool]) -> Sweep:
        """Bring all to an end that an earlier daemon left half done.

        `is_there` tells whether a VM has a UUID. Raises OSError.
        """
        removed, orphans = [], []
        for uuid in self._uuids():
            record = self._read(uuid)
            if record is None:
                self._clear(uuid)
            elif record.hypervisor != self._hypervisor:
                continue
            elif is_there(uuid):
                if record.stage is not Stage.MADE:
                    self.mark(uuid, Stage.MADE)
            elif record.stage is Stage.MADE:
                orphans.append(record)
            else:
                self.drop(uuid)
                removed.append(uuid)
        return Sweep(removed=tuple(removed), orphans=tuple(orphans))

    def _uuids(self) -> Iterator[str]:
        """Yield the names of directories that can be ours."""
        for entry in sorted(self._directory.iterdir()):
            if entry.is_dir() and not entry.is_symlink() and _is_uuid(entry.name):
                yield entry.name

    def _read(self, uuid: str) -> Record | None:
        """Return a VM's record; None where there is none, or none of ours."""
        if not _is_uuid(uuid):
            return None
        try:
            found = json.loads((self._directory / uuid / RECORD).read_text(encoding="utf-8"))
            record = Record(
                **{**found, "stage": Stage(found["stage"]), "files": tuple(found["files"])}
            )
        except (OSError, ValueError, TypeError, KeyError):
            return None
        names_ok = all(name not in {"", ".", ".."} and "/" not in name for name in record.files)
        return record if names_ok and record.uuid == uuid else None

    def _write(self, record: Record) -> None:
        path = self._directory / record.uuid / RECORD
        new = path.with_suffix(".new")
        with open(new, "w", encoding="utf-8", opener=_private) as file:
            json.dump(asdict(record), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)

    def _clear(self, uuid: str) -> None:
        """Remove a directory of which only our record can be left."""
        home = self._directory / uuid
        if self._read(uuid) is not None or not (home / RECORD).exists():
            for name in (RECORD, f"{Path(RECORD).stem}.new"):
                (home / name).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # it holds what is not ours
                home.rmdir()


def _is_uuid(name: str) -> bool:
    try:
        return str(uuids.UUID(name)) == name
    except ValueError:
        return False


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_CLOEXEC, 0o600)
