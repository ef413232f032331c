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
from vmcontroller.host.identity.credential_store import read_credentials
from vmcontroller.host.identity.credentials import find_record

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


def _refuse(error: ConfigError) -> NoReturn:
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
