"""Snapshots of local VMs on disk: copies of what its agent works on. Blocks; called in threads.

STATE_DIR/local/UUID/snapshots/index.json   what there is, written whole at each change
                               ID/root      the VM's root as it was
                               ID/state     what its agent keeps of commands and copies

What a crash leaves of a half-made or half-dropped one is not in the index, and goes with the next
change. Where the file system shares blocks between copies, they cost no space and no time.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import stat
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from vmcontroller.common.errors import HypervisorError, NoSuchSnapshot, SnapshotExists
from vmcontroller.host.hypervisor.local.store import LocalVm
from vmcontroller.host.hypervisor.snapshots import Snapshot
from vmcontroller.host.hypervisor.vm_state import VmState

PARTS: Final = ("root", "state")
_FICLONE: Final = 0x40049409


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    id: str
    name: str
    description: str
    created_s: float
    parent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    current: str
    entries: tuple[_Entry, ...]

    def find(self, vm: LocalVm, name: str) -> _Entry:
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise NoSuchSnapshot(vm.name, name)


def listed(vm: LocalVm) -> tuple[Snapshot, ...]:
    """Return a VM's snapshots; each leaves the VM off when it is restored."""
    index = _read(vm)
    return tuple(
        Snapshot(
            name=entry.name,
            description=entry.description,
            created_s=entry.created_s,
            state=VmState.POWERED_OFF,
            parent=entry.parent,
            is_current=entry.name == index.current,
        )
        for entry in index.entries
    )


def check_free(vm: LocalVm, name: str) -> None:
    """Raise SnapshotExists if the VM has one of this name."""
    if any(entry.name == name for entry in _read(vm).entries):
        raise SnapshotExists(vm.name, name)


def check_there(vm: LocalVm, name: str) -> None:
    """Raise NoSuchSnapshot if the VM has none of this name."""
    _ = _read(vm).find(vm, name)


def take(vm: LocalVm, name: str, description: str, now_s: float) -> None:
    """Copy the VM's directories, nothing of which may change meanwhile. All or nothing."""
    check_free(vm, name)
    index = _read(vm)
    entry = _Entry(
        id=uuid4().hex,
        name=name,
        description=description,
        created_s=now_s,
        parent=index.current,
    )
    target = _folder(vm) / entry.id
    with _failing(f"{vm.name!r} can't be copied"):
        _folder(vm).mkdir(mode=0o700, exist_ok=True)
        _drop_leftovers(vm, index)
        try:
            target.mkdir(mode=0o700)
            _copy_parts(vm.home, target)
            _write(vm, _Index(current=name, entries=(*index.entries, entry)))
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)
            raise


def prepare(vm: LocalVm, name: str) -> None:
    """Lay out beside the VM's directories what they were; it may still run."""
    source = _folder(vm) / _read(vm).find(vm, name).id
    unprepare(vm)
    with _failing(f"the snapshot {name!r} of {vm.name!r} can't be copied"):
        try:
            _copy_parts(source, vm.home, suffix=".new")
        except BaseException:
            unprepare(vm)
            raise


def unprepare(vm: LocalVm) -> None:
    """Remove what `prepare` laid out."""
    for part in PARTS:
        shutil.rmtree(vm.home / f"{part}.new", ignore_errors=True)


def restore(vm: LocalVm, name: str) -> None:
    """Put what `prepare` laid out into place; nothing of the VM may run."""
    index = _read(vm)
    with _failing(f"{vm.name!r} can't be put back"):
        for part in PARTS:
            now, new, old = (vm.home / f"{part}{suffix}" for suffix in ("", ".new", ".old"))
            shutil.rmtree(old, ignore_errors=True)
            if now.exists():
                now.rename(old)
            if new.exists():
                new.rename(now)
            shutil.rmtree(old, ignore_errors=True)
        _write(vm, replace(index, current=index.find(vm, name).name))


def delete(vm: LocalVm, name: str) -> None:
    """Drop one; its children become its parent's."""
    index = _read(vm)
    gone = index.find(vm, name)
    with _failing(f"the snapshot {name!r} of {vm.name!r} can't be dropped"):
        _write(
            vm,
            _Index(
                current=gone.parent if index.current == name else index.current,
                entries=tuple(
                    replace(each, parent=gone.parent) if each.parent == name else each
                    for each in index.entries
                    if each.name != name
                ),
            ),
        )
    shutil.rmtree(_folder(vm) / gone.id, ignore_errors=True)


def mend(vm: LocalVm) -> None:
    """Finish what a crash has interrupted in `restore`: a part that is away is put back."""
    for part in PARTS:
        now, old = vm.home / part, vm.home / f"{part}.old"
        if old.exists() and not now.exists():
            with contextlib.suppress(OSError):
                old.rename(now)
        shutil.rmtree(old, ignore_errors=True)
    unprepare(vm)


def _folder(vm: LocalVm) -> Path:
    return vm.home / "snapshots"


def _read(vm: LocalVm) -> _Index:
    try:
        text = (_folder(vm) / "index.json").read_text(encoding="utf-8")
    except FileNotFoundError:
        return _Index(current="", entries=())
    except OSError as error:
        raise HypervisorError("local", f"the snapshots of {vm.name!r}: {error}") from error
    try:
        record: Any = json.loads(text)
        entries = tuple(_Entry(**each) for each in record["snapshots"])
        return _Index(current=str(record["current"]), entries=entries)
    except (ValueError, KeyError, TypeError) as error:
        raise HypervisorError("local", f"the index of {vm.name!r}'s snapshots: {error}") from error


def _write(vm: LocalVm, index: _Index) -> None:
    record = {
        "current": index.current,
        "snapshots": [
            {
                "id": each.id,
                "name": each.name,
                "description": each.description,
                "created_s": each.created_s,
                "parent": each.parent,
            }
            for each in index.entries
        ],
    }
    new = _folder(vm) / "index.new"
    with new.open("w", encoding="ascii") as file:
        json.dump(record, file)
        file.flush()
        os.fsync(file.fileno())
    new.rename(_folder(vm) / "index.json")


def _drop_leftovers(vm: LocalVm, index: _Index) -> None:
    known = {entry.id for entry in index.entries}
    for found in _folder(vm).iterdir():
        if found.is_dir() and found.name not in known:
            shutil.rmtree(found, ignore_errors=True)


def _copy_parts(source: Path, target: Path, suffix: str = "") -> None:
    for part in PARTS:
        if (source / part).is_dir():
            shutil.copytree(
                source / part,
                target / f"{part}{suffix}",
                symlinks=True,
                copy_function=_copy_file,
            )


def _copy_file(source: str, target: str) -> str:
    """Copy one file, sharing its blocks where that can be; sockets and the like are left out."""
    if not stat.S_ISREG(os.lstat(source).st_mode):
        return target
    with open(source, "rb") as there, open(target, "wb") as here:
        try:
            fcntl.ioctl(here.fileno(), _FICLONE, there.fileno())
        except OSError:  # another file system, or one that can't
            shutil.copyfileobj(there, here, 2**20)
    shutil.copystat(source, target)
    return target


@contextlib.contextmanager
def _failing(what: str) -> Any:
    try:
        yield
    except (OSError, shutil.Error) as error:
        raise HypervisorError("local", f"{what}: {_short(error)}") from error


def _short(error: OSError) -> str:
    """Return the first reason: a copy of a tree collects one for each of its files."""
    reasons: Sequence[Any] = error.args[0] if isinstance(error, shutil.Error) else ()
    return str(reasons[0][2]) if reasons else str(error)
