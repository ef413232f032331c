"""Takes and deletes the snapshots that a job goes back to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vmcontroller.client.boinc.calling import Calling
from vmcontroller.client.boinc.deciding import ON
from vmcontroller.client.boinc.progress import Checkpoint, Progress, back_to, begun_anew
from vmcontroller.client.errors import Fault


class Checkpoints:
    """The checkpoints of one job. The methods return what the progress is then."""

    def __init__(
        self, calling: Calling, *, keep: Callable[[Progress], None], say: Callable[[str], None]
    ) -> None:
        self._calling = calling
        self._keep = keep
        self._say = say

    def take(self, progress: Progress, name: str) -> Progress:
        """Take one, and delete the one before; that it fails is no failure of the job."""
        # Until it is noted as the checkpoint it is one to be deleted: whoever is killed meanwhile
        # leaves nothing in a VM that is not the job's own.
        old = progress
        progress = replace(old, stale=(*old.stale, name))
        self._keep(progress)
        try:
            self._snapshot(progress.vm, name)
            if self._state_in(progress.vm, name) not in ON:  # it went off just before
                self._say("no checkpoint: the VM was off")
                return self._delete_stale(progress)
        except Fault as fault:
            self._say(f"no checkpoint: {fault}")
            cannot = fault.name in {"UNSUPPORTED", "NO_SUCH_METHOD"}
            return replace(progress, stale=old.stale, no_checkpoints=cannot)
        progress = replace(
            progress,
            checkpoint=Checkpoint(name=name, work=progress.work),
            stale=(*(each for each in old.stale if each != name), *_name_of(old.checkpoint)),
            losses=0,
        )
        self._keep(progress)  # before the older is deleted: one of them is always good
        self._say(f"checkpoint {name}")
        return self._delete_stale(progress)

    def go_back(self, progress: Progress) -> Progress:
        """Take the VM back to the checkpoint, if it is there still."""
        checkpoint = progress.checkpoint
        assert checkpoint is not None
        try:
            self._calling.call("restoreSnapshot", progress.vm, checkpoint.name)
        except Fault as fault:
            if fault.name != "NO_SUCH_SNAPSHOT":
                raise
            self._say(f"the checkpoint {checkpoint.name} is gone")
            return begun_anew(replace(progress, checkpoint=None))
        self._say(f"went back to the checkpoint {checkpoint.name}")
        return back_to(progress, checkpoint)

    def remove(self, progress: Progress) -> Progress:
        """Delete all of them."""
        stale = (*progress.stale, *_name_of(progress.checkpoint))
        return self._delete_stale(replace(progress, stale=stale, checkpoint=None))

    def _snapshot(self, vm: str, name: str) -> None:
        try:
            self._calling.call("takeSnapshot", vm, name, "checkpoint of a BOINC job")
        except Fault as fault:
            if fault.name != "SNAPSHOT_EXISTS":  # of a wrapper that was killed meanwhile
                raise
            self._calling.call("deleteSnapshot", vm, name)
            self._calling.call("takeSnapshot", vm, name, "checkpoint of a BOINC job")

    def _state_in(self, vm: str, name: str) -> str:
        """Return the state that a VM has in a snapshot; '' if there is no such snapshot."""
        left = list(self._calling.call("getSnapshots", vm))
        while left:
            snapshot = left.pop()
            if snapshot["name"] == name:
                return str(snapshot["state"])
            left += snapshot["children"]
        return ""

    def _delete_stale(self, progress: Progress) -> Progress:
        left = []
        for name in progress.stale:
            try:
                self._calling.call("deleteSnapshot", progress.vm, name)
            except Fault as fault:
                if fault.name not in {"NO_SUCH_SNAPSHOT", "NO_SUCH_VM"}:
                    left.append(name)
        return replace(progress, stale=tuple(left))


def _name_of(checkpoint: Checkpoint | None) -> list[str]:
    return [checkpoint.name] if checkpoint is not None else []
