"""Commands about what a VM shows: its screen, its serial console."""

from __future__ import annotations

import sys
from typing import Final

import click

from vmcontroller.client.cli.lazy import PASS, VM, Command
from vmcontroller.client.cli.running_commands import writer
from vmcontroller.client.cli.session import Session
from vmcontroller.client.patience import Patience

FOLLOW_S: Final = 1.0
PAGE_BYTES: Final = 256 * 1024


@click.command("screenshot", cls=Command)
@VM
@click.argument("file")
@PASS
def screenshot_command(session: Session, vm: str, file: str) -> None:
    """Write what a VM's screen shows to a file (PNG).

    - is standard output.
    """
    if file == "-" and sys.stdout.isatty():
        raise click.UsageError("a PNG is nothing for a terminal: name a file")
    picture = session.client.take_screenshot(vm)
    if file == "-":
        sys.stdout.buffer.write(picture)
        return
    with open(file, "wb") as target:
        target.write(picture)
    session.done(file)


@click.command("console", cls=Command)
@VM
@click.option("-f", "--follow", is_flag=True, help="Go on with what it writes.")
@click.option("--raw", is_flag=True, help="Also to a terminal as it is, with all it may do there.")
@PASS
def console_command(session: Session, vm: str, *, follow: bool, raw: bool) -> None:
    """Print what a VM has written to its serial console: to a terminal as harmless text."""
    write, offset, patience = writer(raw=raw), 0, Patience()
    while True:
        at = offset
        page = patience.ask(lambda: session.client.get_console_log(vm, at, PAGE_BYTES))  # noqa: B023
        write(page["data"])
        offset = page["next"]
        if page["data"]:
            continue
        if not follow:
            return
        patience.rest(FOLLOW_S)


@click.command("display", cls=Command)
@VM
@PASS
def display_command(session: Session, vm: str) -> None:
    """Tell how a VM's screen is reached: the address, and the password if it has one."""
    display = session.client.get_display(vm)
    where = display["socket"] or f"{display['host']}:{display['port']}"
    none = display["kind"] == "none"
    facts = [
        ("kind", display["kind"]),
        ("address", "" if none else where),
        ("password", display["password"]),
        ("tls", "yes" if display["tls"] else "no"),
    ]
    session.facts([(name, value) for name, value in facts if value], display)
