"""Calls: work that goes on by itself, and what happens meanwhile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vmcontroller.client.answers import Events, Task
from vmcontroller.client.caller import NOTHING, Caller


class TaskCalls(Caller):
    """Tasks and events."""

    def submit(self, method: str, params: Sequence[Any] = ()) -> str:
        """Begin a call, by its wire name, that goes on by itself; return the task's id."""
        return str(self.call("submit", method, params))

    def get_task(self, id: str) -> Task:  # noqa: A002 - the wire's name
        """Return where a task stands, with its result or its Fault when it has ended."""
        answer: Task = self.call("getTask", id)
        return answer

    def wait_task(self, id: str, timeout: float = 60) -> Task:  # noqa: A002
        """Return a task when it has ended, or as it stands after `timeout` seconds."""
        answer: Task = self.call("waitTask", id, timeout, wait_s=timeout)
        return answer

    def cancel_task(self, id: str) -> bool:  # noqa: A002
        """End a task; False: it had ended before, or can't be ended."""
        return bool(self.call("cancelTask", id))

    def list_tasks(self) -> list[Task]:
        """Return the caller's own tasks (for the role admin: all), without their results."""
        answer: list[Task] = self.call("listTasks")
        return answer

    def wait_events(
        self,
        since: int = -1,
        timeout: float = 60,
        filter: Mapping[str, Sequence[str]] = NOTHING,  # noqa: A002 - the wire's name
    ) -> Events:
        """Return what has happened since number `since` (-1: from now on), as soon as there is any.

        `filter` has `kinds` and `vms`, patterns each. `events` (following.py) goes on for ever.
        """
        answer: Events = self.call("waitEvents", since, timeout, filter, wait_s=timeout)
        return answer
