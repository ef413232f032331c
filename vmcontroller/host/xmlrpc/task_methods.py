"""The table of methods: tasks, calls that go on by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vmcontroller.common.errors import BadArgument
from vmcontroller.host.callers import READ
from vmcontroller.host.tasks.task import Job, TaskFault
from vmcontroller.host.xmlrpc.introspection import lookup
from vmcontroller.host.xmlrpc.kinds import Seconds, Text, wrong
from vmcontroller.host.xmlrpc.method import Door, Method, Parameter
from vmcontroller.host.xmlrpc.parameters import WAIT_MAX_S

COPIES: Final = frozenset({"cpFileToVM", "cpFileFromVM"})
"""What can be cancelled beside mere waiting."""
_TASK_METHODS: Final = frozenset({"submit", "getTask", "waitTask", "cancelTask", "listTasks"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """The arguments of another method."""

    wire: str = "array"
    allowed: str = "an array, the arguments of the method"

    def check(self, name: str, given: object) -> Sequence[object]:
        if not isinstance(given, list | tuple):
            raise wrong(name, self.allowed, given)
        return given


async def _submit(door: Door, arg: Mapping[str, Any]) -> str:
    method = lookup(door, arg["method"])
    params: Sequence[object] = arg["params"]
    if method.name in _TASK_METHODS or method.name.startswith("system."):
        raise BadArgument("method", f"{method.name} cannot be a task")
    door.caller.must(method.role, method.name)
    vm = method.bind(params).get("vm", "")

    def fault_of(error: Exception) -> TaskFault:
        fault = door.fault_of(error, method.name)
        return TaskFault(fault.faultCode, fault.faultString)

    job = Job(
        method=method.name,
        vm=vm if isinstance(vm, str) else "",
        caller=door.caller,
        work=lambda: door.call(method.name, params),
        fault_of=fault_of,
        only_waits=method.only_waits,
        is_copy=method.name in COPIES,
    )
    return await door.operations.submit(job)


_ID: Final = Parameter(
    name="id", kind=Text(max_chars=100, empty=False), doc="The id that `submit` answered."
)
_RECORD: Final = (
    "`id`, `method`, `vm` (its name; `''` where the call names none), `caller`, `state` "
    "(`running`, `done`, `failed` or `cancelled`), `created` and `ended` (seconds since 1970; 0: "
    "not yet), "
    "`progress` (0 to 1; -1: unknown, as of everything but copies until it is done), `detail` (a "
    "text)"
)

TASK_METHODS: Final = (
    Method(
        name="submit",
        role=READ,
        target=_submit,
        parameters=(
            Parameter(
                name="method",
                kind=Text(max_chars=100, empty=False),
                doc="The method, any but `system.*` and those of tasks. The caller must have its "
                "role.",
            ),
            Parameter(
                name="params",
                kind=Params(),
                default=[],
                doc="Its arguments; they are checked at once.",
            ),
        ),
        returns="string",
        answer="The task's id.",
        doc="Make a call that goes on by itself, so that nobody has to hold a connection for it. "
        "What is wrong with the call itself is a Fault at once; how it went on, `getTask` and "
        "`waitTask` tell, for as long as the configuration's `tasks` says. BUSY: too many run.",
        example="host.submit('shutdown', ['worker 1'])",
    ),
    Method(
        name="getTask",
        role=READ,
        target=lambda door, arg: door.operations.get_task(arg["id"], door.caller),
        parameters=(_ID,),
        returns="struct",
        answer=f"{_RECORD}; `result` (what the call answered, when it is done); `fault` (a struct "
        "of `faultCode` and `faultString`, when it has failed).",
        doc="Tell where a task stands. Callers see their own tasks, `admin` all.",
        example="host.getTask(task_id)['progress']",
    ),
    Method(
        name="waitTask",
        role=READ,
        target=lambda door, arg: door.operations.wait_task(arg["id"], arg["timeout"], door.caller),
        parameters=(
            _ID,
            Parameter(
                name="timeout",
                kind=Seconds(least_s=0, most_s=WAIT_MAX_S),
                default=60,
                doc="How long to wait at most.",
            ),
        ),
        returns="struct",
        answer="As `getTask`; `state` is `running` when the time has passed.",
        doc="Wait for a task, and answer the moment it has ended.",
        example="host.waitTask(task_id, 600)['state']",
        only_waits=True,
    ),
    Method(
        name="cancelTask",
        role=READ,
        changes=True,
        target=lambda door, arg: door.operations.cancel_task(arg["id"], door.caller),
        parameters=(_ID,),
        returns="boolean",
        answer="`true`; `false` when it had ended before, or cannot be cancelled and goes on.",
        doc="Give a task up. Copies are cancelled, and nothing of them remains; waits (`ping`, "
        "`waitCmd`, `waitEvents` and the like) are given up. What the hypervisor was asked for "
        "goes on, and the task's `detail` says so.",
        example="host.cancelTask(task_id)",
    ),
    Method(
        name="listTasks",
        role=READ,
        target=lambda door, _arg: door.operations.list_tasks(door.caller),
        returns="array",
        answer="A struct for each as of `getTask`, the oldest first, without `result`.",
        doc="List the tasks that run and those that ended lately: the caller's own, for `admin` "
        "all.",
        example="host.listTasks()[-1]['state']",
    ),
)
