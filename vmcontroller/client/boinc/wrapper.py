"""The loop: look, decide, do; until the job is done, or the client wants something else."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol

from vmcontroller.client.boinc.calling import Hopeless, Interrupted, Postponed
from vmcontroller.client.boinc.deciding import (
    Action,
    Conclude,
    Finish,
    Idle,
    Later,
    Leave,
    Seen,
    Session,
    TakeCheckpoint,
    decide,
    next_session,
)
from vmcontroller.client.boinc.doing import Doing
from vmcontroller.client.boinc.failures import Again, classify
from vmcontroller.client.boinc.job import Job, fractions
from vmcontroller.client.boinc.looking import Looking
from vmcontroller.client.boinc.messages import Control, Status
from vmcontroller.client.boinc.progress import Progress
from vmcontroller.client.boinc.script import TaskState
from vmcontroller.client.errors import ClientError, Fault

TURN_S: Final = 1.0
AGAIN_S: Final = 2.0
AT_REST: Final = frozenset({"Saved", "Paused"})
"""A VM that was left so has lost nothing when the job goes on."""
KEEP_S: Final = 30.0
"""How often the progress is written down though nothing but time has passed."""


class Link(Protocol):
    """The conversation with BOINC's client: a ClientLink."""

    @property
    def control(self) -> Control:
        """What the client wants now."""
        ...

    def report(self, status: Status) -> None:
        """Tell it how far the job is."""
        ...

    def rest(self, longest_s: float) -> None:
        """Wait so long, or until it wants something else."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the loop is made of."""

    job: Job
    looking: Looking
    doing: Doing
    link: Link
    keep: Callable[[Progress], None]
    say: Callable[[str], None]


class Wrapper:
    """One run of the wrapper."""

    def __init__(
        self,
        parts: Parts,
        progress: Progress,
        *,
        period_s: float,
        offset_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Checkpoints come every `period_s` of work; the first so much later than that."""
        self._parts = parts
        self._fractions = fractions(parts.job)
        self.progress = progress
        self._period_s = period_s
        first_s = progress.work.elapsed_s + period_s + offset_s
        self._session = Session(checkpoint_at_s=first_s if parts.job.checkpoints else float("inf"))
        self._now_s = now_s
        self._turned_s = self._kept_s = now_s()
        self._failing_since_s: float | None = None
        self._last: Action = Idle()

    def run(self) -> Finish | Leave:
        """Return how it ended; all else is done."""
        while True:
            action = self._turn()
            if isinstance(action, Finish | Leave):
                return action

    def _turn(self) -> Action:
        parts = self._parts
        try:
            seen = parts.looking.look(self.progress, parts.link.control)
            self._note(seen)
            action = decide(parts.job, self.progress, self._session, seen)
            if isinstance(action, TakeCheckpoint):
                next_s = self.progress.work.elapsed_s + self._period_s
                self._session = replace(self._session, checkpoint_at_s=next_s)
            in_vain = action == self._last
            self._last = action
            self.progress = parts.doing.do(action, self.progress)
            if not isinstance(action, Idle):
                # What was done is no work: or where snapshots take long there would be little else.
                self._turned_s = self._now_s()
            if isinstance(action, Leave) and seen.vm_state in AT_REST:
                status = self.status()
                parts.link.report(replace(status, checkpoint_cpu_s=status.cpu_s))
            self._failing_since_s = None
        except Interrupted:
            return Idle()
        except Hopeless as hopeless:
            self._conclude(Conclude(hopeless.ending))
            return Idle()
        except Postponed as postponed:
            self.progress = postponed.progress
            parts.keep(self.progress)
            self._session = replace(self._session, later=postponed.later)
            return Idle()
        except ClientError as error:
            return self._failed(error)
        if in_vain or isinstance(action, Idle):  # the same again at once would not help
            parts.link.rest(TURN_S)
        return action

    def _conclude(self, action: Conclude) -> None:
        self.progress = self._parts.doing.do(action, self.progress)

    def _note(self, seen: Seen) -> None:
        """Take over what was seen, and tell the client."""
        now_s = self._now_s()
        passed_s, self._turned_s = now_s - self._turned_s, now_s
        self._session = next_session(self._session, seen)
        work = self.progress.work
        if seen.task is not None and seen.task.state in {TaskState.RUNNING, TaskState.ENDED}:
            fraction = seen.task.fraction_done
            work = replace(
                work,
                cpu_task_s=max(work.cpu_task_s, seen.task.cpu_s),
                fraction_task=fraction if fraction >= 0 else work.fraction_task,
                elapsed_s=work.elapsed_s + passed_s,
            )
            self.progress = replace(self.progress, work=work)
        if now_s - self._kept_s > KEEP_S:
            self._kept_s = now_s
            self._parts.keep(self.progress)
        self._parts.link.report(self.status())

    def status(self) -> Status:
        """Return how far the job is."""
        work = self.progress.work
        begin = self._fractions[work.tasks_done]
        end = self._fractions[min(work.tasks_done + 1, len(self._fractions) - 1)]
        return Status(
            cpu_s=work.cpu_s,
            checkpoint_cpu_s=self.progress.at_checkpoint_s,
            fraction_done=begin + work.fraction_task * (end - begin),
        )

    def _failed(self, error: ClientError) -> Action:
        parts = self._parts
        now_s = self._now_s()
        parts.say(str(error))
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if isinstance(error, Fault) and error.name == "HYPERVISOR_ERROR":
            self.progress = replace(self.progress, failures=self.progress.failures + 1)
            parts.keep(self.progress)
        verdict = classify(
            error,
            failures=self.progress.failures,
            failing_for_s=now_s - self._failing_since_s,
        )
        leaving = parts.link.control.ends or self._session.later is not None
        if self.progress.ending is not None and not isinstance(verdict, Again):
            # The job has its end, but something of it is left: the next start tidies up.
            return Leave(verdict if isinstance(verdict, Later) else Later(300, str(error)))
        if leaving and not (isinstance(error, Fault) and isinstance(verdict, Again)):
            return Leave(self._session.later)
        if isinstance(verdict, Again):
            parts.link.rest(AGAIN_S)
        elif isinstance(verdict, Later):
            self._session = replace(self._session, later=verdict)
        else:
            self._conclude(Conclude(verdict))
        return Idle()
