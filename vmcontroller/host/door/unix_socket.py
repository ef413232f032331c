"""The Unix socket: made so that nobody else can connect to it even for a moment."""

# Twisted's reactors have few annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import grp
import os
from pathlib import Path
from typing import Any, Final

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger

_BACKLOG: Final = 256
_log = Logger()


class CannotOpen(Exception):
    """The socket can't be there; the text says why."""


def gid_of(group: str) -> int | None:
    """Return the number of a group; None for one that is not there, and for ''."""
    try:
        return grp.getgrnam(group).gr_gid if group else None
    except KeyError:
        return None


def open_socket(
    reactor: Any, path: str, factory: IProtocolFactory, gid: int | None
) -> IListeningPort:
    """Listen on a Unix socket: mode 0660 for a group's members, else 0600.

    What an earlier process left there is replaced, what another one listens on is not. Raises
    CannotOpen.
    """
    umask = os.umask(0o177)
    try:
        folder = Path(path).parent
        if not folder.exists():
            folder.mkdir(mode=0o755)
            folder.chmod(0o755)
        port: IListeningPort = reactor.listenUNIX(
            path, factory, backlog=_BACKLOG, mode=0o600, wantPID=True
        )
    except CannotListenError as error:
        raise CannotOpen(f"{path}: {error.socketError}") from error
    except OSError as error:
        raise CannotOpen(f"{path}: {error.strerror}") from error
    finally:
        os.umask(umask)
    if gid is not None:
        _give_to(path, gid)
    return port


def _give_to(path: str, gid: int) -> None:
    try:
        os.chown(path, -1, gid)
        Path(path).chmod(0o660)
    except OSError as error:
        _log.warn(
            "{path} stays its owner's alone: group {gid}: {problem}",
            path=path,
            gid=gid,
            problem=error.strerror,
        )
