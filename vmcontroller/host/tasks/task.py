"""One task: what it is to do, for whom, where it stands, how it ended. No I/O, no clock."""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from vmcontroller.host.callers import ADMIN, Caller

UNKNOWN: Final = -1.0
"""A progress that nobody knows."""


class TaskState(enum.StrEnum):
    """Where a task is on its way."""

    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TaskFault(NamedTuple):
    """What the call would have answered that failed."""

    code: int
    text: str


class Standing(NamedTuple):
    """How far something has come."""

    progress: float
    """0 to 1, or UNKNOWN."""
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A call that is to be a task; its arguments and its caller's role are checked."""

    method: str
    vm: str = ""
    """The VM that it is about, as the caller named it; empty: none."""
    caller: Caller
    work: Callable[[], Coroutine[Any, Any, object]]
    """Makes the call."""
    fault_of: Callable[[Exception], TaskFault]
    """Turns what it raised into what its caller is told."""
    only_waits: bool = False
    """Nothing is lost when it is given up."""
    is_copy: bool = False
    """It can be cancelled, and then nothing of it remains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Copying:
    """The copy that a task has begun."""

    look: Callable[[], Standing]
    cancel: Callable[[], Awaitable[bool]]
    """Answers whether there was something to cancel."""


@dataclass(slots=True, kw_only=True, eq=False)
class Task:
    """A job that is under way or over. Times are in seconds since 1970."""

    task_id: str
    job: Job
    vm: str = ""
    """The VM's name, where it is known."""
    uuid: str = ""
    created_at: float
    ended_at: float = 0.0
    state: TaskState = TaskState.RUNNING
    result: object = None
    fault: TaskFault | None = None
    cancelling: bool = False
    """It is to end as soon as it can."""
    copying: Copying | None = None
    _progress: float = UNKNOWN
    _detail: str = ""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to come."""
        return self.state is not TaskState.RUNNING

    def is_of(self, caller: Caller) -> bool:
        """Tell whether this caller may see it."""
        return caller.name == self.job.caller.name or caller.may(ADMIN)

    def standing(self) -> Standing:
        """Return how far it has come."""
        if self.copying is not None and not self.has_ended:
            return self.copying.look()
        return Standing(self._progress, self._detail)

    def say(self, detail: str) -> None:
        """Let its detail be this text."""
        self._detail = detail

    def ends(
        self, state: TaskState, at: float, *, detail: str = "", fault: TaskFault | None = None
    ) -> None:
        """Note how it ended; a copy that did not end well stands where it stood."""
        last = self.standing()
        self._progress = 1.0 if state is TaskState.DONE else last.progress
        self._detail = detail or last.detail
        self.state, self.ended_at, self.fault = state, at, fault
        self.copying = None

    def answer(self, *, with_result: bool = True) -> Mapping[str, Any]:
        """Return it as clients see it."""
        progress, detail = self.standing()
        answer: dict[str, Any] = {
            "id": self.task_id,
            "method": self.job.method,
            "vm": self.vm,
            "caller": self.job.caller.name,
            "state": self.state.value,
            "created": self.created_at,
            "ended": self.ended_at,
            "progress": progress,
            "detail": detail,
        }
        if self.state is TaskState.DONE and with_result:
            answer["result"] = self.result
        if self.fault is not None:
            answer["fault"] = {"faultCode": self.fault.code, "faultString": self.fault.text}
        return answer


CURRENT: Final[ContextVar[Task | None]] = ContextVar("task", default=None)
"""The task on whose behalf something is done, for parts that know nothing of tasks."""


def weight_bytes(value: object) -> int:
    """Return about how much memory a result takes."""
    weight = 0
    todo = [value]
    while todo:
        item = todo.pop()
        weight += 50
        if isinstance(item, str | bytes | bytearray):
            weight += len(item)
        elif isinstance(item, Mapping):
            weight += sum(map(len, item))
            todo += item.values()
        elif isinstance(item, Sequence):
            todo += item
    return weight
