"""Tasks that copy: how far their copy has come, and its end when they are cancelled."""

from __future__ import annotations

from collections.abc import Callable

from vmcontroller.host.tasks.task import CURRENT, UNKNOWN, Copying, Standing
from vmcontroller.host.tasks.tasks import Tasks
from vmcontroller.host.transfers.request import Record
from vmcontroller.host.transfers.transfers import Transfers


def follow_copy(tasks: Tasks, transfers: Transfers, transfer_id: str) -> None:
    """Let the task on whose behalf a copy has just been begun, if any, follow that copy."""
    task = CURRENT.get()
    if task is not None and task.job.is_copy:
        look: Callable[[], Standing] = lambda: standing_of(transfers.record(transfer_id))  # noqa: E731
        tasks.copies(task, Copying(look=look, cancel=lambda: transfers.cancel(transfer_id)))


def standing_of(record: Record) -> Standing:
    """Return how far a copy has come."""
    if record.size_bytes < 0:
        return Standing(UNKNOWN, f"copy {record.transfer_id} is {record.state}")
    progress = min(1.0, record.done_bytes / record.size_bytes) if record.size_bytes else 0.0
    of_all = f"{record.done_bytes} of {record.size_bytes} bytes"
    return Standing(progress, f"copy {record.transfer_id} is {record.state}: {of_all}")
