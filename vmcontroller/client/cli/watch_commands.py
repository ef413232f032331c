"""Commands that wait: for a VM, for events."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from vmcontroller.client.answers import Event
from vmcontroller.client.cli.lazy import PASS, VM, Command
from vmcontroller.client.cli.session import Session
from vmcontroller.client.cli.text import moment, shown
from vmcontroller.client.following import LOST


@click.command("wait", cls=Command)
@VM
@click.option("--state", metavar="STATE", help="Wait for this state, such as PoweredOff.")
@click.option(
    "--timeout",
    type=click.FloatRange(min=0),
    default=300.0,
    show_default=True,
    metavar="S",
    help="How long.",
)
@PASS
def wait_command(session: Session, vm: str, state: str | None, timeout: float) -> None:
    """Wait until a VM's agent answers, or for a state.

    The exit status is 6 when it was not so in time.
    """
    client = session.client
    if state is None:
        client.get_state(vm)  # one that does not exist will not answer
        client.wait_ready(vm, timeout)
    else:
        known = {name.lower(): name for name in client.states()}
        if state.lower() not in known:
            raise click.UsageError(f"--state is one of {', '.join(known.values())}")
        client.wait_state(vm, known[state.lower()], timeout)
    session.done()


@click.command("events", cls=Command)
@click.option("-f", "--follow", is_flag=True, help="Go on with what happens.")
@click.option("--since", type=int, default=0, metavar="N", help="From this number on.")
@click.option("--kind", "kinds", multiple=True, metavar="GLOB", help="Only such, as 'vm-*'.")
@click.option("--vm", "vms", multiple=True, metavar="GLOB", help="Only of such VMs.")
@PASS
def events_command(
    session: Session, *, follow: bool, since: int, kinds: Sequence[str], vms: Sequence[str]
) -> None:
    """Tell what has happened; -f: and what happens.

    Fields: number, time, kind, VM, and what else is known as NAME=VALUE. With --json one event a
    line.
    """
    client = session.client
    if follow:
        start = since or -1
        for event in client.events(kinds=kinds, vms=vms, since=start):
            _print(session, event)
        return
    wanted = {name: list(globs) for name, globs in (("kinds", kinds), ("vms", vms)) if globs}
    while True:
        answer = client.wait_events(since, 0, wanted)
        for event in answer["events"]:
            _print(session, event)
        if answer["next"] <= since or not answer["events"]:
            return
        since = answer["next"]


def _print(session: Session, event: Event) -> None:
    if session.json:
        session.print_json(event, one_line=True)
    else:
        when = moment(event["at"])
        detail = " ".join(f"{name}={value}" for name, value in event["detail"].items())
        kind, vm = event["kind"], event["vm"]
        if kind == LOST:
            detail = "some events before this are not known any more"
        if session.pretty:
            kind = f"{kind:17}"
            if session.colours:
                kind = click.style(kind, fg=_COLOURS.get(event["kind"]), bold=kind == LOST)
            click.echo(f"{event['number']:>6}  {when.pretty}  {kind}  {shown(vm)}  {shown(detail)}")
        else:
            fields = (str(event["number"]), when.plain, kind, vm, detail)
            click.echo("\t".join(map(shown, fields)))
    sys.stdout.flush()


_COLOURS = {
    "vm-state": "cyan",
    "agent-up": "green",
    "agent-gone": "yellow",
    "command-ended": "blue",
    LOST: "red",
}
