"""The exit statuses of the command. They are part of what it promises. Pure."""

from __future__ import annotations

from typing import Final

from vmcontroller.client.errors import (
    AccessDenied,
    BadAnswer,
    BadArgument,
    ClientError,
    ConnectionLost,
    CopyFailed,
    DeadlinePassed,
    GuestUnreachable,
    NoSuch,
    NotSendable,
    Unauthorized,
    Unreachable,
)

FAILED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
DENIED: Final = 4
NO_SUCH: Final = 5
NOT_YET: Final = 6
OWN_FAILURE: Final = 125
"""Of `exec`: it is vmcontroller that failed, not the command."""
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141

MEANINGS: Final[tuple[tuple[int, str], ...]] = (
    (0, "done"),
    (FAILED, "it failed; standard error says why"),
    (USAGE, "the command line, or an argument of the call, is wrong"),
    (UNREACHABLE, "there is no daemon, or the connection to it broke"),
    (DENIED, "the daemon does not know who calls, or does not allow it"),
    (NO_SUCH, "there is no such VM, command, snapshot, image, copy or task"),
    (NOT_YET, "the guest's agent is not there, or something was not reached in time"),
    (OWN_FAILURE, "exec: not the command failed, but what had to be done to run it"),
    (INTERRUPTED, "interrupted by Ctrl-C"),
    (PIPE_CLOSED, "nobody reads the output any more"),
)

_OF: Final[tuple[tuple[type[ClientError], int], ...]] = (
    (BadArgument, USAGE),
    (NotSendable, USAGE),
    (Unreachable, UNREACHABLE),
    (ConnectionLost, UNREACHABLE),
    (BadAnswer, UNREACHABLE),
    (Unauthorized, DENIED),
    (AccessDenied, DENIED),
    (NoSuch, NO_SUCH),
    (GuestUnreachable, NOT_YET),
    (DeadlinePassed, NOT_YET),
)


def status_of(error: ClientError) -> int:
    """Return the exit status for a call that failed."""
    if isinstance(error, CopyFailed) or getattr(error, "name", "") == "TRANSFER_FAILED":
        missing = str(error).removeprefix("TRANSFER_FAILED: ").startswith("NO_SUCH_FILE")
        return NO_SUCH if missing else FAILED
    return next((status for kind, status in _OF if isinstance(error, kind)), FAILED)
