"""What a daemon finds of the commands that one before it has kept. Blocks; belongs in a thread."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from twisted.logger import Logger

from vmcontroller.common.model import CommandSpec
from vmcontroller.common.words.commands import STREAMS
from vmcontroller.host.commands import rows
from vmcontroller.host.commands.output import Output
from vmcontroller.host.commands.record import Command, CommandState
from vmcontroller.host.commands.spool import Spool, file_of

_log = Logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was found, in the order in which it was sent."""

    commands: Sequence[Command]
    """All of them; those that have ended without the output that is in their rows."""
    hurt: Sequence[Command]
    """Ended ones of whose output something is gone."""


def recover(connection: sqlite3.Connection, spool: Spool) -> Found:
    """Read all rows, and bring them and the files together: what has no row is removed.

    Raises OSError, sqlite3.Error, and ValueError, TypeError or KeyError for rows that can't be.
    """
    commands: list[Command] = []
    hurt: list[Command] = []
    sizes = spool.sizes()
    for command in rows.load(connection):
        files = {name: sizes.pop(file_of(command.cmd_id, name), None) for name in STREAMS}
        if command.state is CommandState.ENDED:
            if _is_hurt(command, files):
                hurt.append(command)
            commands.append(_bare(command))
        else:
            for name, size_bytes in files.items():
                command.streams[name].found(size_bytes)
            commands.append(command)
    if sizes:
        _log.info("{count} files of output of no command are removed", count=len(sizes))
        spool.remove(sizes)
    return Found(commands=commands, hurt=hurt)


def _bare(command: Command) -> Command:
    """Return a record that takes little memory: there may be ten thousands."""
    streams = {
        name: Output(limit_bytes=0, file_bytes=stream.written)
        for name, stream in command.streams.items()
    }
    return replace(command, streams=streams, spec=CommandSpec(cmd=""), result=None)


def _is_hurt(command: Command, files: Mapping[str, int | None]) -> bool:
    """Make the record of an ended command say what is gone of its output, if anything is."""
    hurt = False
    for name, size_bytes in files.items():
        stream = command.streams[name]
        left = size_bytes or 0
        if stream.inline is None and left < stream.written:
            stream.problem = f"{stream.written - left} bytes are gone from its disk"
            stream.written = left
            hurt = True
    return hurt
