"""Commands that are imported when they are used, and the options that all of them take."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import click
from click.shell_completion import CompletionItem

from vmcontroller.client.cli.session import Session
from vmcontroller.client.overriding import override


class Entry(NamedTuple):
    """Where a command is, and its help in one line."""

    module: str
    help: str


def _take(context: click.Context, parameter: click.Parameter, value: object) -> None:
    if value is not None and value is not False and parameter.name:
        context.ensure_object(Session).take(parameter.name, value)


class _Global(NamedTuple):
    flag: str
    name: str
    help: str
    more: Mapping[str, Any]


_GLOBALS: Final = (
    _Global(
        "--url",
        "url",
        "Where the daemon is: unix:/PATH, http://HOST:PORT or https://HOST:PORT.",
        {"metavar": "URL"},
    ),
    _Global("--user", "api_user", "Call as this user.", {"metavar": "NAME"}),
    _Global(
        "--password-file",
        "password_file",
        "The user's password is the first line of this file; - is standard input.",
        {"metavar": "FILE"},
    ),
    _Global(
        "--token-file",
        "token_file",
        "Call with the token that is the first line of this file.",
        {"metavar": "FILE"},
    ),
    _Global(
        "--ca", "ca", "Who may have signed the daemon's certificate (PEM).", {"metavar": "FILE"}
    ),
    _Global("--cert", "cert", "A certificate of one's own (PEM).", {"metavar": "FILE"}),
    _Global("--key", "key", "Its key (PEM), if that is in another file.", {"metavar": "FILE"}),
    _Global(
        "--timeout",
        "api_timeout",
        "Seconds that an answer may take beyond what it waits for; 60 if not given.",
        {"metavar": "S", "type": click.FloatRange(min=0.1)},
    ),
    _Global("--reason", "reason", "Why, for the daemon's audit log.", {"metavar": "TEXT"}),
    _Global("--json", "json", "Print what the daemon answers, as JSON.", {"is_flag": True}),
    _Global("--no-color", "no_color", "No colours, as with NO_COLOR=1.", {"is_flag": True}),
)


def global_options(*, hidden: bool, taken: frozenset[str] = frozenset()) -> list[click.Parameter]:
    """Return the options of all commands; those of the first word also come by environment."""
    return [
        click.Option(
            [each.flag, each.name],
            help=each.help,
            hidden=hidden,
            expose_value=False,
            callback=_take,
            envvar=None
            if hidden
            else f"VMCONTROLLER_{each.flag.strip('-').replace('-', '_')}".upper(),
            show_envvar=not hidden,
            **each.more,
        )
        for each in _GLOBALS
        if each.flag not in taken
    ]


def _all_options(params: list[click.Parameter]) -> list[click.Parameter]:
    taken = frozenset(flag for each in params for flag in each.opts)
    return [*params, *global_options(hidden=True, taken=taken)]


class Command(click.Command):
    """A command that takes the global options, too, where it has none of that name."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params = _all_options(self.params)


class Group(click.Group):
    """A group of such commands."""

    command_class = Command

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.params = _all_options(self.params)


class LazyGroup(click.Group):
    """A group of which only what is called is imported."""

    def __init__(self, *args: Any, entries: Mapping[str, Entry], **more: Any) -> None:
        super().__init__(*args, **more)
        self.entries = entries
        self.params += global_options(hidden=False)

    @override
    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.entries)

    @override
    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002
        cmd_name: str,
    ) -> click.Command | None:
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        module = importlib.import_module(f"vmcontroller.client.cli.{entry.module}")
        found: click.Command = getattr(module, f"{cmd_name}_command")
        return found

    @override
    def format_commands(
        self,
        ctx: click.Context,  # noqa: ARG002
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list without an import of any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])


class VmName(click.ParamType[str]):
    """A VM's name, UUID or MAC address; the shell completes names."""

    name = "vm"

    @override
    def shell_complete(
        self,
        ctx: click.Context,
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        from vmcontroller.client.errors import ClientError  # noqa: PLC0415 - seldom needed

        root = ctx.find_root()
        session = Session()
        for each in root.command.params:
            value = root.params.get(each.name or "") or each.value_from_envvar(root)
            if value:
                session.take(each.name or "", value)
        session.take("api_timeout", 2.0)
        try:
            names = session.client.list_vms()
        except (ClientError, OSError, click.ClickException):
            return []
        return [
            CompletionItem(each)
            for each in names
            if each.startswith(incomplete) and each.isprintable()
        ]


VM = click.argument("vm", type=VmName(), metavar="VM")
PASS = click.make_pass_decorator(Session, ensure=True)
