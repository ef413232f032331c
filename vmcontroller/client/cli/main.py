"""The command `vmcontroller`: which commands there are, and how it ends."""

from __future__ import annotations

import os
import sys
from typing import Final, NoReturn

import click

from vmcontroller.client.cli import statuses
from vmcontroller.client.cli.lazy import Entry, LazyGroup
from vmcontroller.client.cli.session import Session
from vmcontroller.client.cli.text import shown
from vmcontroller.client.errors import ClientError

COMMANDS: Final = {
    "list": Entry("vm_commands", "List the VMs and their states."),
    "info": Entry("info_command", "Tell what is known of a VM and its guest."),
    "create": Entry("create_command", "Make a VM on a disk image of the host."),
    "start": Entry("vm_commands", "Power VMs on."),
    "stop": Entry("vm_commands", "Let guests shut down; --now takes the power away."),
    "pause": Entry("vm_commands", "Freeze running VMs; they keep their memory."),
    "resume": Entry("vm_commands", "Let paused VMs run on."),
    "reset": Entry("vm_commands", "Restart VMs as their reset button would."),
    "save": Entry("vm_commands", "Write a VM's memory to the disk and switch it off."),
    "remove": Entry("vm_commands", "Remove VMs that are off."),
    "snapshot": Entry("snapshot_commands", "Take, list, restore and delete snapshots."),
    "wait": Entry("watch_commands", "Wait until a VM's agent answers, or for a state."),
    "exec": Entry("exec_command", "Run a command in a VM, as if it ran here."),
    "cp": Entry("copy_command", "Copy files into VMs and out of them."),
    "ps": Entry("running_commands", "List the commands that run, and what they use."),
    "kill": Entry("running_commands", "Send a signal to commands that run."),
    "results": Entry("running_commands", "Tell how a command ended."),
    "output": Entry("running_commands", "Print what a command has printed."),
    "events": Entry("watch_commands", "Tell what has happened; -f: and what happens."),
    "tasks": Entry("task_commands", "List the calls that go on by themselves."),
    "screenshot": Entry("screen_commands", "Write what a VM's screen shows to a file (PNG)."),
    "console": Entry("screen_commands", "Print what a VM has written to its serial console."),
    "display": Entry("screen_commands", "Tell how a VM's screen is reached."),
    "api": Entry("other_commands", "Call any method of the API."),
    "whoami": Entry("other_commands", "Tell whom the daemon takes you for."),
    "completion": Entry("other_commands", "Print what lets a shell complete this command."),
}

_EPILOG = "\b\nExit statuses:\n" + "\n".join(
    f"  {status:3}  {meaning}" for status, meaning in statuses.MEANINGS
)


@click.group(
    cls=LazyGroup,
    entries=COMMANDS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="vmcontroller")
@click.pass_context
def cli(context: click.Context) -> None:
    """Control virtual machines, and work inside them.

    Talks to vmcontroller-host: at --url, else at its Unix socket if that is there, else at
    http://127.0.0.1:50505. A VM is named by its name, UUID or MAC address.

    Output is a table on a terminal, else lines whose fields are separated by tabs, without
    titles; --json prints what the daemon answers. The options below may stand behind the
    command, too. A password or token may be in VMCONTROLLER_PASSWORD or VMCONTROLLER_TOKEN.
    """
    context.ensure_object(Session)


def main() -> NoReturn:
    """Run the command, and end with its exit status."""
    session = Session()
    try:
        status = run(session, sys.argv[1:])
        status = _flushed(status)
    finally:
        session.close()
    sys.exit(status)


def run(session: Session, arguments: list[str]) -> int:
    """Run the command of these words; return the exit status. Errors are said."""
    try:
        return _run(session, arguments)
    except ClientError as error:
        say_error(session, error)
        return statuses.status_of(error)
    except OSError as error:
        session.note(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return statuses.FAILED


def _run(session: Session, arguments: list[str]) -> int:
    try:
        answer = cli.main(arguments, prog_name="vmcontroller", standalone_mode=False, obj=session)
    except click.exceptions.Exit as end:
        return end.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return statuses.INTERRUPTED
    except SystemExit:  # click's answer to an EPIPE, and to nothing else here
        return _nobody_reads()
    return answer if isinstance(answer, int) else 0


def say_error(session: Session, error: ClientError) -> None:
    """Print NAME: detail on standard error."""
    text = shown(str(error))
    if not text.startswith(f"{error.name}: "):
        text = f"{error.name}: {text}"
    name, colon, detail = text.partition(":")
    if sys.stderr.isatty() and session.colours:
        name = click.style(name, fg="red", bold=True)
    click.echo(f"{name}{colon}{detail}", err=True)


def _flushed(status: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        return _nobody_reads()
    return status


def _nobody_reads() -> int:
    """Let the interpreter's last flush go nowhere: there is nothing to say about it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    return statuses.PIPE_CLOSED


if __name__ == "__main__":
    main()
