"""What is to be done next, from what is seen. Pure: no clock, no files, no calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from vmcontroller.client.boinc.job import Job
from vmcontroller.client.boinc.messages import Control, ExitCode
from vmcontroller.client.boinc.progress import Ending, Progress
from vmcontroller.client.boinc.script import TaskSeen, TaskState

MOST_LOSSES: Final = 20
"""A job that loses its work so often, with no checkpoint between, will not end."""

OFF: Final = frozenset({"PoweredOff", "Aborted"})
ON: Final = frozenset({"Running", "Paused"})


@dataclass(frozen=True, slots=True)
class Later:
    """The wrapper is to end, and be started again after a while."""

    delay_s: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What there is to see just now."""

    now_s: float
    control: Control = Control()
    vm_state: str | None = None
    """None: there is no such VM."""
    agent: bool = False
    """Whether the guest's agent answers."""
    task: TaskSeen | None = None
    """None: there was no reason to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What this run of the wrapper knows beside the progress; it ends with it."""

    waits_since_s: float | None = None
    """Since when the VM runs and its agent is not there."""
    checkpoint_at_s: float = float("inf")
    """The elapsed time of the job at which a checkpoint is due."""
    later: Later | None = None
    """Why the wrapper is about to end for a while."""


class Action:
    """Something to do; what it changes of the progress is written down by who does it."""


@dataclass(frozen=True, slots=True)
class Make(Action):
    """Make the VM of the job's image."""


@dataclass(frozen=True, slots=True)
class Prepare(Action):
    """Note how a VM was found, and take it to the snapshot that the job begins with."""

    was_off: bool


@dataclass(frozen=True, slots=True)
class Ask(Action):
    """Ask the hypervisor for something that has no more to it than its name."""

    method: str


@dataclass(frozen=True, slots=True)
class GoBack(Action):
    """Take the VM back to the checkpoint, and the work with it."""


@dataclass(frozen=True, slots=True)
class BeginAnew(Action):
    """Let the task that ran begin again."""

    why: str


@dataclass(frozen=True, slots=True)
class MakeAnew(Action):
    """Begin the whole job again: somebody has removed its VM."""


@dataclass(frozen=True, slots=True)
class CopyIn(Action):
    """Bring the inputs of the next task into the guest."""


@dataclass(frozen=True, slots=True)
class Run(Action):
    """Begin the next task."""


@dataclass(frozen=True, slots=True)
class Collect(Action):
    """Bring out what a task has left; it has ended."""

    exit_code: int
    timed_out: bool = False


@dataclass(frozen=True, slots=True)
class TakeCheckpoint(Action):
    """Take a snapshot, and delete the one before."""

    name: str


@dataclass(frozen=True, slots=True)
class SaveState(Action):
    """Write the VM's memory to disk, and switch it off."""


@dataclass(frozen=True, slots=True)
class Tidy(Action):
    """Remove from a VM that stays what the job has left in it."""

    in_guest: bool


