"""Brings a task into the guest, begins it, and brings out what it has left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from vmcontroller.client.boinc import deciding, links, script
from vmcontroller.client.boinc.calling import Calling, Hopeless, Postponed
from vmcontroller.client.boinc.deciding import Later
from vmcontroller.client.boinc.failures import of_exit_code
from vmcontroller.client.boinc.job import Job, Task
from vmcontroller.client.boinc.progress import Progress, begun_anew
from vmcontroller.client.boinc.script import Place
from vmcontroller.client.errors import Fault

SHOWN_BYTES: Final = 65536
"""Of a task's stderr in stderr.txt."""


class Tasks:
    """The tasks of one job. The methods return the progress after them, and raise ClientError."""

    def __init__(
        self,
        calling: Calling,
        job: Job,
        *,
        slot: Path,
        say: Callable[[str], None],
        more: Sequence[str],
        threads: int,
    ) -> None:
        """`more` are the arguments the wrapper got; `threads` is how many the tasks may use."""
        self._calling = calling
        self._job = job
        self._slot = slot
        self._say = say
        self._more = more
        self._threads = threads

    def _now(self, progress: Progress) -> tuple[Task, Place]:
        number = progress.work.tasks_done
        return self._job.tasks[number], Place(directory=progress.directory, number=number)

    def copy_in(self, progress: Progress) -> Progress:
        """Bring the inputs of the next task into the guest; raises Hopeless, Interrupted."""
        task, place = self._now(progress)
        vm, calling = progress.vm, self._calling
        app = task.application.removeprefix("./")
        names = dict.fromkeys([*([app] if task.copy_app else []), *task.inputs])
        if task.stdin_filename:
            names[task.stdin_filename] = None
        folders = {str(Path(place.file(name)).parent) for name in (*names, *task.outputs)}
        calling.must(vm, "mkdir", ["-p", *sorted({place.directory, *folders})])
        for name in names:
            source = str(links.resolve(self._slot, name))
            calling.long("cpFileToVM", vm, source, place.file(name))
        if task.copy_app:
            calling.must(vm, "chmod", ["+x", place.file(app)])
        # What an earlier try has left would be taken for the end of this one.
        calling.must(vm, "rm", ["-f", place.end, f"{place.end}.runs"])
        return replace(progress, work=replace(progress.work, inputs_done=True))

    def begin(self, progress: Progress) -> Progress:
        """Begin the next task."""
        task, place = self._now(progress)
        words, environment = script.command(task, place, more=self._more, threads=self._threads)
        options = {"timeout": task.time_limit_s} if task.time_limit_s else {}
        cmd_id = self._calling.call(
            "runCmd", progress.vm, "sh", words, environment, place.directory, "", options
        )
        self._say(f"task {place.number}: {task.application} runs in {progress.vm!r}")
        return replace(progress, work=replace(progress.work, cmd_id=cmd_id))

    def collect(self, progress: Progress, end: deciding.Collect) -> Progress:
        """Bring out what a task has left; raises Hopeless, Postponed, Interrupted."""
        task, place = self._now(progress)
        meaning = of_exit_code(end.exit_code, task.retry_exit_codes, timed_out=end.timed_out)
        outputs = [*filter(None, [task.stdout_filename, task.stderr_filename]), *task.outputs]
        for name in outputs:
            self._copy_out(progress.vm, place.file(name), name, needed=meaning is None)
        if not task.stderr_filename:
            self._show(progress.vm, place.stream("stderr", ""))
        with contextlib.suppress(Fault):  # for the daemon it may not have ended
            self._calling.call("forgetCmd", progress.work.cmd_id)
        self._say(f"task {place.number} ended with exit code {end.exit_code}")
        if isinstance(meaning, Later):
            raise Postponed(meaning, replace(begun_anew(progress), losses=progress.losses))
        if meaning is not None:
            raise Hopeless(meaning)
        work = replace(
            begun_anew(progress).work,
            tasks_done=place.number + 1,
            cpu_before_s=progress.work.cpu_s,
        )
        return replace(progress, work=work, losses=0)

    def _copy_out(self, vm: str, path: str, name: str, *, needed: bool) -> None:
        """Copy a file out; that it is not there is the job's failure only if it is needed."""
        target = str(links.resolve(self._slot, name))
        try:
            self._calling.long("cpFileFromVM", vm, path, target)
        except Fault as fault:
            if needed or "NO_SUCH_FILE" not in fault.detail:
                raise
            self._say(f"there is no {name}")

    def _show(self, vm: str, path: str) -> None:
        result = self._calling.run(vm, "tail", ["-c", str(SHOWN_BYTES), path])
        if result["state"] == "ended" and result["out"]:
            self._say(f"stderr of the task:\n{result['out']}")
