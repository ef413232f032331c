"""The command `vmcontroller-host`: arguments, configuration, reactor."""

from __future__ import annotations

import sys
import time
from typing import Any

import click
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmcontroller.common.config import load_host_config
from vmcontroller.common.errors import ConfigError, VMControllerError
from vmcontroller.common.logs import start_logging
from vmcontroller.host.app import HostDaemon

STOP_DEADLINE_S = 10.0

_log = Logger()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
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
def main(config_file: str, *, check: bool, debug: bool) -> None:
    """Control the virtual machines of this host, over XML-RPC.

    Runs in the foreground and logs to standard error; SIGTERM stops it in order. Virtual
    machines go on running.
    """
    try:
        config = load_host_config(config_file)
    except ConfigError as error:
        click.echo(f"vmcontroller-host: {error}", err=True)
        sys.exit(2)
    if check:
        click.echo(f"{config_file}: good")
        return
    start_logging(sys.stderr, debug=debug)

    from twisted.internet import reactor  # noqa: PLC0415 - installed once, and only here

    try:
        daemon = HostDaemon(config, reactor)
    except ConfigError as error:
        click.echo(f"vmcontroller-host: {error}", err=True)
        sys.exit(2)
    sys.exit(run(daemon, reactor))


def run(daemon: HostDaemon, reactor: Any) -> int:
    """Run the daemon until it is told to stop; return the exit status."""
    status = 0
    reactor.seconds = time.monotonic  # deadlines do not follow a clock that is set

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
