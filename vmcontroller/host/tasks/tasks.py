"""All tasks of a daemon: begun, watched, cancelled, and kept for a while when they have ended."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextvars import copy_context
from typing import Final
from uuid import uuid4

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmcontroller.common.background import in_background
from vmcontroller.common.config import TasksConfig
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.errors import Busy, NoSuchTask, NotConnected, TransferFailed
from vmcontroller.host.callers import Caller
from vmcontroller.host.commands.waiting import Waiting
from vmcontroller.host.tasks.task import CURRENT, Copying, Job, Task, TaskState, weight_bytes

KEPT_BYTES: Final = 64 * 2**20
"""What the results of ended tasks may take; beyond it the oldest tasks are forgotten sooner."""
CANCEL_S: Final = 10.0
"""So long a cancelled copy may take to remove what has come of it, before that is answered."""
GRACE_S: Final = 4.0
"""So long the end of the daemon waits for what the hypervisor is doing; main gives all of it 10."""


class Tasks:
    """The tasks, by id. They are not kept over a restart of the daemon."""

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        wall_s: Callable[[], float],
        config: TasksConfig,
        ended: Callable[[Task], None] = lambda _: None,
    ) -> None:
        """`wall_s` is the time of day; `ended` gets each task that has ended."""
        self._clock = clock
        self._wall_s = wall_s
        self._config = config
        self._ended = ended
        self._tasks: dict[str, Task] = {}
        self._running: dict[str, Deferred[None]] = {}
        self._over: dict[str, tuple[float, int]] = {}
        """The ended, the oldest first: when, by the daemon's clock, and how much they take."""
        self._over_bytes = 0
        self._ends = Waiting(clock)
        self._stopping = False

    def begin(self, job: Job, *, vm: str = "", uuid: str = "") -> Task:
        """Begin a job that is about the VM with this name and UUID, if any.

        Raises Busy where too many tasks run, and NotConnected when the daemon stops.
        """
        if self._stopping:
            raise _stopping()
        self._need_room(job.caller)
        task = Task(task_id=uuid4().hex, job=job, vm=vm, uuid=uuid, created_at=self._wall_s())
        self._tasks[task.task_id] = task
        context = copy_context()
        _ = context.run(CURRENT.set, task)
        running = context.run(in_background, self._run(task), f"a task with {job.method}")
        if not task.has_ended:
            self._running[task.task_id] = running
        return task

    def _need_room(self, caller: Caller) -> None:
        most = self._config.at_once
        if len(self._running) >= most:
            raise Busy(f"{most} tasks run, and no more may at once (tasks.at_once)")
        own = sum(self._tasks[each].job.caller.key == caller.key for each in self._running)
        if own >= max(1, most // 2):
            raise Busy(f"{own} tasks of {caller.name!r} run: half of tasks.at_once")

    def find(self, task_id: str, caller: Caller) -> Task:
        """Return a task; raises NoSuchTask, also for one of somebody else."""
        task = self._tasks.get(task_id)
        if task is None or not task.is_of(caller):
            raise NoSuchTask(task_id)
        return task

    def all_of(self, caller: Caller) -> Sequence[Task]:
        """Return all tasks that a caller may see, the oldest first."""
        return [task for task in self._tasks.values() if task.is_of(caller)]

    async def wait(self, task_id: str, timeout_s: float, caller: Caller) -> Task:
        """Return a task as soon as it has ended, or when the time has passed."""
        task = self.find(task_id, caller)
        if not task.has_ended:
            await self._ends.until_woken(task_id, timeout_s)
        return task

    async def cancel(self, task_id: str, caller: Caller) -> bool:
        """Give up a wait or a copy; return False for what has ended or can't be cancelled.

        Of a cancelled copy nothing remains on this host when this returns.
        """
        task = self.find(task_id, caller)
        if task.has_ended:
            return False
        if task.job.only_waits:
            self._running[task_id].cancel()
            return True
        if not task.job.is_copy:
            task.say(f"{task.job.method} cannot be cancelled: it goes on in the hypervisor")
            return False
        task.cancelling = True
        if task.copying is not None:
            _ = await task.copying.cancel()
        await self._ends.until_woken(task_id, 0 if task.has_ended else CANCEL_S)
        return task.state in {TaskState.CANCELLED, TaskState.RUNNING}

    def copies(self, task: Task, copying: Copying) -> None:
        """Note that a task has begun a copy; it ends at once where it was cancelled before."""
        task.copying = copying
        if task.cancelling:
            _ = in_background(_done(copying.cancel), "cancelling a copy")

    def expire(self) -> None:
        """Forget what ended too long ago, and the oldest where there are too many."""
        now_s = self._clock.seconds()
        for task_id, (ended_s, weight) in list(self._over.items()):
            fits = len(self._over) <= self._config.keep and self._over_bytes <= KEPT_BYTES
            if fits and now_s - ended_s <= self._config.time_to_live:
                break
            del self._tasks[task_id], self._over[task_id]
            self._over_bytes -= weight

    async def stop(self) -> None:
        """Begin no more; give up the waits; let the rest end, or give that up after a while.

        Copies are left to the end of all copies, which keeps what has come of them.
        """
        self._stopping = True
        for task_id, running in list(self._running.items()):
            if self._tasks[task_id].job.only_waits:
                running.cancel()
        others = [each for each in self._running if not self._tasks[each].job.is_copy]
        until_s = self._clock.seconds() + GRACE_S
        for task_id in others:
            await self._ends.until_woken(task_id, until_s - self._clock.seconds())
            if task_id in self._running:
                task = self._tasks[task_id]
                self._log.warn(
                    "the daemon stops while a task is under way: {method} {vm}",
                    method=task.job.method,
                    vm=task.vm,
                )
                self._running[task_id].cancel()
        self._ends.end(_stopping())

    async def _run(self, task: Task) -> None:
        state, fault, detail = TaskState.FAILED, None, ""
        try:
            task.result = await task.job.work()
            state = TaskState.DONE
        except CancelledError:
            state = TaskState.CANCELLED
        except Exception as error:  # noqa: BLE001 - the task has failed, whatever it was
            if isinstance(error, TransferFailed) and error.reason == Reason.CANCELLED:
                state = TaskState.CANCELLED
            else:
                fault = task.job.fault_of(error)
                detail = fault.text
        task.ends(state, self._wall_s(), detail=detail, fault=fault)
        self._has_ended(task)

    def _has_ended(self, task: Task) -> None:
        self._running.pop(task.task_id, None)
        weight = weight_bytes(task.result)
        self._over[task.task_id] = (self._clock.seconds(), weight)
        self._over_bytes += weight
        self._ended(task)
        self._ends.wake(task.task_id)
        self.expire()


async def _done(cancel: Callable[[], Awaitable[bool]]) -> None:
    _ = await cancel()


def _stopping() -> NotConnected:
    return NotConnected("the daemon stops; tasks are not kept over that")
