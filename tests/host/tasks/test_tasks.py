"""Tasks: what they are while they run, how they end, who may see them, how long they are kept."""

from __future__ import annotations

from typing import ClassVar

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.config import TasksConfig
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.errors import (
    BadArgument,
    Busy,
    NoSuchTask,
    NotConnected,
    TransferFailed,
)
from vmcontroller.host.callers import ADMIN, READ, Caller
from vmcontroller.host.tasks import tasks as module
from vmcontroller.host.tasks.copies import standing_of
from vmcontroller.host.tasks.task import CURRENT, Copying, Job, Standing, Task, TaskFault
from vmcontroller.host.tasks.tasks import CANCEL_S, GRACE_S, Tasks
from vmcontroller.host.transfers.request import CopyRequest, Direction, Record, State

ANNA = Caller(name="anna", roles=frozenset({READ}))
BERT = Caller(name="bert", roles=frozenset({READ}))
ROOT = Caller(name="root", roles=frozenset({ADMIN}))


class Copy:
    """A copy as a task has it: it is told how far it is, and ends when it is told to."""

    def __init__(self) -> None:
        self.cancelled = 0
        self.standing = Standing(0.25, "a quarter")
        self.result: Deferred = Deferred()

    async def cancel(self) -> bool:
        self.cancelled += 1
        return True

    def is_gone(self) -> None:
        self.result.errback(TransferFailed(Reason.CANCELLED, "it was cancelled"))


class TasksCase(SynchronousTestCase):
    config: ClassVar[dict] = {}

    def setUp(self) -> None:
        self.clock = Clock()
        self.ended: list[Task] = []
        self.tasks = Tasks(
            clock=self.clock,
            wall_s=lambda: 1000.0 + self.clock.seconds(),
            config=TasksConfig(**self.config),
            ended=self.ended.append,
        )

    def begin(self, work: Deferred | None = None, caller: Caller = ANNA, **facts) -> Task:
        """Begin a job that does what `work` does; without one, it is done at once."""

        async def call() -> object:
            return "answer" if work is None else await work

        job = Job(
            method="start",
            vm="vm",
            caller=caller,
            work=call,
            fault_of=lambda error: TaskFault(2, f"X: {error}"),
            **facts,
        )
        return self.tasks.begin(job, vm="vm", uuid="u")

    def copy(self) -> tuple[Task, Copy]:
        copy = Copy()
        task = self.begin(copy.result, is_copy=True)
        self.tasks.copies(task, Copying(look=lambda: copy.standing, cancel=copy.cancel))
        return task, copy

    def call(self, coroutine) -> Deferred:
        return Deferred.fromCoroutine(coroutine)

    def now(self, coroutine):
        return self.successResultOf(self.call(coroutine))