@dataclass(frozen=True, slots=True)
class Conclude(Action):
    """Decide for good how the job ends."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class Finish(Action):
    """End, and say that the job is done."""

    ending: Ending


@dataclass(frozen=True, slots=True)
class Leave(Action):
    """End; the job is to go on when the client starts it again, or not before `later` says."""

    later: Later | None = None


@dataclass(frozen=True, slots=True)
class Postpone(Action):
    """End, once the VM is at rest, and go on later."""

    later: Later


@dataclass(frozen=True, slots=True)
class Idle(Action):
    """Nothing: look again a little later."""


def decide(job: Job, progress: Progress, session: Session, seen: Seen) -> Action:
    """Return what to do next. In a steady state it is Idle."""
    if progress.ending is not None:
        return _end(progress, progress.ending, seen)
    return (
        _as_the_client_wants(progress, session, seen)
        or _with_a_vm_that_runs(job, progress, seen)
        or _work(job, progress, session, seen)
    )


def _as_the_client_wants(progress: Progress, session: Session, seen: Seen) -> Action | None:
    if seen.control.abort:
        return Conclude(Ending(code=ExitCode.ABORTED_BY_CLIENT, message="aborted by the client"))
    if seen.control.ends or session.later is not None:
        return _leave(progress, session, seen)
    return None


def _with_a_vm_that_runs(job: Job, progress: Progress, seen: Seen) -> Action | None:
    """Return what is missing for that: None, if it runs."""
    if seen.vm_state is None:
        return _without_vm(job, progress)
    if not progress.prepared:
        return Prepare(was_off=seen.vm_state not in ON)
    if progress.losses > MOST_LOSSES:
        text = f"the work was lost {progress.losses} times, and never came to its end"
        return Conclude(Ending(code=ExitCode.CHILD_FAILED, message=text))
    if seen.control.suspended:
        return Ask("pause") if seen.vm_state == "Running" else Idle()
    return _power_on(progress, seen.vm_state)


def _without_vm(job: Job, progress: Progress) -> Action:
    if progress.prepared and progress.made and progress.losses <= MOST_LOSSES:
        return MakeAnew()
    if progress.prepared or job.vm.image is None:
        text = f"there is no VM {progress.vm!r}, and no image to make it of"
        return Conclude(Ending(code=ExitCode.INIT_FAILURE, message=text))
    return Make()


def _power_on(progress: Progress, vm_state: str) -> Action | None:
    if vm_state in OFF and progress.checkpoint is not None:
        return GoBack()
    if vm_state in OFF and (progress.work.cmd_id or progress.work.inputs_done):
        return BeginAnew("its VM was off")
    if vm_state in {*OFF, "Saved"}:
        return Ask("start")
    if vm_state == "Paused":
        return Ask("resume")
    return None if vm_state == "Running" else Idle()


def _work(job: Job, progress: Progress, session: Session, seen: Seen) -> Action:
    """Decide in a VM that runs."""
    work = progress.work
    if not seen.agent:
        return _without_agent(job, progress, session, seen.now_s)
    if work.tasks_done == len(job.tasks):
        return Conclude(Ending(code=ExitCode.OK))
    if not work.inputs_done:
        return CopyIn()
    if not work.cmd_id:
        return Run()
    action = _with_a_task(seen.task)
    due = work.elapsed_s >= session.checkpoint_at_s and not progress.no_checkpoints
    if action is None and due:
        return TakeCheckpoint(f"boinc_{int(work.elapsed_s)}")
    return action or Idle()


def _without_agent(job: Job, progress: Progress, session: Session, now_s: float) -> Action:
    since_s = now_s if session.waits_since_s is None else session.waits_since_s
    if now_s - since_s < job.start_deadline_s:
        return Idle()
    text = f"the agent of {progress.vm!r} did not come up in {job.start_deadline_s:.0f} s"
    return Postpone(Later(300, text))


def _with_a_task(task: TaskSeen | None) -> Action | None:
    """Return what the state of the task asks for; None: it runs."""
    if task is None or task.state is TaskState.UNKNOWN:
        return Idle()
    if task.state is TaskState.NOTHING:
        return BeginAnew("it is not in the guest any more")
    if task.state is TaskState.ENDED:
        return Collect(task.exit_code, task.timed_out)
    return None


def _leave(progress: Progress, session: Session, seen: Seen) -> Action:
    """Put the VM to rest: what it has done stays, and it uses no processor; best no memory."""
    leave = Leave(session.later)
    if not progress.prepared or seen.vm_state in {None, *OFF, "Saved"}:
        return leave
    if seen.vm_state not in ON:
        return Idle()
    if not progress.no_saving:
        return SaveState()
    return Ask("pause") if seen.vm_state == "Running" else leave


def _end(progress: Progress, ending: Ending, seen: Seen) -> Action:
    """Leave nothing of a VM that was made for the job, and another as it was found."""
    state = seen.vm_state
    if state is None or not (progress.made or progress.prepared):
        return Finish(ending)
    if not progress.made:
        return _end_with_a_vm_that_stays(progress, ending, seen)
    if state in ON:
        return Ask("powerOff")
    if state == "Saved":
        return Ask("discardState")
    return Ask("removeVM") if state in OFF else Idle()


def _end_with_a_vm_that_stays(progress: Progress, ending: Ending, seen: Seen) -> Action:
    if not progress.tidied:
        return Tidy(in_guest=seen.agent)
    if progress.was_off and seen.vm_state in ON:
        return Ask("powerOff")
    if progress.was_off and seen.vm_state == "Saved":
        return Ask("discardState")
    if not progress.was_off and seen.vm_state == "Paused":
        return Ask("resume")
    return Finish(ending)


def next_session(session: Session, seen: Seen) -> Session:
    """Return what is to be remembered of a look."""
    if seen.vm_state != "Running" or seen.agent:
        return replace(session, waits_since_s=None)
    if session.waits_since_s is None:
        return replace(session, waits_since_s=seen.now_s)
    return session
