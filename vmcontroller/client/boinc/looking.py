"""Looks at a job's VM and at the task in it, over XML-RPC."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from vmcontroller.client.boinc import script
from vmcontroller.client.boinc.calling import Calling, Host
from vmcontroller.client.boinc.deciding import Seen
from vmcontroller.client.boinc.job import Job
from vmcontroller.client.boinc.messages import Control
from vmcontroller.client.boinc.progress import Progress
from vmcontroller.client.boinc.script import Place, TaskSeen, TaskState
from vmcontroller.client.errors import Fault, NoSuchCommand, NoSuchVM

PING_S: Final = 2.0
TURN_S: Final = 1.0
"""How long one waits for the end of a task, before one looks at all else again."""
PROBE_S: Final = 5.0
"""How often one looks into the guest for the processor time and the fraction done."""


class Looking:
    """Sees what `decide` has to know."""

    def __init__(
        self, host: Host, job: Job, *, now_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._host = host
        self._calling = Calling(host)
        self._job = job
        self._now_s = now_s
        self._probed_s = float("-inf")

    def look(self, progress: Progress, control: Control) -> Seen:
        """Look at all there is; waits up to a second for the end of a task. Raises ClientError."""
        state = self._state(progress.vm)
        quiet = control.ends or control.suspended or progress.ending is not None
        wanted = progress.ending is not None or not control.ends
        agent = wanted and state == "Running" and self._answers(progress.vm)
        task = None
        if agent and not quiet and progress.work.cmd_id:
            task = self._task(progress)
        return Seen(now_s=self._now_s(), control=control, vm_state=state, agent=agent, task=task)

    def _state(self, vm: str) -> str | None:
        try:
            return str(self._host.call("getState", vm))
        except NoSuchVM:
            return None

    def _answers(self, vm: str) -> bool:
        """Any Fault of a ping means: not yet."""
        try:
            self._host.call("ping", vm, PING_S, wait_s=PING_S)
        except Fault:
            return False
        return True

    def _task(self, progress: Progress) -> TaskSeen:
        result = self._result(progress.work.cmd_id)
        runs = result["state"] in {"sent", "running"}
        if runs and self._now_s() - self._probed_s < PROBE_S:
            return TaskSeen(
                state=TaskState.RUNNING,
                cpu_s=progress.work.cpu_task_s,
                fraction_done=progress.work.fraction_task,
            )
        self._probed_s = self._now_s()
        seen = self._probe(progress)
        if seen.state is TaskState.NOTHING:
            return _without_a_trace(result)
        return seen

    def _result(self, cmd_id: str) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = self._host.call("waitCmd", cmd_id, TURN_S, wait_s=TURN_S)
        except NoSuchCommand:  # forgotten; what is in the guest counts
            return {"state": "lost"}
        return answer

    def _probe(self, progress: Progress) -> TaskSeen:
        number = progress.work.tasks_done
        place = Place(directory=progress.directory, number=number)
        words = script.probe(self._job.tasks[number], place)
        result = self._calling.run(progress.vm, "sh", words)
        if result["state"] != "ended":
            return TaskSeen(state=TaskState.UNKNOWN)
        return script.seen(result["out"])


def _without_a_trace(result: Mapping[str, Any]) -> TaskSeen:
    """Tell of a task that has left nothing in the guest, by its command's result alone."""
    if result["state"] in {"sent", "running"}:  # it is about to begin
        return TaskSeen(state=TaskState.RUNNING)
    if result["state"] != "ended":
        return TaskSeen(state=TaskState.NOTHING)
    code = int(result["exitCodeOrSignal"])
    return TaskSeen(
        state=TaskState.ENDED,
        exit_code=code if result["finished"] else 128 + code,
        timed_out=bool(result.get("timedOut")),
    )
