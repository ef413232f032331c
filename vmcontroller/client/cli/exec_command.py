"""The command `exec`: a command in a VM, as if it ran here."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Final

import click

from vmcontroller.client.cli import statuses
from vmcontroller.client.cli.lazy import PASS, VM, Command
from vmcontroller.client.cli.main import say_error
from vmcontroller.client.cli.session import Session
from vmcontroller.client.cli.text import bytes_of
from vmcontroller.client.errors import ClientError
from vmcontroller.client.overriding import override
from vmcontroller.client.running import Completed, Running

OUTPUT_MOST: Final = 2**40
"""What a host may keep at most: its own limits say how much of that it does."""
INTERRUPTS: Final = ("INT", "KILL")
"""What the first and the second Ctrl-C send; after that one is let go."""


class Detached(Exception):
    """One has stopped waiting for a command that runs on."""


def environment_of(
    _context: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> dict[str, str]:
    """Read NAME=VALUE; NAME alone is that of this environment."""
    found: dict[str, str] = {}
    for each in values:
        name, equals, value = each.partition("=")
        if not name:
            raise click.BadParameter(f"{each!r} is no NAME=VALUE")
        if equals:
            found[name] = value
        elif name in os.environ:
            found[name] = os.environ[name]
    return found


def size_of(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Read a size in bytes, or with a unit."""
    if value is None:
        return None
    try:
        return bytes_of(value)
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no size such as 64M") from error


class ExecCommand(Command):
    """Its own options may stand before VM, and behind it; what comes then is the command's."""

    @override
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        at = self._options_end(args)
        if at < len(args) and args[at] != "--":
            rest = args[at + 1 :]
            end = self._options_end(rest)
            args = [*args[:at], *rest[:end], args[at], *rest[end:]]
        return super().parse_args(ctx, args)

    def _options_end(self, args: Sequence[str]) -> int:
        """Return the index of the first word that is no option, nor the value of one."""
        options = [each for each in self.params if isinstance(each, click.Option)]
        valued = {flag for each in options if not each.is_flag for flag in each.opts}
        at = 0
        while at < len(args) and args[at].startswith("-") and args[at] not in {"-", "--"}:
            at += 2 if args[at] in valued else 1
        return min(at, len(args))


@click.command(
    "exec",
    cls=ExecCommand,
    context_settings={"allow_interspersed_args": False},
)
@VM
@click.argument("words", metavar="[--] COMMAND [ARG...]", nargs=-1, type=click.UNPROCESSED)
@click.option("--timeout", type=click.FloatRange(min=0), metavar="S", help="End it after so long.")
@click.option(
    "--kill-after",
    "killAfter",
    type=click.FloatRange(min=0),
    metavar="S",
    help="And kill it so long after that, if it is still there; 5 if not given.",
)
@click.option("--user", metavar="NAME", help="Run as this user of the guest.")
@click.option("--group", metavar="NAME", help="Run with this group of the guest.")
@click.option("--cwd", default="", metavar="DIR", help="Run in this directory of the guest.")
@click.option(
    "--env",
    "-e",
    multiple=True,
    metavar="NAME[=VALUE]",
    callback=environment_of,
    help="Add this to its environment; without a value, as it is here.",
)
@click.option("--nice", type=click.IntRange(-20, 19), metavar="N", help="Run it so much nicer.")
@click.option(
    "--output-limit",
    "outputLimit",
    metavar="SIZE",
    callback=size_of,
    help="Keep so much of each stream; as much as the host may, if not given.",
)
@click.option("--no-stdin", "-n", is_flag=True, help="Let it read nothing.")
@click.option("--detach", "-d", is_flag=True, help="Begin it, print its id, and end.")
@PASS
def exec_command(
    session: Session,
    /,
    vm: str,
    words: Sequence[str],
    *,
    cwd: str,
    env: dict[str, str],
    no_stdin: bool,
    detach: bool,
    **more: Any,
) -> int:
    """Run a command in a VM, as if it ran here.

    Its output comes as it prints it, to the byte, and its exit status is that of this command:
    128 and the signal's number where one has ended it, 125 where vmcontroller itself failed. It
    reads this command's standard input. No shell reads it: use `sh -c '…'`.

    Ctrl-C sends it SIGINT, again SIGKILL; a third one stops waiting and lets it run. SIGTERM and
    SIGHUP are passed on. On a terminal its output is raw, as with ssh. What stands behind --, or
    behind the first word after VM that is no option, is the command.
    """
    words = words[1:] if words[:1] == ("--",) else words
    if not words:
        raise click.UsageError("what shall run there? vmcontroller exec VM -- COMMAND [ARG...]")
    options = {name: value for name, value in more.items() if value is not None}
    options.setdefault("outputLimit", OUTPUT_MOST)
    stdin = None if no_stdin or detach else _stdin()
    if stdin is not None:
        options["stdinOpen"] = True
    try:
        cmd_id = session.client.run_cmd(vm, words[0], words[1:], {**env}, cwd, "", options)
        if detach:
            click.echo(cmd_id)
            return 0
        return _follow(session, Running(session.client, cmd_id), stdin)
    except ClientError as error:
        say_error(session, error)
        return statuses.OWN_FAILURE


def _stdin() -> BinaryIO | None:
    """Return standard input, unless it is closed or surely empty."""
    try:
        if os.fstat(0).st_rdev == os.stat(os.devnull).st_rdev:
            return None
    except OSError:
        return None
    return sys.stdin.buffer if sys.stdin is not None else None


def _follow(session: Session, running: Running, stdin: BinaryIO | None) -> int:
    try:
        with _signals_passed(session, running):
            done = running.follow(_writer(1), _writer(2), stdin=stdin)
    except BrokenPipeError:
        running.kill("TERM")
        raise
    except Detached:
        session.note(f"it runs on: vmcontroller results {running.cmd_id}")
        return statuses.INTERRUPTED
    except ClientError:
        session.note(f"it may run on: vmcontroller results {running.cmd_id}")
        raise
    running.forget()
    return _said(session, done)


def _said(session: Session, done: Completed) -> int:
    """Say what its exit status does not; return that."""
    if done.error:
        session.note(done.error)
    if done.timed_out:
        session.note("its time was over")
    if done.lost:
        return statuses.OWN_FAILURE
    if done.truncated:
        session.note("some of its output is missing: it is more than may be kept")
        return done.exit_status or statuses.OWN_FAILURE
    return done.exit_status


def _writer(fd: int) -> Callable[[bytes], None]:
    """Return what writes to a descriptor at once; also to one that does not block."""

    def write(data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(fd, view) :]
            except BlockingIOError:
                _wait_writable(fd)

    return write


def _wait_writable(fd: int) -> None:
    import select  # noqa: PLC0415 - seldom needed

    select.select([], [fd], [])


@contextmanager
def _signals_passed(session: Session, running: Running) -> Iterator[None]:
    """Pass signals on to a command while it is followed."""
    interrupts = 0

    def failed(name: str, error: ClientError) -> None:
        if error.name != "BAD_ARGUMENT":  # it has ended meanwhile
            session.note(f"SIG{name} could not be sent: {error}")

    def interrupted(_number: int, _frame: object) -> None:
        nonlocal interrupts
        interrupts += 1
        if interrupts > len(INTERRUPTS):
            raise Detached
        running.signal(INTERRUPTS[interrupts - 1])

    def passed(number: int, _frame: object) -> None:
        running.signal(signal.Signals(number).name.removeprefix("SIG"))

    running.signal_failed = failed
    handlers = {signal.SIGINT: interrupted, signal.SIGTERM: passed, signal.SIGHUP: passed}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
