"""Commands as rows of the database: what a restart of the daemon finds again.

A row is made with the request, and changed when the command starts, when its stdin comes on, and
when it ends. Output that has no file is in the row.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields, replace
from typing import Any, Final

from vmcontroller.common.model import CommandResult, CommandSpec, GuestId
from vmcontroller.common.words.commands import STREAMS
from vmcontroller.host.commands.output import Output
from vmcontroller.host.commands.record import Command, CommandState, End, HostFile, StdinState
from vmcontroller.host.commands.store import Change

_REQUEST_FIELDS: Final = [
    field.name for field in fields(CommandSpec) if field.name not in {"stdin", "env"}
]
_RESULT_FIELDS: Final = [field.name for field in fields(CommandResult) if field.name != "resources"]

VERSION: Final = 1
VACUUM_PAGES: Final = 256
"""So much that was freed (1 MiB) goes back to the file system each time something is forgotten."""
SCHEMA: Final = """
CREATE TABLE commands (
    cmd_id TEXT PRIMARY KEY,
    batch_id TEXT NOT NULL,
    vm_name TEXT NOT NULL,
    vm_uuid TEXT NOT NULL,
    guest TEXT NOT NULL,
    session TEXT NOT NULL,
    request TEXT NOT NULL,         -- JSON of CommandSpec, without stdin
    stdin BLOB NOT NULL,           -- what CMD_RUN brings; emptied at the end
    feed TEXT,                     -- JSON of StdinState
    state TEXT NOT NULL,
    pid INTEGER NOT NULL,
    created_at REAL NOT NULL,      -- seconds since 1970
    started_at REAL NOT NULL,
    ended_at REAL NOT NULL,
    error TEXT NOT NULL,
    result TEXT,                   -- JSON of CommandResult
    stdout BLOB,                   -- NULL: in a file …
    stdout_bytes INTEGER NOT NULL, -- … of this size
    stdout_problem TEXT NOT NULL,
    stderr BLOB,
    stderr_bytes INTEGER NOT NULL,
    stderr_problem TEXT NOT NULL
);
CREATE TABLE stdin_pieces (        -- what sendCmdStdin brought and the guest has not taken
    cmd_id TEXT NOT NULL,
    first INTEGER NOT NULL,        -- the offset of its first byte
    data BLOB NOT NULL,
    PRIMARY KEY (cmd_id, first)
)
"""
_COLUMNS: Final = (
    "cmd_id, batch_id, vm_name, vm_uuid, guest, session, request, stdin, feed, state, pid, "
    "created_at, started_at, ended_at, error, result, stdout, stdout_bytes, stdout_problem, "
    "stderr, stderr_bytes, stderr_problem"
)
_INSERT: Final = f"INSERT INTO commands ({_COLUMNS}) VALUES ({', '.join('?' * 22)})"  # noqa: S608
_SET_OUTPUTS: Final = (
    "stdout = ?, stdout_bytes = ?, stdout_problem = ?, "
    "stderr = ?, stderr_bytes = ?, stderr_problem = ?"
)

_END: Final = (
    "UPDATE commands SET state = ?, started_at = ?, ended_at = ?, error = ?, result = ?, "  # noqa: S608
    f"stdin = x'', {_SET_OUTPUTS} WHERE cmd_id = ?"
)


def inserted(commands: Iterable[Command]) -> Change:
    """Return the change that keeps new commands, all or none."""
    rows = [_row_of(command) for command in commands]
    return lambda connection: connection.executemany(_INSERT, rows)


def started(command: Command) -> Change:
    """Return the change that keeps that the guest runs it."""
    values = (command.state, command.pid, command.started_at, command.cmd_id)
    return lambda connection: connection.execute(
        "UPDATE commands SET state = ?, pid = ?, started_at = ? WHERE cmd_id = ?", values
    )


def ended(command: Command, end: End) -> Change:
    """Return the change that keeps how it ended, and the output that has no file."""
    after = replace(command)
    after.ended(end)  # its start may be known only now
    how = (after.state, after.started_at, after.ended_at, after.error, _result_text(after.result))
    values = (*how, *_outputs_of(command), command.cmd_id)

    def change(connection: sqlite3.Connection) -> None:
        connection.execute(_END, values)
        connection.execute("DELETE FROM stdin_pieces WHERE cmd_id = ?", (command.cmd_id,))

    return change


def hurt(command: Command) -> Change:
    """Return the change that says of an ended command what is gone of its output."""
    assert command.result is not None
    end = command.end_of(command.result, command.ended_at)
    return ended(command, end)


def output_kept(command: Command) -> Change:
    """Return the change that keeps the output so far that has no file."""
    values = (*_outputs_of(command), command.cmd_id)
    return lambda connection: connection.execute(
        f"UPDATE commands SET {_SET_OUTPUTS} WHERE cmd_id = ?",  # noqa: S608 - a constant
        values,
    )


def fed(cmd_id: str, stdin: StdinState, pieces: Sequence[tuple[int, bytes]] = ()) -> Change:
    """Return the change that keeps how far a stdin is, and more of it: offsets and bytes.

    What the guest has taken is dropped.
    """
    feed, taken = _feed_text(stdin), stdin.taken_bytes
    new = [(cmd_id, first, data) for first, data in pieces]

    def change(connection: sqlite3.Connection) -> None:
        connection.execute("UPDATE commands SET feed = ? WHERE cmd_id = ?", (feed, cmd_id))
        connection.executemany(
            "INSERT INTO stdin_pieces (cmd_id, first, data) VALUES (?, ?, ?)", new
        )
        connection.execute(
            "DELETE FROM stdin_pieces WHERE cmd_id = ? AND first + length(data) <= ?",
            (cmd_id, taken),
        )

    return change


def piece_at(connection: sqlite3.Connection, cmd_id: str, offset: int, length_bytes: int) -> bytes:
    """Return kept bytes of a stdin from `offset` on, at most to the end of their piece."""
    row = connection.execute(
        "SELECT substr(data, ? - first + 1, ?) FROM stdin_pieces WHERE cmd_id = ? AND first <= ? "
        "ORDER BY first DESC LIMIT 1",
        (offset, length_bytes, cmd_id, offset),
    ).fetchone()
    return b"" if row is None else row[0]


def dropped(cmd_ids: Iterable[str]) -> Change:
    """Return the change that forgets commands."""
    keys = [(cmd_id,) for cmd_id in cmd_ids]

    def change(connection: sqlite3.Connection) -> None:
        connection.executemany("DELETE FROM stdin_pieces WHERE cmd_id = ?", keys)
        connection.executemany("DELETE FROM commands WHERE cmd_id = ?", keys)
        connection.execute(f"PRAGMA incremental_vacuum({VACUUM_PAGES})")

    return change


def load(connection: sqlite3.Connection, where: str = "1", *values: object) -> Iterator[Command]:
    """Return the commands that are kept, oldest first; `where` is a condition in SQL."""
    query = f"SELECT {_COLUMNS} FROM commands WHERE {where} ORDER BY rowid"  # noqa: S608
    return map(_command_of, connection.execute(query, values))


def load_ended(connection: sqlite3.Connection) -> Iterator[Command]:
    """Return those that have ended, with the sizes of their output instead of the bytes."""
    columns = _COLUMNS
    for name in STREAMS:
        columns = columns.replace(
            f" {name}, {name}_bytes,", f" NULL, coalesce(length({name}), {name}_bytes),"
        )
    query = f"SELECT {columns} FROM commands WHERE ended_at > 0 ORDER BY rowid"  # noqa: S608
    return map(_command_of, connection.execute(query))


def _row_of(command: Command) -> tuple[object, ...]:
    return (
        command.cmd_id,
        command.batch_id,
        command.vm_name,
        command.vm_uuid,
        command.guest,
        _plain(command.session),
        _request_text(command.spec),
        command.spec.stdin,
        _feed_text(command.stdin),
        command.state,
        command.pid,
        command.created_at,
        command.started_at,
        command.ended_at,
        command.error,
        _result_text(command.result),
        *_outputs_of(command),
    )


def _command_of(row: tuple[Any, ...]) -> Command:
    cmd_id, batch_id, vm_name, vm_uuid, guest, session, request, stdin, feed, state, pid = row[:11]
    created_at, started_at, ended_at, error, result = row[11:16]
    spec = _spec_of(request, stdin)
    return Command(
        cmd_id=cmd_id,
        batch_id=batch_id,
        vm_name=vm_name,
        vm_uuid=vm_uuid,
        guest=GuestId(guest),
        session=session,
        spec=spec,
        stdin=_feed_of(feed),
        state=CommandState(state),
        pid=pid,
        created_at=created_at,
        started_at=started_at,
        ended_at=ended_at,
        error=error,
        result=None if result is None else CommandResult(**json.loads(result)),
        streams={
            name: _stream_of(spec.output_limit_bytes, *row[at : at + 3])
            for name, at in zip(STREAMS, (16, 19), strict=True)
        },
        said=True,
    )


def _plain(text: str) -> str:
    """Return what the database can hold: a guest's text may have halves of characters."""
    return text.encode(errors="replace").decode()


