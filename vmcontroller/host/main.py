"""The command `vmcontroller-host`: arguments, configuration, reactor."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

import click
import yaml
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmcontroller.common.config import load_host_config
from vmcontroller.common.errors import ConfigError, VMControllerError
from vmcontroller.common.logs import start_logging
from vmcontroller.host.app import HostDaemon
from vmcontroller.host.door.door import check_door
from vmcontroller.host.identity.credential_store import read_credentials
from vmcontroller.host.identity.credentials import find_record
from vmcontroller.host.users import editing

SWITCH_INTERVAL_S = 0.0005
"""A thread that comes back from the disk waits so long for a busy reactor. A commit comes back
several times, and many commands wait for one: with Python's 5 ms that is most of their time."""

STOP_DEADLINE_S = 10.0

_log = Logger()


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    "config_file",
    default="/etc/vmcontroller/host.yaml",
    show_default=True,
    metavar="FILE",
    help="The configuration (YAML).",
)
@click.option("--check", is_flag=True, help="Validate the configuration and end.")
@click.option("--debug", is_flag=True, help="Log more.")
@click.version_option(package_name="vmcontroller")
@click.pass_context
def main(context: click.Context, config_file: str, *, check: bool, debug: bool) -> None:
    """Control the virtual machines of this host, over XML-RPC.

    Runs in the foreground and logs to standard error; SIGTERM stops it in order. Virtual
    machines go on running.
    """
    if context.invoked_subcommand is not None:
        context.obj = config_file
        return
    try:
        config = load_host_config(config_file)
    except ConfigError as error:
        _refuse(error)
    if check:
        try:
            check_door(config.xmlrpc, config_file)
        except ConfigError as error:
            _refuse(error)
        click.echo(f"{config_file}: good")
        return
    start_logging(sys.stderr, debug=debug)

    from twisted.internet import reactor  # noqa: PLC0415 - installed once, and only here

    try:
        daemon = HostDaemon(config, reactor)
    except ConfigError as error:
        _refuse(error)
    sys.exit(run(daemon, reactor))


@main.command("guest-credentials")
@click.argument("vm")
@click.option("--json", "as_json", is_flag=True, help="Print JSON rather than YAML.")
@click.pass_obj
def guest_credentials(config_file: str, vm: str, *, as_json: bool) -> None:
    """Print what a VM's guest logs in with at the broker.

    VM is a name, a UUID or a MAC address.

    For guests that no hypervisor tells it: the lines are those of guest.yaml. Whoever has them can
    pass for this guest.
    """
    try:
        config = load_host_config(config_file)
        credentials, records = read_credentials(Path(config.state_dir))
    except ConfigError as error:
        _refuse(error)
    found = find_record(records, vm)
    if found is None:
        click.echo(f"vmcontroller-host: no VM has the name, UUID or MAC address {vm!r}", err=True)
        sys.exit(1)
    credential = credentials.of(found[0])
    broker = {"username": credential.login, "password": credential.passcode}
    said = {"broker": broker}
    click.echo(json.dumps(said) if as_json else yaml.safe_dump(said, sort_keys=False), nl=as_json)


@main.command("passwd")
@click.argument("name", required=False, default="")
@click.option("-c", "--config", "config_file", metavar="FILE", help="As of vmcontroller-host.")
@click.option("--roles", metavar="ROLES", help="Some of read,operate,exec,files,admin.")
@click.option("--token", is_flag=True, help="Make a token for a program, and print it: only once.")
@click.option("--revoke", metavar="TOKEN", help="Take a token away, which --list names.")
@click.option("--remove", is_flag=True, help="Remove the user.")
@click.option("--list", "listing", is_flag=True, help="Print all users, and what they may.")
@click.pass_obj
def passwd(earlier: str, /, name: str, config_file: str | None, **wanted: Any) -> None:
    """Add a user of the API, or change one; the daemon sees it within a second.

    A new user NAME needs --roles, and gets a password or, with --token, a token. The password is
    asked for, or read from standard input where that is no terminal: its first line. Of a user who
    is there, --roles alone changes the roles and nothing else.
    """
    try:
        path = load_host_config(config_file or earlier).xmlrpc.users
        if wanted["listing"]:
            for line in editing.list_lines(path):
                click.echo(line)
        elif not name:
            _refuse(editing.Refused("NAME is missing; --list names all users"))
        else:
            _change_user(path, name, **wanted)
    except VMControllerError as error:
        _refuse(error)


def _change_user(
    path: str,
    name: str,
    *,
    roles: str | None,
    token: bool,
    revoke: str | None,
    remove: bool,
    **_: bool,
) -> None:
    given = None if roles is None else editing.roles_of(roles)
    if (token, revoke is not None, remove).count(True) > 1:
        raise editing.Refused("only one of --token, --revoke and --remove at once")
    if remove:
        said = editing.remove(path, name)
    elif revoke is not None:
        said = editing.revoke(path, name, revoke)
    elif token:
        made, said = editing.add_token(path, name, given)
        click.echo(made)
    elif given is not None and editing.is_there(path, name):
        said = editing.set_roles(path, name, given)
    else:
        editing.check_new(path, name, given)
        said = editing.set_password(path, name, _asked_password(), given)
    click.echo(said, err=True)


def _asked_password() -> str:
    if sys.stdin.isatty():
        asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        return asked
    return sys.stdin.readline().rstrip("\r\n")


def _refuse(error: VMControllerError) -> NoReturn:
    click.echo(f"vmcontroller-host: {error}", err=True)
    sys.exit(2)


def run(daemon: HostDaemon, reactor: Any) -> int:
    """Run the daemon until it is told to stop; return the exit status."""
    status = 0
    reactor.seconds = time.monotonic  # deadlines do not follow a clock that is set
    sys.setswitchinterval(SWITCH_INTERVAL_S)

    def failed(failure: Failure) -> None:
        nonlocal status
        status = 1
        if isinstance(failure.value, VMControllerError):
            _log.critical("cannot start: {error}", error=str(failure.value))
        else:
            _log.failure("cannot start", failure=failure)
        reactor.stop()

    def start() -> None:
        _ = Deferred.fromCoroutine(daemon.start()).addErrback(failed)

    def stop() -> Deferred[None]:
        stopping = Deferred.fromCoroutine(daemon.stop())
        return stopping.addTimeout(STOP_DEADLINE_S, reactor)

    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    reactor.run()
    return status


if __name__ == "__main__":
    main()
