"""A file of this machine into a guest, over the API alone: in pieces, resumed, verified."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Final

from vmcontroller.client import guest_shell
from vmcontroller.client.answers import Options
from vmcontroller.client.calls import Calls
from vmcontroller.client.errors import CopyFailed
from vmcontroller.client.persistence import Persistence

SEGMENT_BYTES: Final = 64 * 2**20
"""One command of the guest's takes so much: what a client that was killed leaves is ended soon."""
SEGMENT_S: Final = 900.0

Progress = Callable[[int, int], object]
"""Is told how many bytes are done, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What is sent."""

    file: BinaryIO
    name: str
    """The one that it gets where the target is a directory."""
    size_bytes: int
    key: str
    """Says which file that is: what has come of another one is not gone on with."""


def key_of(*parts: object) -> str:
    """Make a short name for a copy, for its file that is not whole yet."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]


class _Segment:
    """A part of a file as the stdin of a command; what is read is counted and digested."""

    def __init__(self, file: BinaryIO, length_bytes: int, took: Callable[[bytes], object]) -> None:
        self._file = file
        self._left_bytes = length_bytes
        self._took = took

    def read(self, size: int, /) -> bytes:
        data = self._file.read(min(size, self._left_bytes))
        self._left_bytes -= len(data)
        self._took(data)
        return data


class Upload:
    """One file on its way; `finish` says what becomes of it when it is whole."""

    def __init__(
        self, calls: Calls, vm: str, source: Source, *, options: Options, progress: Progress
    ) -> None:
        self._calls = calls
        self._vm = vm
        self._source = source
        self._options = options
        self._progress = progress
        self._digest: Any = hashlib.sha256()
        self._done_bytes = 0

    def run(self, remote: str, finish: Callable[[str, str, str], tuple[str, list[str]]]) -> None:
        """Send it, and let it be finished: `finish(part, target, digest)` is a script and its args.

        Raises CopyFailed, and what the calls raise when the guest or the daemon stays away.
        """
        persistence = Persistence()
        resumed = True
        while resumed:
            part, target, at = persistence.ask(lambda: self._place(remote))
            resumed = at > 0
            part, target = self._send_all(remote, part, target, at, persistence)
            script, args = finish(part, target, self._digest.hexdigest())
            try:
                self._script(script, *args)
            except CopyFailed as error:
                if error.reason != "DIGEST_MISMATCH" or not resumed:
                    raise
                continue  # what was there before was something else: once more, from the start
            return

    def _script(self, script: str, *args: str, **more: Any) -> bytes:
        done = guest_shell.run_script(
            self._calls, self._vm, script, args, options=self._options, **more
        )
        return done.stdout

    def _place(self, remote: str) -> tuple[str, str, int]:
        """Find out where it goes, and how much of it is there."""
        guest_shell.end_leftovers(self._calls, self._vm, self._source.key)
        said = self._script(guest_shell.PLACE, remote, self._source.name, self._source.key)
        size, part, target = said.decode("utf-8", "replace").split("\n", 2)
        at = int(size) if size.strip().isdigit() else 0
        if at > self._source.size_bytes:
            self._script(guest_shell.REMOVE, part)
            at = 0
        return part, target, at

    def _send_all(
        self, remote: str, part: str, target: str, at: int, persistence: Persistence
    ) -> tuple[str, str]:
        self._go_to(at)
        while self._done_bytes < self._source.size_bytes:
            before = self._done_bytes
            if persistence.tries(partial(self._segment, part)):
                continue
            part, target, at = persistence.ask(lambda: self._place(remote))
            if at > before:
                persistence.went_on()
            self._go_to(at)
        return part, target

    def _go_to(self, at: int) -> None:
        """Read the file from its beginning to where the guest is, for the digest."""
        file = self._source.file
        file.seek(0)
        self._digest = hashlib.sha256()
        left = at
        while left and (data := file.read(min(left, 2**20))):
            self._digest.update(data)
            left -= len(data)
        if left:
            raise CopyFailed("CHANGED", f"{self._source.name!r} has become shorter")
        self._done_bytes = at
        self._progress(at, self._source.size_bytes)

    def _segment(self, part: str) -> None:
        length = min(SEGMENT_BYTES, self._source.size_bytes - self._done_bytes)
        begin = self._done_bytes

        def took(data: bytes) -> None:
            self._digest.update(data)
            self._done_bytes += len(data)
            self._progress(self._done_bytes, self._source.size_bytes)

        segment = _Segment(self._source.file, length, took)
        options = {**self._options, "timeout": SEGMENT_S}
        guest_shell.run_script(
            self._calls,
            self._vm,
            guest_shell.APPEND,
            (part, str(begin)),
            options=options,
            stdin=segment,
        )
        if self._done_bytes != begin + length:
            raise CopyFailed("CHANGED", f"{self._source.name!r} has become shorter")


def send_file(  # noqa: PLR0917 - as client.copy_to
    calls: Calls, vm: str, local: str, remote: str, options: Options, progress: Progress
) -> None:
    """Copy a file; mode and time are kept."""
    with open(local, "rb") as file:
        info = os.fstat(file.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise CopyFailed("NOT_A_FILE", f"{local!r} is no regular file")
        name = os.path.basename(os.path.abspath(local))
        key = key_of(os.path.realpath(local), info.st_size, info.st_mtime_ns, vm, remote)
        source = Source(file=file, name=name, size_bytes=info.st_size, key=key)

        def finish(part: str, target: str, digest: str) -> tuple[str, list[str]]:
            after = os.fstat(file.fileno())
            if (after.st_size, after.st_mtime_ns) != (info.st_size, info.st_mtime_ns):
                raise CopyFailed("CHANGED", f"{local!r} was written to meanwhile")
            mode, mtime = f"{info.st_mode & 0o777:o}", str(int(info.st_mtime))
            return guest_shell.FINISH, [part, target, digest, mode, mtime]

        Upload(calls, vm, source, options=options, progress=progress).run(remote, finish)
