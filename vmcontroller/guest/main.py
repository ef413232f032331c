"""The command `vmcontroller-guest`: arguments, configuration, reactor."""

from __future__ import annotations

import sys
import time
from typing import Any

import click

from vmcontroller.common.config import load_guest_config
from vmcontroller.common.errors import ConfigError

STOP_DEADLINE_S = 5.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "-c",
    "--config",
    "config_file",
    default="/etc/vmcontroller/guest.yaml",
    show_default=True,
    metavar="FILE",
    help="The configuration (YAML).",
)
@click.option("--check", is_flag=True, help="Validate the configuration and end.")
@click.option("--debug", is_flag=True, help="Log more.")
@click.version_option(package_name="vmcontroller")
def main(config_file: str, *, check: bool, debug: bool) -> None:
    """Run commands and copy files in this guest, for the host.

    Runs in the foreground and logs to standard error; SIGTERM stops it in order.
    """
    try:
        config = load_guest_config(config_file)
    except ConfigError as error:
        click.echo(f"vmcontroller-guest: {error}", err=True)
        sys.exit(2)
    if check:
        click.echo(f"{config_file}: good")
        return
    # Imported late: a bad configuration is told at once, where Twisted takes seconds to import.
    from twisted.internet import reactor  # noqa: PLC0415

    from vmcontroller.common.logs import start_logging  # noqa: PLC0415
    from vmcontroller.guest.app import GuestAgent  # noqa: PLC0415

    start_logging(sys.stderr, debug=debug)
    sys.exit(run(GuestAgent(config, reactor), reactor))


def run(agent: Any, reactor: Any) -> int:
    """Run the agent until it is told to stop; return the exit status."""
    import gc  # noqa: PLC0415
    import signal  # noqa: PLC0415

    from twisted.internet.defer import Deferred  # noqa: PLC0415
    from twisted.logger import Logger  # noqa: PLC0415

    log = Logger(namespace=__name__)
    status = 0
    # A guest's clock jumps when it was paused or restored; its timers must not.
    reactor.seconds = time.monotonic

    def start() -> None:
        nonlocal status
        # The end of a command is learnt by its pidfd; the reactor's signal for it would only
        # wake us twice. What was imported is not looked through again for garbage.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        gc.freeze()
        try:
            agent.start()
        except OSError as error:
            log.critical("cannot start: {error}", error=error)
            status = 1
            reactor.stop()

    def stop() -> Deferred[None]:
        stopping: Deferred[None] = Deferred.fromCoroutine(agent.stop())
        return stopping.addTimeout(STOP_DEADLINE_S, reactor).addErrback(
            lambda failure: log.failure("not stopped in order", failure)
        )

    reactor.callWhenRunning(start)
    reactor.addSystemEventTrigger("before", "shutdown", stop)
    reactor.run()
    return status


if __name__ == "__main__":
    main()
