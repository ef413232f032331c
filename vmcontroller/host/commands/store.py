"""The database of commands: whoever writes is told when it is on the disk.

What is to be written while one commit runs goes into the next one, all of it: a commit costs the
same for one change as for fifty. Knows transactions; what is in the tables, `rows` knows.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final, TypeVar

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from vmcontroller.common.background import in_background
from vmcontroller.common.copying.course import InThread
from vmcontroller.common.errors import ConfigError, NotStored

T = TypeVar("T")

Change = Callable[[sqlite3.Connection], object]
"""Something to be written; may run a second time, and then alone."""

BUSY_S: Final = 10.0
"""For another process that looks into the database."""

JOURNAL_BYTES: Final = 16 * 2**20
"""A write-ahead log that has grown beyond is cut back to this."""


class Store:
    """One SQLite file. Reads go beside the writes, on connections of their own."""

    _log = Logger()

    def __init__(self, path: Path, *, in_writer: InThread, in_thread: InThread) -> None:
        """`in_writer` runs what blocks, one thing at a time; `in_thread` many."""
        self.path = path
        self._in_writer = in_writer
        self._in_thread = in_thread
        self._connection: sqlite3.Connection | None = None
        self._waiting: list[tuple[Change, Deferred[None]]] = []
        self._idle: list[Deferred[None]] = []
        self._committing = False

    async def open(self, schema: str, version: int) -> None:
        """Open it, and make its tables where there are none; ConfigError says what is wrong."""
        self._connection = await self._in_writer(_open, self.path, schema, version)

    async def close(self) -> None:
        """Write what waits, and close it; what comes later is not stored."""
        while self._committing:
            idle: Deferred[None] = Deferred()
            self._idle.append(idle)
            await idle
        connection, self._connection = self._connection, None
        if connection is not None:
            await self._in_writer(connection.close)

    def write(self, change: Change) -> Deferred[None]:
        """Fire when this change is on the disk, or with NotStored; changes keep their order."""
        stored: Deferred[None] = Deferred()
        self._waiting.append((change, stored))
        if not self._committing:
            self._committing = True
            _ = in_background(self._commit_all(), "storing commands")
        return stored

    def write_later(self, change: Change, what: str) -> None:
        """Write without anybody waiting for it; a failure is logged, with `what`."""

        def noted(failure: Failure) -> None:
            self._log.warn("{what}: {error}", what=what, error=str(failure.value))

        _ = self.write(change).addErrback(noted)

    async def read(self, query: Callable[[sqlite3.Connection], T]) -> T:
        """Return what a query finds; raises NotStored where it can't be read."""
        return await self._in_thread(_read, self.path, query)

    async def _commit_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                outcomes = await self._commit([change for change, _ in batch])
                for (_, stored), problem in zip(batch, outcomes, strict=True):
                    if problem is None:
                        stored.callback(None)
                    else:
                        stored.errback(NotStored(problem))
        finally:
            self._committing = False
            idle, self._idle = self._idle, []
            for waiting in idle:
                waiting.callback(None)

    async def _commit(self, changes: Sequence[Change]) -> Sequence[str | None]:
        if self._connection is None:
            return ["the database of commands is closed"] * len(changes)
        return await self._in_writer(_commit, self._connection, changes)


def _commit(connection: sqlite3.Connection, changes: Sequence[Change]) -> Sequence[str | None]:
    """Write all in one transaction; if that fails each in its own, so that one hurts no other."""
    if _committed(connection, changes) is None:
        return [None] * len(changes)
    return [_committed(connection, [change]) for change in changes]


def _committed(connection: sqlite3.Connection, changes: Sequence[Change]) -> str | None:
    try:
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            for change in changes:
                change(connection)
    except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
        return str(error)
    return None


def _read(path: Path, query: Callable[[sqlite3.Connection], T]) -> T:
    try:
        with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as connection:
            connection.execute("PRAGMA query_only = 1")
            return query(connection)
    except sqlite3.Error as error:
        raise NotStored(str(error)) from error


def _open(path: Path, schema: str, version: int) -> sqlite3.Connection:
    try:
        path.touch(mode=0o600)  # SQLite gives its other files the same mode
        connection = sqlite3.connect(
            path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )
    except (sqlite3.Error, OSError) as error:
        raise ConfigError("state_dir", str(path), f"cannot be opened: {error}") from error
    try:
        _prepare(connection, path, schema, version)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise damaged(path, str(error)) from error
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path, schema: str, version: int) -> None:
    connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA journal_size_limit = {JOURNAL_BYTES}")
    connection.execute("PRAGMA synchronous = FULL")
    [[verdict]] = connection.execute("PRAGMA quick_check(1)").fetchall()
    if verdict != "ok":
        raise damaged(path, verdict)
    [[found]] = connection.execute("PRAGMA user_version").fetchall()
    if found == 0:
        connection.executescript(f"BEGIN; {schema}; PRAGMA user_version = {version}; COMMIT")
    elif found != version:
        raise ConfigError(
            "state_dir",
            str(path),
            f"is of version {found}, and this vmcontroller-host knows {version}: run the one that "
            "made it, or move the file away, and the commands in it are forgotten",
        )


def damaged(path: Path, what: str) -> ConfigError:
    """Return the error that says what to do about a database that can't be used."""
    return ConfigError(
        "state_dir",
        str(path),
        f"is damaged ({what}): move it away, with {path.name}-wal and {path.name}-shm if they are "
        "there, and start again; the commands in it are forgotten then, the VMs are not concerned",
    )
