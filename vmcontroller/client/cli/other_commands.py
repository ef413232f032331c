"""Commands about the API itself, the caller, and the shell."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import click
from click.shell_completion import get_completion_class

from vmcontroller.client.caller import UNLIMITED
from vmcontroller.client.cli.lazy import PASS, Command
from vmcontroller.client.cli.session import Session

SHELLS = ("bash", "zsh", "fish")


def value_of(word: str) -> Any:
    """Read an argument: JSON if it is that, else a string."""
    try:
        return json.loads(word)
    except ValueError:
        return word


@click.command(
    "api",
    cls=Command,
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@click.argument("method")
@click.argument("args", nargs=-1, type=click.UNPROCESSED)
@PASS
def api_command(session: Session, method: str, args: Sequence[str]) -> None:
    """Call any method of the API, and print its answer as JSON.

    An argument is JSON, or else a string: worker is "worker", 5 is a number, '"5"' is not. Bytes
    are printed in base64. `vmcontroller api help` lists the methods, `vmcontroller api help
    runCmd` explains one.
    """
    answer = session.client.call(method, *map(value_of, args), wait_s=UNLIMITED)
    if method in {"help", "system.methodHelp"} and not session.json:
        click.echo(str(answer))
    else:
        session.print_json(answer)


@click.command("whoami", cls=Command)
@PASS
def whoami_command(session: Session) -> None:
    """Tell whom the daemon takes you for."""
    who = session.client.who_am_i()
    facts = [
        ("name", who["name"]),
        ("roles", " ".join(who["roles"])),
        ("address", who["address"]),
        ("daemon", session.client.url),
    ]
    session.facts(facts, who)


@click.command("completion", cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion_command(context: click.Context, shell: str) -> None:
    r"""Print what lets a shell complete this command.

    \b
    bash: vmcontroller completion bash >~/.local/share/bash-completion/completions/vmcontroller
    zsh:  vmcontroller completion zsh >DIR/_vmcontroller, DIR being in $fpath
    fish: vmcontroller completion fish >~/.config/fish/completions/vmcontroller.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"nothing is known of {shell}")
    root = context.find_root().command
    click.echo(kind(root, {}, "vmcontroller", "_VMCONTROLLER_COMPLETE").source())
