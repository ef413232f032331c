"""A thread for the database alone: no copy that hashes and no long read keeps a commit waiting."""

# Twisted's thread pools have few annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, TypeVarTuple

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class WriterThread:
    """One thread, started at its first work: an InThread."""

    def __init__(self, reactor: Any) -> None:  # Any: IReactorThreads, IReactorCore
        self._reactor = reactor
        self._pool = ThreadPool(minthreads=0, maxthreads=1, name="commands.db")

    def __call__(self, work: Callable[[*Ts], T], /, *args: *Ts) -> Deferred[T]:
        """Return what `work` returns, or fail as it fails; after all that was given before."""
        if not self._pool.started:
            self._pool.start()
            # The process waits for its threads: also if nobody comes to stop this one.
            self._reactor.addSystemEventTrigger("during", "shutdown", self.stop)
        return deferToThreadPool(self._reactor, self._pool, work, *args)

    def stop(self) -> None:
        """End the thread. Blocks until its last work is done."""
        if self._pool.started:
            self._pool.stop()
