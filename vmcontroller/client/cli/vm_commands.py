"""Commands about VMs as a whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import click

from vmcontroller.client.cli import statuses
from vmcontroller.client.cli.lazy import PASS, VM, Command, VmName
from vmcontroller.client.cli.session import Session
from vmcontroller.client.cli.text import Cell, duration
from vmcontroller.client.errors import ClientError, Fault

STYLES: Final = {
    "Running": "green",
    "Paused": "yellow",
    "Saved": "cyan",
    "PoweredOff": "dim",
    "Aborted": "red",
}
_VMS = click.argument("vms", type=VmName(), metavar="VM...", nargs=-1, required=True)


def state_cell(state: str) -> Cell:
    """Write a state in its colour."""
    return Cell(state, state, STYLES.get(state, ""))


@click.command("list", cls=Command)
@click.option("--running", is_flag=True, help="Only those that run.")
@PASS
def list_command(session: Session, *, running: bool) -> None:
    """List the VMs and their states.

    Columns: name, state, agent (up, silent or -), how long it was heard ago (s), its address.
    """
    guests = session.client.list_guests()
    found = [
        guest for _, guest in sorted(guests.items()) if not running or guest["state"] == "Running"
    ]
    rows: list[list[Cell | str | int]] = []
    for guest in found:
        up = guest["connected"]
        heard = duration(guest.get("silentFor", 0.0)) if up else Cell("", "")
        agent = Cell("up", "up", "green") if up else Cell("-", "-", "dim")
        rows.append([guest["name"], state_cell(guest["state"]), agent, heard, guest.get("ip", "")])
    data = {guest["name"]: guest for guest in found}
    session.table(("NAME", "STATE", "AGENT", "HEARD", "ADDRESS"), rows, data)


def each(session: Session, vms: Sequence[str], work: Callable[[str], object]) -> int:
    """Do it to each; one that fails hinders no other. Return the first one's status."""
    from vmcontroller.client.cli.main import say_error  # noqa: PLC0415 - that module is first

    status = 0
    answers = {}
    for vm in vms:
        try:
            answers[vm] = work(vm)
        except Fault as error:
            say_error(session, error)
            status = status or statuses.status_of(error)
        except ClientError:
            raise  # the same would happen to the others
    session.done(answers)
    return status


@click.command("start", cls=Command)
@_VMS
@click.option("--wait", is_flag=True, help="Wait until the agent answers, too.")
@PASS
def start_command(session: Session, vms: Sequence[str], *, wait: bool) -> int:
    """Power VMs on."""

    def start(vm: str) -> bool:
        started = session.client.start(vm)
        if wait:
            session.client.wait_ready(vm)
        return started

    return each(session, vms, start)


@click.command("stop", cls=Command)
@_VMS
@click.option("--now", is_flag=True, help="Take the power away; the guest is not asked.")
@PASS
def stop_command(session: Session, vms: Sequence[str], *, now: bool) -> int:
    """Let guests shut down; --now takes the power away."""
    client = session.client
    return each(session, vms, client.power_off if now else client.shutdown)


@click.command("pause", cls=Command)
@_VMS
@PASS
def pause_command(session: Session, vms: Sequence[str]) -> int:
    """Freeze running VMs; they keep their memory."""
    return each(session, vms, session.client.pause)


@click.command("resume", cls=Command)
@_VMS
@PASS
def resume_command(session: Session, vms: Sequence[str]) -> int:
    """Let paused VMs run on."""
    return each(session, vms, session.client.resume)


@click.command("reset", cls=Command)
@_VMS
@PASS
def reset_command(session: Session, vms: Sequence[str]) -> int:
    """Restart VMs as their reset button would."""
    return each(session, vms, session.client.reset)


@click.command("save", cls=Command)
@VM
@click.option("--discard", is_flag=True, help="Drop what was saved, instead; the VM is off then.")
@PASS
def save_command(session: Session, vm: str, *, discard: bool) -> None:
    """Write a VM's memory to the disk and switch it off.

    `vmcontroller start` lets it go on from there.
    """
    client = session.client
    session.done(client.discard_state(vm) if discard else client.save_state(vm))


@click.command("remove", cls=Command)
@_VMS
@click.option("--now", is_flag=True, help="Take the power away from those that are on.")
@PASS
def remove_command(session: Session, vms: Sequence[str], *, now: bool) -> int:
    """Remove VMs that are off.

    Disk images that were given to `create` stay where they are.
    """

    def remove(vm: str) -> object:
        if now and session.client.get_state(vm) not in {"PoweredOff", "Aborted", "Saved"}:
            session.client.power_off(vm)
        return session.client.remove_vm(vm)

    return each(session, vms, remove)
