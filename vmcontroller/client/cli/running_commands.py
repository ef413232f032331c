"""Commands about commands in guests: what runs, how it ended, what it has printed."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Sequence

import click

from vmcontroller.client.answers import Details, Result
from vmcontroller.client.cli import statuses
from vmcontroller.client.cli.lazy import PASS, Command, VmName
from vmcontroller.client.cli.session import Session
from vmcontroller.client.cli.text import Cell, duration, moment, shown_lines, size
from vmcontroller.client.cli.vm_commands import each
from vmcontroller.client.running import PAGE_BYTES, POLL_S, completed

COMMAND_CHARS = 60

_ID = click.argument("cmd_id", metavar="ID")


@click.command("ps", cls=Command)
@click.argument("vm", type=VmName(), metavar="[VM]", default="")
@click.option("-a", "--all", "ended", is_flag=True, help="Those that have ended, too.")
@PASS
def ps_command(session: Session, vm: str, *, ended: bool) -> None:
    """List the commands that run, and what they use.

    Columns: id, VM, state, process id, processor time (s), memory (bytes), processes, how long it
    runs (s), the command.
    """
    found = session.client.list_cmds(vm)
    if ended:
        over = session.client.list_finished_cmds().values()
        uuid = session.client.get_guest(vm)["name"] if vm else ""
        found = [*sorted(over, key=lambda one: one["created"]), *found]
        found = [one for one in found if not uuid or one["toVmName"] == uuid]
    titles = ("ID", "VM", "STATE", "PID", "CPU", "MEMORY", "PROCS", "SINCE", "COMMAND")
    session.table(titles, [_row(one) for one in found], found)


def _row(one: Details) -> list[Cell | str | int]:
    usage = one.get("usage", {})
    none = Cell("", "")
    words = shlex.join([one["cmd"], *one["args"]])
    began = one["started"] or one["created"]
    processor_s = usage.get("user_s", 0.0) + usage.get("system_s", 0.0)
    return [
        one["cmd-id"],
        one["toVmName"],
        one["state"],
        one["pid"] or none,
        duration(processor_s) if usage else none,
        size(usage.get("memory_kib", 0) * 1024) if usage else none,
        f"{usage.get('processes', 0):.0f}" if usage else none,
        duration(max(0.0, (one["ended"] or time.time()) - began)),
        Cell(words, words if len(words) <= COMMAND_CHARS else f"{words[:COMMAND_CHARS]}…"),
    ]


@click.command("kill", cls=Command)
@click.argument("ids", metavar="ID...", nargs=-1, required=True)
@click.option(
    "-s",
    "--signal",
    default="TERM",
    metavar="NAME",
    show_default=True,
    help="HUP, INT, QUIT, KILL, USR1, USR2, TERM, CONT or STOP, or a number.",
)
@PASS
def kill_command(session: Session, ids: Sequence[str], signal: str) -> int:
    """Send a signal to commands that run, and all that they have started."""
    return each(session, ids, lambda cmd_id: session.client.kill_cmd(cmd_id, signal))


@click.command("results", cls=Command)
@_ID
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@click.option("--forget", is_flag=True, help="Then drop its result and its output on the host.")
@PASS
def results_command(session: Session, cmd_id: str, *, wait: bool, forget: bool) -> None:
    """Tell how a command ended."""
    client = session.client
    result = client.get_cmd_results(cmd_id)
    while wait and result["state"] not in {"ended", "lost"}:
        result = client.wait_cmd(cmd_id, POLL_S)
    details = client.get_cmd_details(cmd_id)
    session.facts(_facts(result, details), {**details, **result})
    if forget:
        client.forget_cmd(cmd_id)


def _facts(result: Result, details: Details) -> list[tuple[str, Cell | str | int]]:
    over = result["state"] == "ended"
    done = completed(result) if over else None
    used = result["resources"]
    facts: list[tuple[str, Cell | str | int]] = [
        ("id", result["cmd-id"]),
        ("vm", details["toVmName"]),
        ("command", shlex.join([details["cmd"], *details["args"]])),
        ("state", result["state"]),
    ]
    if done is not None:
        facts += [
            ("exit code", done.exit_code) if not done.signal else ("signal", done.signal),
            ("took", duration(result.get("duration", 0.0))),
        ]
    if used:
        facts += [
            ("processor time", duration(used.get("ru_utime", 0.0) + used.get("ru_stime", 0.0))),
            ("most memory", size(used.get("ru_maxrss", 0) * 1024)),
        ]
    facts += [
        ("stdout", size(result["outBytes"])),
        ("stderr", size(result["errBytes"])),
        ("begun", moment(details["started"])),
        ("ended", moment(details["ended"])),
    ]
    if result["error"]:
        facts.append(("error", result["error"]))
    return facts


@click.command("output", cls=Command)
@_ID
@click.option("--stderr", is_flag=True, help="What it has printed there, instead of stdout.")
@click.option("-f", "--follow", is_flag=True, help="Go on until it has ended.")
@click.option("--raw", is_flag=True, help="Also to a terminal as it is, with all it may do there.")
@PASS
def output_command(session: Session, cmd_id: str, *, stderr: bool, follow: bool, raw: bool) -> int:
    """Print what a command has printed: exact bytes, but to a terminal as harmless text."""
    write = writer(raw=raw)
    stream, offset = "stderr" if stderr else "stdout", 0
    while True:
        asked_s = time.monotonic()
        page = session.client.get_cmd_output(
            cmd_id, stream, offset, PAGE_BYTES, POLL_S if follow else 0
        )
        write(page)
        offset += len(page)
        if not page and (not follow or time.monotonic() - asked_s < POLL_S):
            return _cut(session, cmd_id, stream)


def _cut(session: Session, cmd_id: str, stream: str) -> int:
    result = session.client.get_cmd_results(cmd_id)
    if result.get("outTruncated" if stream == "stdout" else "errTruncated"):
        session.note("some of it is missing: it is more than may be kept")
        return statuses.FAILED
    return 0


class writer:  # noqa: N801 - used as a function
    """Writes a guest's bytes to standard output: as they are, or harmless for a terminal."""

    def __init__(self, *, raw: bool) -> None:
        self._raw = raw or not sys.stdout.isatty()
        self._rest = b""

    def __call__(self, data: bytes) -> None:
        if self._raw:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
            return
        data = self._rest + data
        # A letter that a page's end has cut in two waits for its rest.
        cut = len(data)
        for back in range(1, min(4, len(data)) + 1):
            byte = data[-back]
            if byte >= 0xC0:
                need = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
                cut = len(data) - back if back < need else len(data)
                break
            if byte < 0x80:
                break
        self._rest = data[cut:]
        os.write(1, shown_lines(data[:cut]).encode())
