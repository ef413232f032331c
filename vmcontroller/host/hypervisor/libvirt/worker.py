"""The thread in which libvirt's blocking calls run, and the deadline of whoever waits for one.

It knows nothing of libvirt. Calls run one after the other, or so many at a time as are said to be
usual. A call that holds up the others for longer than `stall_s` (a stopped QEMU process does that)
gets company: one more thread serves the queue until the stalled call comes back.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmcontroller.common.errors import DeadlinePassed, HypervisorUnreachable

T = TypeVar("T")

MAX_THREADS = 8


class ThreadingReactor(Protocol):
    """What is needed of the reactor here."""

    def callLater(
        self, delay: float, call: Callable[..., Any], /, *args: object, **kw: object
    ) -> IDelayedCall: ...

    def callFromThread(self, call: Callable[..., Any], /, *args: object, **kw: object) -> None: ...

    def seconds(self) -> float: ...


class _Ticket(Generic[T]):
    """One call on its way. Whether it was begun or given up is decided under a lock."""

    def __init__(
        self,
        what: str,
        job: Callable[[], T],
        done: Deferred[T],
        discard: Callable[[T], None] | None,
    ) -> None:
        self.what = what
        self.job = job
        self.done = done
        self.discard = discard
        self.timers: list[IDelayedCall] = []
        self._lock = threading.Lock()
        self._begun = False
        self._given_up = False

    def begin(self) -> bool:
        """Return whether it shall run: not when nobody waits for it any more."""
        with self._lock:
            self._begun = not self._given_up
            return self._begun

    def give_up(self) -> bool:
        """Return whether it had been begun; if not, it never will be."""
        with self._lock:
            self._given_up = True
            return self._begun

    @property
    def was_begun(self) -> bool:
        with self._lock:
            return self._begun


class Worker:
    """Runs calls in threads of its own, in order, each with a deadline for its caller.

    `at_once`: so many run at a time without anything being wrong.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        reactor: ThreadingReactor,
        name: str,
        deadline_s: float,
        stall_s: float = 5.0,
        at_once: int = 1,
    ) -> None:
        self._reactor = reactor
        self._name = name
        self._deadline_s = deadline_s
        self._stall_s = stall_s
        self._at_once = at_once
        self._queue: queue.SimpleQueue[_Ticket[Any] | None] = queue.SimpleQueue()
        self._running: dict[int, str] = {}
        self._threads = 0
        self._stopped = False

    def run(
        self,
        what: str,
        job: Callable[[], T],
        *,
        deadline_s: float | None = None,
        discard: Callable[[T], None] | None = None,
    ) -> Deferred[T]:
        """Run `job` in the thread; fires with what it returns or fails with what it raises.

        Fails with DeadlinePassed when it was begun but did not end in time: it runs on, and
        its result goes to `discard`, in the thread. Fails with HypervisorUnreachable when its
        turn never came (it is not run later), or when the worker was stopped.
        """
        deadline_s = self._deadline_s if deadline_s is None else deadline_s
        done: Deferred[T] = Deferred(lambda _: self._forget(ticket))
        ticket = _Ticket(what, job, done, discard)
        if self._stopped:
            done.errback(HypervisorUnreachable(self._name, "closed"))
            return done
        if self._threads < self._at_once:
            self._add_thread()
        ticket.timers = [
            self._reactor.callLater(deadline_s, self._too_late, ticket, deadline_s),
            self._reactor.callLater(self._stall_s, self._add_thread_if_waiting, ticket),
        ]
        self._queue.put(ticket)
        return done

    def stop(self) -> None:
        """Let the threads end as soon as they have nothing to do; waits for none. Idempotent."""
        self._stopped = True
        for _ in range(self._threads):
            self._queue.put(None)

    def _add_thread(self) -> None:
        self._threads += 1
        thread = threading.Thread(
            target=self._serve, name=f"{self._name}-{self._threads}", daemon=True
        )
        thread.start()

    def _add_thread_if_waiting(self, ticket: _Ticket[Any]) -> None:
        if ticket.was_begun or self._stopped:
            return
        self._log.warn(
            "calls of {name} hold up the others: {calls}",
            name=self._name,
            calls=list(self._running.values()),
        )
        if self._threads < MAX_THREADS:
            self._add_thread()

    def _serve(self) -> None:
        while (ticket := self._queue.get()) is not None:
            if not ticket.begin():
                continue
            self._running[threading.get_ident()] = ticket.what
            outcome: object
            try:
                outcome = ticket.job()
            except Exception:  # noqa: BLE001 - handed to the caller as it is
                outcome = Failure()  # type: ignore[no-untyped-call]
            del self._running[threading.get_ident()]
            self._reactor.callFromThread(self._ended, ticket, outcome)

    def _ended(self, ticket: _Ticket[Any], outcome: object) -> None:
        if not self._running and not self._stopped:
            self._retire_spare_threads()
        if not ticket.done.called:
            self._settle(ticket)
            ticket.done.callback(outcome)
            return
        self._log.info("{name}: {what} ended too late", name=self._name, what=ticket.what)
        if ticket.discard is not None and not isinstance(outcome, Failure):
            discard = ticket.discard
            undone = self.run(f"undo {ticket.what}", lambda: discard(outcome))
            _ = undone.addErrback(self._log_failure, ticket.what)

    def _log_failure(self, failure: Failure, what: str) -> None:
        self._log.failure("{name}: undoing {what}", failure, name=self._name, what=what)

    def _retire_spare_threads(self) -> None:
        """As many as usual are left; what waits in the queue is served before."""
        while self._threads > self._at_once:
            self._threads -= 1
            self._queue.put(None)

    def _too_late(self, ticket: _Ticket[Any], deadline_s: float) -> None:
        if self._settle(ticket):
            self._log.warn(
                "{name}: {what} did not end within {deadline_s} s and occupies a thread",
                name=self._name,
                what=ticket.what,
                deadline_s=deadline_s,
            )
            ticket.done.errback(DeadlinePassed(f"{ticket.what} did not end", deadline_s))
            return
        calls = ", ".join(self._running.values())
        ticket.done.errback(
            HypervisorUnreachable(self._name, f"busy for {deadline_s:g} s with {calls}")
        )

    def _forget(self, ticket: _Ticket[Any]) -> None:
        self._settle(ticket)

    def _settle(self, ticket: _Ticket[Any]) -> bool:
        """Nobody waits any more; return whether it had been begun."""
        for timer in ticket.timers:
            if timer.active():
                timer.cancel()
        return ticket.give_up()
