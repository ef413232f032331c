"""The command `info`: what is known of a VM and its guest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from vmcontroller.client.answers import Figure
from vmcontroller.client.cli.lazy import PASS, VM, Command
from vmcontroller.client.cli.session import Session
from vmcontroller.client.cli.text import Cell, duration, human_size, moment, size
from vmcontroller.client.cli.vm_commands import state_cell
from vmcontroller.client.errors import Fault, GuestUnreachable, InvalidState, Unsupported

T = TypeVar("T")
Facts = list[tuple[str, Cell | str | int]]
MIB = 2**20
_BYTES = {"B": 1, "KiB": 2**10, "MiB": 2**20}


@click.command("info", cls=Command)
@VM
@PASS
def info_command(session: Session, vm: str) -> None:
    """Tell what is known of a VM and its guest.

    What a guest says of itself (hostname, system, addresses) is its own claim.
    """
    client = session.client
    made: dict[str, Any] = dict(client.get_vm(vm))
    guest: dict[str, Any] = dict(client.get_guest(vm))
    none: list[Figure] = []
    figures = _if_possible(lambda: client.get_stats(vm), none)
    facts = [*_made(made), *_guest(guest), *((one["name"], last_value(one)) for one in figures)]
    session.facts(facts, {"vm": made, "guest": guest, "figures": figures})


def _if_possible(ask: Callable[[], T], otherwise: T) -> T:
    try:
        return ask()
    except (Unsupported, InvalidState, GuestUnreachable):
        return otherwise
    except Fault as fault:
        if fault.name == "NO_SUCH_METHOD":
            return otherwise
        raise


def _made(made: dict[str, Any]) -> Facts:
    facts: Facts = [
        ("name", made["name"]),
        ("uuid", made["uuid"]),
        ("state", state_cell(made["state"])),
        ("hypervisor", made["hypervisor"]),
        ("memory", size(made["memory"] * MIB) if made["memory"] else ""),
        ("vcpus", made["vcpus"] or ""),
        ("firmware", made["firmware"]),
        ("network", made["network"]),
    ]
    facts += [("mac", mac) for mac in made["macs"]]
    facts += [("disk", f"{disk['path']} ({disk['format']})") for disk in made["disks"]]
    facts.append(("snapshots", made["snapshots"]))
    if made["description"]:
        facts.append(("description", made["description"]))
    return [(name, value) for name, value in facts if value not in {"", None}]


def _guest(guest: dict[str, Any]) -> Facts:
    if not guest["connected"]:
        return [("agent", f"not connected: {guest.get('detail', '')}")]
    facts: Facts = [
        ("agent", f"up, version {guest.get('version', '?')}"),
        ("since", moment(guest.get("since", 0.0))),
        ("heard", duration(guest.get("silentFor", 0.0))),
        ("hostname", guest.get("hostname", "")),
        ("system", guest.get("os", "")),
        ("addresses", " ".join(guest.get("addresses", []))),
        ("load", f"{guest.get('load', 0.0):.2f}"),
    ]
    return [(name, value) for name, value in facts if value]


def last_value(figure: Any) -> Cell:
    """Return the newest value of a figure: all its digits for programs, and for people."""
    if not figure["values"]:
        return Cell("", "")
    value = figure["values"][-1] / (figure["scale"] or 1)
    digits = f"{value:.15g}"
    unit = str(figure["unit"])
    number, slash, per = unit.partition("/")
    if number in _BYTES:
        return Cell(digits, human_size(value * _BYTES[number]) + slash + per)
    return Cell(digits, f"{digits} {unit}".strip())
