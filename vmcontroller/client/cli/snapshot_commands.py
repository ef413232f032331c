"""Commands about snapshots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click

from vmcontroller.client.answers import Snapshot
from vmcontroller.client.cli.lazy import PASS, VM, Group
from vmcontroller.client.cli.session import Session
from vmcontroller.client.cli.text import Cell, moment


@click.group("snapshot", cls=Group)
def snapshot_command() -> None:
    """Take, list, restore and delete snapshots."""


@snapshot_command.command("take")
@VM
@click.argument("name")
@click.option("-d", "--description", default="", metavar="TEXT")
@PASS
def take(session: Session, vm: str, name: str, description: str) -> None:
    """Keep a VM as it is now, with its memory if it runs."""
    session.done(session.client.take_snapshot(vm, name, description))


@snapshot_command.command("restore")
@VM
@click.argument("name", default="")
@PASS
def restore(session: Session, vm: str, name: str) -> None:
    """Put a VM back to a snapshot; without NAME to the current one."""
    session.done(session.client.restore_snapshot(vm, name))


@snapshot_command.command("delete")
@VM
@click.argument("name")
@PASS
def delete(session: Session, vm: str, name: str) -> None:
    """Drop a snapshot; those that were taken after it stay."""
    session.done(session.client.delete_snapshot(vm, name))


@snapshot_command.command("list")
@VM
@PASS
def list_(session: Session, vm: str) -> None:
    """Draw the tree of a VM's snapshots.

    Columns: name, taken, state, * for the current one, description; where it is no terminal the
    parent's name, too.
    """
    roots = session.client.get_snapshots(vm)
    rows: list[list[Cell | str | int]] = []
    for lead, each in drawn(roots):
        style = "bold" if each["current"] else ""
        row: list[Cell | str | int] = [
            Cell(each["name"], lead + each["name"], style),
            moment(each["created"]),
            each["state"],
            "*" if each["current"] else "",
            each["description"],
        ]
        rows.append(row if session.pretty else [*row, each["parent"]])
    titles = ("NAME", "TAKEN", "STATE", "NOW", "DESCRIPTION")
    session.table(titles, rows, roots)


def drawn(
    snapshots: Sequence[Snapshot], lead: str = "", *, root: bool = True
) -> Iterator[tuple[str, Snapshot]]:
    """Go through a tree, depth first, each with the lines to its left."""
    for at, each in enumerate(snapshots):
        last = at == len(snapshots) - 1
        mine = "" if root else "└─ " if last else "├─ "
        below = "" if root else "   " if last else "│  "
        yield lead + mine, each
        yield from drawn(each["children"], lead + below, root=False)
