"""Tasks as callers have them: through the same door, table and roles as any other call."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes.hypervisor import FakeHypervisor
from vmcontroller.common.config import TasksConfig
from vmcontroller.common.errors import (
    AccessDenied,
    BadArgument,
    NoSuchMethod,
    NoSuchVM,
    TransferFailed,
)
from vmcontroller.host.callers import FILES, OPERATE, READ, Caller
from vmcontroller.host.directory import Directory
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.operations.tasks import TaskOperations
from vmcontroller.host.tasks.copies import follow_copy
from vmcontroller.host.tasks.tasks import Tasks
from vmcontroller.host.transfers.request import CopyRequest, Direction, Record, State
from vmcontroller.host.xmlrpc.dispatch import Dispatcher

READER = Caller(name="reader", roles=frozenset({READ}))
WORKER = Caller(name="worker", roles=frozenset({OPERATE, FILES}))
VM = Vm(uuid="u1", name="one", state=VmState.POWERED_OFF, macs=("52:54:00:00:00:01",))
REQUEST = CopyRequest(
    vm_name="one",
    vm_uuid="u1",
    guest="g",
    direction=Direction.TO_VM,
    local_path="a",
    remote_path="b",
    protocol=3,
)


class Operations(TaskOperations):
    """Tasks for real; the rest waits for the test."""

    def __init__(self, *, directory: Directory, tasks: Tasks) -> None:
        super().__init__(directory=directory, tasks=tasks)
        self.tasks = tasks
        self.started: Deferred = Deferred()
        self.waited: Deferred = Deferred()
        self.copied: Deferred = Deferred()
        self.done_bytes = 30

    async def start(self, vm: str) -> object:
        return await self.started

    async def ping(self, vm: str, timeout_s: float) -> object:
        return await self.waited

    async def cp_file_to_vm(self, vm, local_path, remote_path, options) -> object:
        follow_copy(self.tasks, self, "t1")
        return await self.copied

    # As the transfers are.

    def record(self, transfer_id: str) -> Record:
        return Record(
            transfer_id=transfer_id,
            request=REQUEST,
            state=State.RUNNING,
            size_bytes=120,
            done_bytes=self.done_bytes,
        )

    async def cancel(self, transfer_id: str) -> bool:
        self.copied.errback(TransferFailed("CANCELLED", "it was cancelled"))
        return True


class TaskMethodsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        hypervisor = FakeHypervisor({VM.uuid: VM})
        directory = Directory(clock=self.clock, hypervisor=hypervisor)
        self.successResultOf(Deferred.fromCoroutine(directory.all()))
        tasks = Tasks(clock=self.clock, wall_s=self.clock.seconds, config=TasksConfig())
        self.operations = Operations(directory=directory, tasks=tasks)
        self.dispatcher = Dispatcher(self.operations)

    def begin(self, method: str, *params, caller: Caller = WORKER) -> Deferred:
        return Deferred.fromCoroutine(self.dispatcher.call(caller, method, params))

    def call(self, method: str, *params, caller: Caller = WORKER):
        return self.successResultOf(self.begin(method, *params, caller=caller))

    def refused(self, error: type, method: str, *params, caller: Caller = WORKER) -> Exception:
        return self.failureResultOf(self.begin(method, *params, caller=caller), error).value

    def test_a_call_goes_on(self) -> None:
        """What was submitted is done by the method itself, and its answer is the result."""
        task_id = self.call("submit", "start", ["52-54-00-00-00-01"])
        waiting = self.begin("waitTask", task_id)
        self.assertEqual(self.call("getTask", task_id)["vm"], "one")
        self.operations.started.callback(True)
        answer = self.successResultOf(waiting)
        self.assertEqual((answer["state"], answer["result"]), ("done", True))
        self.assertNotIn("result", self.call("listTasks")[0])

    def test_fails_as_the_call_would(self) -> None:
        """The Fault of a failed task has the number and text of the call's own."""
        task_id = self.call("submit", "start", ["nobody"])
        self.operations.started.errback(NoSuchVM("nobody"))
        fault = self.call("getTask", task_id)["fault"]
        self.assertEqual(fault["faultCode"], 10)
        self.assertTrue(fault["faultString"].startswith("NO_SUCH_VM: "))

    def test_a_bug(self) -> None:
        """An unexpected error is told by its incident; the traceback is in the log."""
        task_id = self.call("submit", "start", ["one"])
        self.operations.started.errback(ZeroDivisionError("secret"))
        fault = self.call("getTask", task_id)["fault"]
        self.assertEqual(fault["faultCode"], 9)
        self.assertNotIn("secret", fault["faultString"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_checked_at_once(self) -> None:
        """A call that is wrong is a Fault of submit, and no task."""
        for error, method, params in (
            (NoSuchMethod, "begin", []),
            (BadArgument, "start", []),
            (BadArgument, "start", [7]),
            (BadArgument, "start", ["one", False, "more"]),
            (BadArgument, "ping", ["one", "soon"]),
        ):
            self.refused(error, "submit", method, params)
        self.refused(BadArgument, "submit", "start", "one")
        self.assertEqual(self.call("listTasks"), [])

    def test_not_everything(self) -> None:
        """Tasks of tasks, and of many calls at once, are refused."""
        for method in (
            *("submit", "getTask", "waitTask", "cancelTask", "listTasks"),
            *("system.multicall", "system.listMethods"),
        ):
            error = self.refused(BadArgument, "submit", method, [])
            self.assertIn("cannot be a task", str(error))

    def test_roles(self) -> None:
        """Submit gives nobody more than the method's own role does."""
        self.refused(AccessDenied, "submit", "start", ["one"], caller=READER)
        self.refused(AccessDenied, "submit", "runCmd", ["one", "true"])
        self.assertTrue(self.call("submit", "ping", ["one"], caller=READER))

    def test_a_copy(self) -> None:
        """A copy tells its progress, and is cancelled with its task."""
        task_id = self.call("submit", "cpFileToVM", ["one", "a", "b"])
        self.assertEqual(self.call("getTask", task_id)["progress"], 0.25)
        self.operations.done_bytes = 60
        self.assertEqual(self.call("listTasks")[0]["progress"], 0.5)
        self.assertTrue(self.call("cancelTask", task_id))
        self.assertEqual(self.call("getTask", task_id)["state"], "cancelled")

    def test_a_copy_of_no_task(self) -> None:
        """A copy that is an ordinary call is followed by no task."""
        copying = self.begin("cpFileToVM", "one", "a", "b")
        self.operations.copied.callback(["", "", 0])
        self.assertEqual(self.successResultOf(copying), ["", "", 0])
        self.assertEqual(self.call("listTasks"), [])

    def test_giving_up(self) -> None:
        """Waits are given up; an operation of the hypervisor is not, and says so."""
        wait = self.call("submit", "ping", ["one", 60])
        operation = self.call("submit", "start", ["one"])
        self.assertTrue(self.call("cancelTask", wait))
        self.assertFalse(self.call("cancelTask", operation))
        self.assertIn("start cannot be cancelled", self.call("getTask", operation)["detail"])

    def test_in_a_multicall(self) -> None:
        """Many can be submitted in one call."""
        call = {"methodName": "submit", "params": ["start", ["one"]]}
        answers = self.call("system.multicall", [call] * 3)
        self.assertEqual(len({task_id for [task_id] in answers}), 3)
