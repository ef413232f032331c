"""Commands about tasks: calls that go on by themselves."""

from __future__ import annotations

from collections.abc import Sequence

import click

from vmcontroller.client.answers import Task
from vmcontroller.client.cli.lazy import PASS, Group
from vmcontroller.client.cli.other_commands import value_of
from vmcontroller.client.cli.session import Session
from vmcontroller.client.cli.text import Cell, moment
from vmcontroller.client.errors import fault_of

POLL_S = 60.0


@click.group("tasks", cls=Group, invoke_without_command=True)
@click.pass_context
def tasks_command(context: click.Context) -> None:
    """List the calls that go on by themselves.

    Columns: id, method, VM, state, progress (%), begun, ended, detail.
    """
    if context.invoked_subcommand is not None:
        return
    session = context.ensure_object(Session)
    tasks = session.client.list_tasks()
    titles = ("ID", "METHOD", "VM", "STATE", "DONE", "BEGUN", "ENDED", "DETAIL")
    session.table(titles, [_row(task) for task in tasks], tasks)


def _row(task: Task) -> list[Cell | str | int]:
    progress = task["progress"]
    return [
        task["id"],
        task["method"],
        task["vm"],
        task["state"],
        Cell(f"{progress * 100:.0f}", f"{progress * 100:.0f} %") if progress >= 0 else "",
        moment(task["created"]),
        moment(task["ended"]),
        task["detail"],
    ]


@tasks_command.command("submit")
@click.argument("method")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@PASS
def submit(session: Session, method: str, args: Sequence[str]) -> None:
    """Begin a call that goes on by itself; print its id.

    ARGS are as those of `vmcontroller api`.
    """
    task_id = session.client.submit(method, [value_of(each) for each in args])
    if session.json:
        session.print_json(task_id)
    else:
        click.echo(task_id)


@tasks_command.command("show")
@click.argument("task_id", metavar="ID")
@PASS
def show(session: Session, task_id: str) -> None:
    """Tell where a task stands."""
    task = session.client.get_task(task_id)
    session.facts(list(zip(_TITLES, _row(task), strict=True)), task)


@tasks_command.command("wait")
@click.argument("task_id", metavar="ID")
@PASS
def wait(session: Session, task_id: str) -> None:
    """Wait until a task has ended; print its result, or fail as it did."""
    task = session.client.wait_task(task_id, POLL_S)
    while task["state"] == "running":
        task = session.client.wait_task(task_id, POLL_S)
    fault = task.get("fault")
    if fault is not None:
        raise fault_of(fault["faultCode"], fault["faultString"])
    if task["state"] == "cancelled":
        raise click.ClickException(f"{task_id} was cancelled")
    session.print_json(task.get("result"))


@tasks_command.command("cancel")
@click.argument("task_id", metavar="ID")
@PASS
def cancel(session: Session, task_id: str) -> None:
    """End a task."""
    session.done(session.client.cancel_task(task_id))


_TITLES = ("id", "method", "vm", "state", "done", "begun", "ended", "detail")
