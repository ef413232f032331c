"""What has been done of a job: kept in the slot, for any end of the wrapper may be a `kill -9`."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, Final

FILE_NAME: Final = "vmcontroller_boinc.json"
IN_GUEST: Final = "/var/tmp"  # noqa: S108 - of the guest, and of a name that nobody can guess


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """How far the tasks are: what a checkpoint goes back to."""

    tasks_done: int = 0
    inputs_done: bool = False
    """Whether the inputs of the task after those are in the guest."""
    cmd_id: str = ""
    """The command that began it; '': it has not begun."""
    cpu_before_s: float = 0.0
    """Of the tasks that are done."""
    cpu_task_s: float = 0.0
    fraction_task: float = 0.0
    elapsed_s: float = 0.0

    @property
    def cpu_s(self) -> float:
        """Processor time of all, in the guest."""
        return self.cpu_before_s + self.cpu_task_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A snapshot of the VM, and the work that is in it."""

    name: str
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How the job ends; decided for good. What is left is to tidy up."""

    code: int
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """All that the next wrapper has to know."""

    key: str
    """Which job of which result it is."""
    vm: str
    directory: str
    """Where the tasks run in the guest."""
    made: bool = False
    """Whether the VM is this job's own, to be removed. Set before it is made."""
    prepared: bool = False
    """Whether the VM is there, and in the state the job begins with."""
    was_off: bool = True
    """Whether a VM that was there before was off when it was found."""
    work: Work = Work()
    checkpoint: Checkpoint | None = None
    stale: tuple[str, ...] = ()
    """Snapshots that a newer one has replaced."""
    no_checkpoints: bool = False
    no_saving: bool = False
    """What the hypervisor turned out not to be able to."""
    losses: int = 0
    """How often work was lost since the last checkpoint, or the last task that was done."""
    failures: int = 0
    """How often the hypervisor has failed in it."""
    tidied: bool = False
    """At the end: whether a VM that stays is left as it was found."""
    ending: Ending | None = None

    @property
    def at_checkpoint_s(self) -> float:
        """Processor time that would not be lost if the VM went off now."""
        if self.checkpoint is not None:
            return self.checkpoint.work.cpu_s
        return self.work.cpu_before_s


def fresh(*, key: str, name: str, directory: str) -> Progress:
    """Return the progress of a job that has not begun."""
    vm = name or f"boinc_{key[:16]}"
    return Progress(key=key, vm=vm, directory=directory or f"{IN_GUEST}/boinc_{key[:16]}")


def key_of(result: str, job: bytes) -> str:
    """Return what tells this job of this result from any other."""
    return hashlib.sha256(result.encode() + b"\0" + job).hexdigest()


def back_to(progress: Progress, checkpoint: Checkpoint) -> Progress:
    """Return the progress of a VM that was taken back."""
    return replace(progress, work=checkpoint.work, losses=progress.losses + 1)


def begun_anew(progress: Progress) -> Progress:
    """Return the progress when the task that ran begins anew."""
    work = replace(progress.work, inputs_done=False, cmd_id="", cpu_task_s=0.0, fraction_task=0.0)
    return replace(progress, work=work, losses=progress.losses + bool(progress.work.cmd_id))


def without_vm(progress: Progress) -> Progress:
    """Return the progress when the VM is gone, and all that was in it."""
    return replace(
        progress,
        prepared=False,
        work=Work(elapsed_s=progress.work.elapsed_s),
        checkpoint=None,
        stale=(),
        losses=progress.losses + 1,
    )


def dump(progress: Progress) -> str:
    """Return it as text."""
    return json.dumps(asdict(progress), indent=1)


def load(text: str) -> Progress:
    """Return it from text; raises ValueError."""
    try:
        told = json.loads(text)
        checkpoint, ending = told["checkpoint"], told["ending"]
        return Progress(
            **_known(Progress, told)
            | {
                "work": Work(**_known(Work, told["work"])),
                "checkpoint": checkpoint
                and Checkpoint(name=checkpoint["name"], work=Work(**checkpoint["work"])),
                "ending": ending and Ending(**ending),
                "stale": tuple(told["stale"]),
            }
        )
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"{FILE_NAME}: {error!r}") from error


def _known(kind: type, told: dict[str, Any]) -> dict[str, Any]:
    names = {field.name for field in fields(kind)}
    return {name: value for name, value in told.items() if name in names}


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is the old one or the new one, never half of it; raises OSError."""
    part = path.with_name(f"{path.name}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