class LifeTests(TasksCase):
    def test_done(self) -> None:
        """A task runs, is done, and has its result as often as it is asked for."""
        work: Deferred = Deferred()
        task = self.begin(work)
        facts = {"id": task.task_id, "method": "start", "vm": "vm", "caller": "anna"}
        running = {"state": "running", "created": 1000.0, "ended": 0.0, "progress": -1.0}
        self.assertEqual(task.answer(), facts | running | {"detail": ""})
        self.clock.advance(3)
        work.callback([True])
        done = {"state": "done", "created": 1000.0, "ended": 1003.0, "progress": 1.0}
        expected = facts | done | {"detail": ""}
        for _ in range(2):
            found = self.tasks.find(task.task_id, ANNA)
            self.assertEqual(found.answer(), expected | {"result": [True]})
        self.assertEqual(found.answer(with_result=False), expected)
        self.assertEqual(self.ended, [task])

    def test_failed(self) -> None:
        """A task fails with the Fault that the call would have had."""
        work: Deferred = Deferred()
        task = self.begin(work)
        work.errback(BadArgument("image", "is none"))
        answer = task.answer()
        self.assertEqual((answer["state"], answer["progress"]), ("failed", -1.0))
        self.assertEqual(answer["fault"], {"faultCode": 2, "faultString": "X: image: is none"})
        self.assertNotIn("result", answer)

    def test_done_at_once(self) -> None:
        """A call that need not wait is a task like others."""
        task = self.begin()
        self.assertEqual(task.answer()["result"], "answer")
        self.assertEqual(self.now(self.tasks.wait(task.task_id, 60, ANNA)), task)

    def test_wait(self) -> None:
        """Who waits is answered the moment it ends, or as it is when the time has passed."""
        work: Deferred = Deferred()
        task = self.begin(work)
        waiting = [self.call(self.tasks.wait(task.task_id, 60, ANNA)) for _ in range(3)]
        short = self.call(self.tasks.wait(task.task_id, 5, ANNA))
        self.clock.advance(5)
        self.assertFalse(self.successResultOf(short).has_ended)
        work.callback(1)
        for each in waiting:
            self.assertEqual(self.successResultOf(each).result, 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_on_whose_behalf(self) -> None:
        """What a task does knows the task, also after it has waited; what others do does not."""
        seen = []
        work: Deferred = Deferred()

        async def call() -> None:
            seen.append(CURRENT.get())
            await work
            seen.append(CURRENT.get())

        job = Job(method="m", caller=ANNA, work=call, fault_of=lambda _: TaskFault(1, ""))
        task = self.tasks.begin(job)
        self.assertIsNone(CURRENT.get())
        work.callback(None)
        self.assertEqual(seen, [task, task])
        self.assertIsNone(CURRENT.get())


class WhoseTests(TasksCase):
    def test_own_tasks(self) -> None:
        """A caller knows of their own tasks only, an admin of all."""
        annas, berts = self.begin(Deferred()), self.begin(Deferred(), BERT)
        self.assertEqual(self.tasks.all_of(ANNA), [annas])
        self.assertEqual(self.tasks.all_of(ROOT), [annas, berts])
        self.assertRaises(NoSuchTask, self.tasks.find, berts.task_id, ANNA)
        self.assertRaises(NoSuchTask, self.tasks.find, "none", ROOT)
        for refused in (
            self.tasks.cancel(annas.task_id, BERT),
            self.tasks.wait(annas.task_id, 1, BERT),
        ):
            self.failureResultOf(self.call(refused), NoSuchTask)
        self.assertIs(self.tasks.find(berts.task_id, ROOT), berts)


class BoundsTests(TasksCase):
    config: ClassVar[dict] = {"at_once": 4, "keep": 3, "time_to_live": 100.0}

    def test_too_many(self) -> None:
        """More than may run at once are refused, and one caller leaves room for others."""
        works = [Deferred(), Deferred()]
        for work in works:
            self.begin(work)
        error = self.assertRaises(Busy, self.begin, Deferred())
        self.assertIn("anna", str(error))
        self.begin(Deferred(), BERT)
        self.begin(Deferred(), BERT)
        error = self.assertRaises(Busy, self.begin, Deferred(), ROOT)
        self.assertIn("tasks.at_once", str(error))
        works[0].callback(None)
        self.begin(Deferred())

    def test_kept(self) -> None:
        """The oldest of too many are forgotten; those that run never are."""
        running = self.begin(Deferred())
        done = [self.begin() for _ in range(5)]
        self.assertEqual(self.tasks.all_of(ANNA), [running, *done[2:]])

    def test_time_to_live(self) -> None:
        """A task is forgotten when its time has passed."""
        task = self.begin()
        self.clock.advance(100)
        self.tasks.expire()
        self.assertEqual(self.tasks.all_of(ANNA), [task])
        self.clock.advance(1)
        self.tasks.expire()
        self.assertEqual(self.tasks.all_of(ANNA), [])

    def test_large_results(self) -> None:
        """Results take no more than is stated: the oldest go sooner than their time."""
        self.patch(module, "KEPT_BYTES", 10_000)
        first = self.begin(Deferred())
        work: Deferred = Deferred()
        second = self.begin(work)
        work.callback({"out": "x" * 3000, "list": [b"y" * 3000]})
        third = self.begin()
        self.assertEqual(self.tasks.all_of(ANNA), [first, second, third])
        big: Deferred = Deferred()
        fourth = self.begin(big)
        big.callback("z" * 9000)
        self.assertEqual(self.tasks.all_of(ANNA), [first, third, fourth])


class CancelTests(TasksCase):
    def test_wait(self) -> None:
        """A wait is given up."""
        given_up = []
        task = self.begin(Deferred(given_up.append), only_waits=True)
        self.assertTrue(self.now(self.tasks.cancel(task.task_id, ANNA)))
        self.assertEqual(task.answer()["state"], "cancelled")
        self.assertEqual(len(given_up), 1)
        self.assertFalse(self.now(self.tasks.cancel(task.task_id, ANNA)))
        self.assertEqual(self.ended, [task])

    def test_copy(self) -> None:
        """A copy is cancelled, and that is answered when what had come of it is removed."""
        task, copy = self.copy()
        cancelling = self.call(self.tasks.cancel(task.task_id, ANNA))
        self.assertEqual(copy.cancelled, 1)
        self.assertNoResult(cancelling)
        copy.is_gone()
        self.assertTrue(self.successResultOf(cancelling))
        answer = task.answer()
        self.assertEqual((answer["state"], answer["progress"]), ("cancelled", 0.25))
        self.assertNotIn("fault", answer)

    def test_copy_that_takes_its_time(self) -> None:
        """The answer waits for the removal only so long."""
        task, _copy = self.copy()
        cancelling = self.call(self.tasks.cancel(task.task_id, ANNA))
        self.clock.advance(CANCEL_S)
        self.assertTrue(self.successResultOf(cancelling))
        self.assertEqual(task.answer()["state"], "running")

    def test_copy_not_begun(self) -> None:
        """A copy that has yet to be begun ends as soon as it is."""
        copy = Copy()
        task = self.begin(copy.result, is_copy=True)
        cancelling = self.call(self.tasks.cancel(task.task_id, ANNA))
        self.tasks.copies(task, Copying(look=lambda: copy.standing, cancel=copy.cancel))
        self.assertEqual(copy.cancelled, 1)
        copy.is_gone()
        self.assertTrue(self.successResultOf(cancelling))

    def test_copy_that_was_whole_before(self) -> None:
        """A copy that was done just before is done, and the answer says so."""
        task, copy = self.copy()
        cancelling = self.call(self.tasks.cancel(task.task_id, ANNA))
        copy.result.callback(["", "", 0])
        self.assertFalse(self.successResultOf(cancelling))
        self.assertEqual(task.answer()["progress"], 1.0)

    def test_operation(self) -> None:
        """What the hypervisor does goes on, and the task says so."""
        work: Deferred = Deferred()
        task = self.begin(work)
        self.assertFalse(self.now(self.tasks.cancel(task.task_id, ANNA)))
        self.assertIn("goes on in the hypervisor", task.answer()["detail"])
        work.callback(True)
        self.assertEqual(task.answer()["state"], "done")

    def test_by_another_way(self) -> None:
        """A copy that is cancelled by cancelTransfer is a cancelled task."""
        task, copy = self.copy()
        copy.is_gone()
        self.assertEqual(task.answer()["state"], "cancelled")


class ProgressTests(TasksCase):
    def test_copy(self) -> None:
        """A copy's progress is what it says of itself, and stands when it has failed."""
        task, copy = self.copy()
        self.assertEqual(task.answer()["progress"], 0.25)
        copy.standing = Standing(0.5, "a half")
        self.assertEqual((task.answer()["progress"], task.answer()["detail"]), (0.5, "a half"))
        copy.result.errback(TransferFailed("DISK_FULL", "no room"))
        self.assertEqual((task.answer()["state"], task.answer()["progress"]), ("failed", 0.5))

    def test_record(self) -> None:
        """Bytes of all bytes; unknown before the size is; never more than all."""
        request = CopyRequest(
            vm_name="vm",
            vm_uuid="u",
            guest="g",
            direction=Direction.TO_VM,
            local_path="a",
            remote_path="b",
            protocol=3,
        )
        for size, done, expected in ((-1, 0, -1.0), (100, 25, 0.25), (100, 200, 1.0), (0, 0, 0.0)):
            record = Record(
                transfer_id="t",
                request=request,
                state=State.RUNNING,
                size_bytes=size,
                done_bytes=done,
            )
            self.assertEqual(standing_of(record).progress, expected)
        self.assertIn("copy t is running", standing_of(record).detail)


class StopTests(TasksCase):
    def test_in_order(self) -> None:
        """At the end waits are given up, and what the hypervisor does may end."""
        wait, work = self.begin(Deferred(), only_waits=True), Deferred()
        operation = self.begin(work)
        stopping = self.call(self.tasks.stop())
        self.assertEqual(wait.answer()["state"], "cancelled")
        self.assertRaises(NotConnected, self.begin)
        self.assertNoResult(stopping)
        work.callback(True)
        self.successResultOf(stopping)
        self.assertEqual(operation.answer()["state"], "done")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_what_does_not_end(self) -> None:
        """The daemon's end waits only so long, for all of them together."""
        stuck = [self.begin(Deferred()) for _ in range(3)]
        waiting = self.call(self.tasks.wait(stuck[0].task_id, 1000, ANNA))
        stopping = self.call(self.tasks.stop())
        self.clock.advance(GRACE_S)
        self.successResultOf(stopping)
        self.assertEqual({task.answer()["state"] for task in stuck}, {"cancelled"})
        self.successResultOf(waiting)

    def test_copies_are_left(self) -> None:
        """Copies end with all copies, which keeps what has come of them."""
        task, copy = self.copy()
        waiting = self.call(self.tasks.wait(task.task_id, 1000, ANNA))
        self.successResultOf(self.call(self.tasks.stop()))
        self.assertEqual(copy.cancelled, 0)
        self.failureResultOf(waiting, NotConnected)
        copy.result.errback(TransferFailed(Reason.CONNECTION_LOST, "stopping"))
        self.assertEqual(task.answer()["state"], "failed")
