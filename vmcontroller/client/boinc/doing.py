"""Does what was decided, over XML-RPC, and writes down what that changes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from vmcontroller.client.boinc import deciding, links
from vmcontroller.client.boinc.calling import Calling, Postponed
from vmcontroller.client.boinc.checkpoints import Checkpoints
from vmcontroller.client.boinc.deciding import Action
from vmcontroller.client.boinc.job import Job
from vmcontroller.client.boinc.orphans import owner_at
from vmcontroller.client.boinc.progress import Progress, begun_anew, without_vm
from vmcontroller.client.boinc.tasks import Tasks
from vmcontroller.client.errors import Fault, Unauthorized, Unreachable


class Doing:
    """One job's VM, and what is done with it."""

    def __init__(
        self,
        calling: Calling,
        job: Job,
        tasks: Tasks,
        *,
        slot: Path,
        keep: Callable[[Progress], None],
        say: Callable[[str], None],
    ) -> None:
        """`keep` writes the progress down, `say` is for people."""
        self._calling = calling
        self._job = job
        self._tasks = tasks
        self._checkpoints = Checkpoints(calling, keep=keep, say=say)
        self._slot = slot
        self._keep = keep
        self._say = say

    def do(self, action: Action, progress: Progress) -> Progress:
        """Do it and return what the progress is then.

        Raises ClientError, Hopeless, Postponed and Interrupted.
        """
        after = self._do(action, progress)
        if after != progress:
            self._keep(after)
        return after

    def _do(self, action: Action, progress: Progress) -> Progress:
        match action:
            case deciding.Make():
                progress = self._make(progress)
            case deciding.Prepare():
                progress = self._prepare(progress, was_off=action.was_off)
            case deciding.Ask():
                progress = self._ask(progress, action.method)
            case deciding.SaveState():
                progress = self._save_state(progress)
            case deciding.Tidy():
                progress = self._tidy(progress, in_guest=action.in_guest)
            case deciding.Postpone():
                raise Postponed(action.later, progress)
            case deciding.Conclude():
                self._say(f"the job ends: {action.ending.message or 'all tasks are done'}")
                progress = replace(progress, ending=action.ending)
            case _:
                progress = self._work(action, progress)
        return progress

    def _work(self, action: Action, progress: Progress) -> Progress:
        match action:
            case deciding.GoBack():
                progress = self._checkpoints.go_back(progress)
            case deciding.TakeCheckpoint():
                progress = self._checkpoints.take(progress, action.name)
            case deciding.BeginAnew():
                self._say(f"task {progress.work.tasks_done} begins anew: {action.why}")
                progress = begun_anew(progress)
            case deciding.MakeAnew():
                self._say("the job begins anew: its VM was removed")
                progress = without_vm(progress)
            case deciding.CopyIn():
                progress = self._tasks.copy_in(progress)
            case deciding.Run():
                progress = self._tasks.begin(progress)
            case deciding.Collect():
                progress = self._tasks.collect(progress, action)
        return progress

    def _make(self, progress: Progress) -> Progress:
        vm = self._job.vm
        image = str(links.resolve(self._slot, vm.image)) if vm.image else ""
        options: dict[str, Any] = {
            "clone": vm.clone,
            "memory": vm.memory_mib,
            "vcpus": vm.vcpus,
            "network": vm.network,
            "description": owner_at(self._slot).label(),
        }
        intent = replace(progress, made=True)
        self._keep(intent)  # before it is there: a wrapper that is killed now leaves no orphan
        try:
            given = {name: value for name, value in options.items() if value}
            self._calling.long("createVM", progress.vm, image, given)
        except (Fault, Unauthorized, Unreachable):  # nothing was made
            self._keep(progress)
            raise
        self._say(f"made the VM {progress.vm!r} of {image}")
        return intent

    def _prepare(self, progress: Progress, *, was_off: bool) -> Progress:
        if self._job.vm.snapshot:
            self._calling.call("restoreSnapshot", progress.vm, self._job.vm.snapshot)
        return replace(progress, prepared=True, was_off=was_off)

    def _ask(self, progress: Progress, method: str) -> Progress:
        self._say(f"{method} {progress.vm!r}")
        self._calling.call(method, progress.vm)
        return progress

    def _save_state(self, progress: Progress) -> Progress:
        try:
            return self._ask(progress, "saveState")
        except Fault as fault:
            if fault.name not in {"UNSUPPORTED", "NO_SUCH_METHOD"}:
                raise
            return replace(progress, no_saving=True)

    def _tidy(self, progress: Progress, *, in_guest: bool) -> Progress:
        if in_guest:
            if progress.work.cmd_id:
                with contextlib.suppress(Fault):
                    self._calling.call("killCmd", progress.work.cmd_id, "KILL")
            if not self._job.vm.directory:
                self._calling.run(progress.vm, "rm", ["-rf", progress.directory])
        return replace(self._checkpoints.remove(progress), tidied=True)
