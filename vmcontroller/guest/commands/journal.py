"""What an agent that was killed has to be told at its next start: which commands ran, and ended.

One file of lines. A line is written before what it tells can be seen from outside (a command runs
only when its line is there, a result is said only when it is there), without waiting for the disk:
that survives the agent's death by any signal. After a power cut of the guest the last seconds may
be missing; then the host, which waits for what the guest no longer names, says `lost`.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from twisted.logger import Logger

from vmcontroller.common.model import CommandResult
from vmcontroller.common.whole_writes import write_all
from vmcontroller.common.words import Utterance, hear
from vmcontroller.common.words.commands import CmdResult

COMPACT_BYTES = 1 << 20
"""It is written anew when it is so large, and twice as large as what is still true of it."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """What is known of one command of an earlier run of the agent."""

    cmd_id: str
    pid: int = 0
    """0 when it was killed too early to know it."""
    started_ticks: int = 0
    result: CommandResult | None = None
    """None when the command still ran."""


class Journal:
    """Written by one agent at a time, read at its start."""

    _log = Logger()

    def __init__(self, path: Path, *, boot_id: str, compact_bytes: int = COMPACT_BYTES) -> None:
        self._path = path
        self._boot_id = boot_id
        self._compact_bytes = compact_bytes
        self._lines: dict[str, list[bytes]] = {}
        """What is still true, by command."""
        self._fd = -1
        self._size_bytes = 0

    def open(self) -> tuple[str, list[Entry]]:
        """Read what the last run left, and begin anew with it; return its boot id and commands.

        Raises OSError where the file can't be had.
        """
        boot_id, entries = parse(self._read())
        for entry in entries:
            self._lines[entry.cmd_id] = list(_lines_of(entry))
        try:
            self._rewrite()
        except OSError as error:
            # On a full disk the old file does as well: an agent is needed to make room.
            self._log.error("the journal of commands is not written anew: {error}", error=error)
            self._append_to_old()
        return boot_id, entries

    def close(self) -> None:
        """Write no more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def begins(self, cmd_id: str) -> None:
        """A command is about to be started."""
        self._note(cmd_id, _begun(cmd_id))

    def runs(self, cmd_id: str, pid: int, started_ticks: int) -> None:
        """It has not ended at once."""
        self._note(cmd_id, _running(cmd_id, pid, started_ticks))

    def ended(self, result: CommandResult) -> Utterance:
        """It has ended, and this is to be said of it; return how."""
        said = CmdResult(result=result).how_to_say()
        self._note(result.cmd_id, said.body)
        return said

    def forgotten(self, cmd_id: str) -> None:
        """The host has all of it."""
        if self._lines.pop(cmd_id, None) is not None:
            self._write(_line("FORGET", {"cmd-id": cmd_id}))

    def _note(self, cmd_id: str, line: bytes) -> None:
        self._lines.setdefault(cmd_id, []).append(line)
        self._write(line)

    def _write(self, line: bytes) -> None:
        """Write one line; a disk that refuses it hinders no command, only its memory."""
        if self._fd < 0:
            return
        try:
            # The line feed comes first: half a line, of a full disk, spoils only itself.
            self._size_bytes += os.write(self._fd, b"\n" + line)
            if self._size_bytes > self._compact_bytes:
                self._compact()
        except OSError as error:
            self._log.error("the journal of commands: {error}", error=error)

    def _compact(self) -> None:
        live_bytes = sum(len(line) for lines in self._lines.values() for line in lines)
        if self._size_bytes > 2 * live_bytes:
            self._rewrite()

    def _rewrite(self) -> None:
        lines = [_line("BOOT", {"boot": self._boot_id})]
        lines += [line for each in self._lines.values() for line in each]
        data = b"\n".join(lines)
        new = self._path.with_name(self._path.name + ".new")
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(new, flags, 0o600)
        try:
            write_all(fd, data)
            os.fdatasync(fd)
            new.rename(self._path)
        except OSError:
            os.close(fd)
            with contextlib.suppress(OSError):
                new.unlink()
            raise
        self.close()
        self._fd, self._size_bytes = fd, len(data)

    def _append_to_old(self) -> None:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        self._size_bytes = os.fstat(self._fd).st_size
        self._write(_line("BOOT", {"boot": self._boot_id}))

    def _read(self) -> bytes:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                self._log.error("the journal of commands is lost: {error}", error=error)
            return b""
        with os.fdopen(fd, "rb") as file:
            return file.read()


_TELLING = (b"RUN", b"PID", CmdResult.NAME.encode())


def parse(data: bytes) -> tuple[str, list[Entry]]:
    """Return the boot id and the commands that are not forgotten; what is no line is left out."""
    boot_id = ""
    entries: dict[str, Entry] = {}
    for line in data.split(b"\n"):
        name, _, text = line.partition(b" ")
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError):
            continue
        if not isinstance(fields, dict):
            continue
        if name == b"BOOT":
            boot_id = str(fields.get("boot", ""))
            continue
        cmd_id = fields.get("cmd-id")
        if not isinstance(cmd_id, str) or not cmd_id:
            continue
        if name == b"FORGET":
            entries.pop(cmd_id, None)
            continue
        if name in _TELLING:
            _learn(entries.setdefault(cmd_id, Entry(cmd_id=cmd_id)), name, fields, line)
    return boot_id, list(entries.values())


def _learn(entry: Entry, name: bytes, fields: dict[str, object], line: bytes) -> None:
    if name == b"PID":
        pid, ticks = fields.get("pid"), fields.get("ticks")
        if isinstance(pid, int) and isinstance(ticks, int) and pid > 0:
            entry.pid, entry.started_ticks = pid, ticks
    elif name == CmdResult.NAME.encode():
        word = hear(Utterance(headers={"cmd-id": entry.cmd_id}, body=line))
        if isinstance(word, CmdResult):
            entry.result = word.result


def _lines_of(entry: Entry) -> Iterable[bytes]:
    yield _begun(entry.cmd_id)
    if entry.result is not None:
        yield CmdResult(result=entry.result).how_to_say().body
    elif entry.pid:
        yield _running(entry.cmd_id, entry.pid, entry.started_ticks)


def _begun(cmd_id: str) -> bytes:
    return _line("RUN", {"cmd-id": cmd_id})


def _running(cmd_id: str, pid: int, started_ticks: int) -> bytes:
    return _line("PID", {"cmd-id": cmd_id, "pid": pid, "ticks": started_ticks})


def _line(name: str, fields: dict[str, object]) -> bytes:
    return name.encode() + b" " + json.dumps(fields).encode()
