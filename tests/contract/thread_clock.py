"""A clock for what runs in threads: nothing of theirs happens until the test takes it."""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

PATIENCE_S = 60
"""No honest thread takes as long."""


class ThreadClock(Clock):
    """A clock whose calls from threads wait until the test takes them."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: queue.SimpleQueue[tuple[object, Callable[[], Any]]] = queue.SimpleQueue()

    def callFromThread(self, call: Callable[..., Any], *args: object, **kw: object) -> None:
        self._calls.put((args, lambda: call(*args, **kw)))

    def take(self) -> None:
        """Wait for one call and make it."""
        self._next()[1]()

    def take_until(self, kind: type) -> Callable[[], Any]:
        """Make calls until one brings a value of this type; return that one, not yet made."""
        while True:
            args, call = self._next()
            if any(isinstance(argument, kind) for argument in args):
                return call
            call()

    def _next(self) -> tuple[Any, Callable[[], Any]]:
        return self._calls.get(timeout=PATIENCE_S)
