"""The thread of libvirt's calls: order, deadlines, stalled calls, the end."""

from __future__ import annotations

import threading
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.contract.thread_clock import PATIENCE_S, ThreadClock
from vmcontroller.common.errors import DeadlinePassed, HypervisorUnreachable
from vmcontroller.host.hypervisor.libvirt.worker import Worker


class Stuck:
    """A job that the test lets go on."""

    def __init__(self, result: object = "late") -> None:
        self.begun = threading.Event()
        self._go_on = threading.Event()
        self._result = result

    def __call__(self) -> object:
        self.begun.set()
        self._go_on.wait(PATIENCE_S)
        return self._result

    def release(self) -> None:
        self._go_on.set()


class WorkerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = ThreadClock()
        self.worker = Worker(reactor=self.clock, name=self.id(), deadline_s=30, stall_s=5)
        self.addCleanup(self.worker.stop)

    def stuck(self, result: object = "late", **options: Any) -> tuple[Stuck, Any]:
        job = Stuck(result)
        self.addCleanup(job.release)
        done = self.worker.run("stuck", job, **options)
        self.assertTrue(job.begun.wait(PATIENCE_S))
        return job, done

    def test_result_and_error(self) -> None:
        """What the job returns or raises reaches the caller, and no timer remains."""
        good = self.worker.run("good", lambda: 42)
        self.clock.take()
        self.assertEqual(self.successResultOf(good), 42)
        bad = self.worker.run("bad", lambda: 1 // 0)
        self.clock.take()
        self.failureResultOf(bad, ZeroDivisionError)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_as_many_as_usual_at_once(self) -> None:
        """Where calls are long, some run side by side, and nobody is said to hold up others."""
        self.worker = Worker(
            reactor=self.clock, name=self.id(), deadline_s=30, stall_s=5, at_once=2
        )
        self.addCleanup(self.worker.stop)
        first, one = self.stuck("one")
        second, two = self.stuck("two")
        with capturedLogs() as logs:
            self.clock.advance(6)
        self.assertEqual(list(logs), [])
        for job, done, result in ((second, two, "two"), (first, one, "one")):
            job.release()
            self.clock.take()
            self.assertEqual(self.successResultOf(done), result)

    def test_one_after_the_other(self) -> None:
        """Calls run in order in one thread, which is not the reactor's."""
        ran: list[tuple[int, int]] = []
        for number in range(20):
            self.worker.run("n", lambda n=number: ran.append((n, threading.get_ident())))
        for _ in range(20):
            self.clock.take()
        self.assertEqual([number for number, _ in ran], list(range(20)))
        self.assertEqual(len({thread for _, thread in ran}), 1)
        self.assertNotEqual(ran[0][1], threading.get_ident())

    def test_begun_and_late(self) -> None:
        """A call that was begun and doesn't end in time is DeadlinePassed; its result is undone."""
        undone: list[object] = []
        job, done = self.stuck(discard=undone.append)
        self.clock.advance(30)
        self.failureResultOf(done, DeadlinePassed)
        job.release()
        self.clock.take()  # its late end
        self.clock.take()  # the undoing
        self.assertEqual(undone, ["late"])

    def test_never_begun(self) -> None:
        """A call whose turn never came is HypervisorUnreachable and is not made later."""
        worker = Worker(reactor=self.clock, name="w", deadline_s=30, stall_s=1000)
        self.addCleanup(worker.stop)
        job = Stuck()
        self.addCleanup(job.release)
        first = worker.run("stuck", job, deadline_s=100)
        self.assertTrue(job.begun.wait(PATIENCE_S))
        ran: list[str] = []
        waiting = worker.run("waiting", lambda: ran.append("waiting"))
        self.clock.advance(30)
        error = self.failureResultOf(waiting, HypervisorUnreachable).value
        self.assertIn("stuck", str(error))
        last = worker.run("last", lambda: ran.append("last"))
        job.release()
        self.clock.take()
        self.clock.take()
        self.assertEqual(self.successResultOf(first), "late")
        self.successResultOf(last)
        self.assertEqual(ran, ["last"])

    def test_stalled_call_gets_company(self) -> None:
        """A call that holds up others for five seconds is worked around, and told of."""
        job, done = self.stuck()
        other = self.worker.run("other", lambda: "served")
        with capturedLogs() as logged:
            self.clock.advance(4)
            self.assertEqual(logged, [])
            self.clock.advance(1)
        self.assertEqual([event["calls"] for event in logged], [["stuck"]])
        self.clock.take()
        self.assertEqual(self.successResultOf(other), "served")
        threads = self.threads()
        self.assertEqual(len(threads), 2)
        job.release()
        self.clock.take()
        self.assertEqual(self.successResultOf(done), "late")
        self.one_ends(threads)

    def threads(self) -> list[threading.Thread]:
        return [one for one in threading.enumerate() if one.name.startswith(f"{self.id()}-")]

    def one_ends(self, threads: list[threading.Thread]) -> None:
        """Calls go one by one again: wait until a thread has ended, whichever."""
        for _ in range(100 * PATIENCE_S):
            threads[0].join(0.01)
            if len(self.threads()) == 1:
                return
        self.fail("a spare thread stays")

    def test_cancelled(self) -> None:
        """A caller that goes away leaves no timer and gets no result."""
        job, done = self.stuck()
        done.cancel()
        self.failureResultOf(done, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        job.release()
        self.clock.take()

    def test_stopped(self) -> None:
        """A stopped worker takes no more calls, and stops twice."""
        self.worker.stop()
        self.worker.stop()
        self.failureResultOf(self.worker.run("x", lambda: 1), HypervisorUnreachable)
