"""Use cases of tasks: calls that go on by themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vmcontroller.common.errors import BadArgument
from vmcontroller.common.model import guest_id
from vmcontroller.host.callers import Caller
from vmcontroller.host.directory import Directory
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.tasks.task import Job
from vmcontroller.host.tasks.tasks import Tasks


class TaskOperations:
    """Tasks: begun, asked about, waited for, cancelled; `caller` sees their own."""

    def __init__(self, *, directory: Directory, tasks: Tasks) -> None:
        self._directory = directory
        self._tasks = tasks

    async def submit(self, job: Job) -> str:
        """Begin a job; answer the task's id."""
        vm = _match(self._directory.last_known(), job.vm)
        name, uuid = (vm.name, vm.uuid) if vm is not None else (job.vm, "")
        return self._tasks.begin(job, vm=name, uuid=uuid).task_id

    async def get_task(self, task_id: str, caller: Caller) -> Mapping[str, Any]:
        """Answer where a task stands, and its result when it is done."""
        return self._tasks.find(task_id, caller).answer()

    async def wait_task(self, task_id: str, timeout_s: float, caller: Caller) -> Mapping[str, Any]:
        """Answer the same as soon as it has ended, or as it is when the time has passed."""
        return (await self._tasks.wait(task_id, timeout_s, caller)).answer()

    async def cancel_task(self, task_id: str, caller: Caller) -> bool:
        """Give a task up; answer whether that can be."""
        return await self._tasks.cancel(task_id, caller)

    async def list_tasks(self, caller: Caller) -> Sequence[Mapping[str, Any]]:
        """Answer where all of them stand, the oldest first; results are left out."""
        return [task.answer(with_result=False) for task in self._tasks.all_of(caller)]


def _match(vms: Sequence[Vm], reference: str) -> Vm | None:
    """Find the VM that is meant as far as that is known; the hypervisor is not asked for it."""
    try:
        mac = guest_id(reference)
    except BadArgument:
        mac = None
    return next(
        (
            vm
            for vm in vms
            if reference == vm.name or reference.lower() == vm.uuid or mac in vm.macs
        ),
        None,
    )