def _outputs_of(command: Command) -> tuple[object, ...]:
    """Return bytes (or NULL), size in the file, and problem of each stream."""
    values: list[object] = []
    for name in STREAMS:
        stream = command.streams[name]
        inline = None if stream.inline is None else bytes(stream.inline)
        values += [inline, stream.written, stream.problem]
    return tuple(values)


def _stream_of(limit_bytes: int, inline: bytes | None, file_bytes: int, problem: str) -> Output:
    if inline is None:
        stream = Output(limit_bytes=limit_bytes, file_bytes=file_bytes)
    else:
        stream = Output(limit_bytes=limit_bytes, inline=inline)
    stream.problem = problem
    return stream


def _request_text(spec: CommandSpec) -> str:
    return json.dumps(
        {name: getattr(spec, name) for name in _REQUEST_FIELDS} | {"env": dict(spec.env)}
    )


def _spec_of(text: str, stdin: bytes) -> CommandSpec:
    fields = json.loads(text)
    return CommandSpec(**{**fields, "args": tuple(fields["args"]), "stdin": stdin})


def _result_text(result: CommandResult | None) -> str | None:
    if result is None:
        return None
    return json.dumps(
        {name: getattr(result, name) for name in _RESULT_FIELDS}
        | {"resources": dict(result.resources)}
    )


def _feed_text(stdin: StdinState | None) -> str | None:
    return None if stdin is None else json.dumps(asdict(stdin))


def _feed_of(text: str | None) -> StdinState | None:
    if text is None:
        return None
    fields = json.loads(text)
    file = fields.pop("host_file")
    if file is not None:
        file["roles"] = tuple(file.get("roles", ()))
    return StdinState(**fields, host_file=None if file is None else HostFile(**file))
