"""A file of a guest to this machine, over the API alone: in pieces, resumed, verified."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from vmcontroller.client import guest_shell
from vmcontroller.client.answers import Options
from vmcontroller.client.calls import Calls
from vmcontroller.client.errors import CopyFailed
from vmcontroller.client.persistence import Persistence
from vmcontroller.client.uploading import SEGMENT_S, Progress, key_of

MIB: Final = 2**20
SEGMENT_MIB: Final = 16
"""The guest keeps a command's output on its own disk until the host has it: there must be room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a guest says that a file of its is."""

    size_bytes: int
    mtime_s: int
    mode: int


class Download:
    """One file on its way into a partial file here."""

    def __init__(
        self,
        calls: Calls,
        vm: str,
        remote: str,
        *,
        options: Options,
        progress: Progress,
    ) -> None:
        self._calls = calls
        self._vm = vm
        self._remote = remote
        self._options = options
        self._progress = progress
        self._digest: Any = hashlib.sha256()
        self._done_bytes = 0
        self._was_cut = False

    def look(self) -> Found | None:
        """Ask what it is; None: a directory."""
        words = self._script(guest_shell.LOOK, self._remote).decode("utf-8", "replace").split()
        if words == ["d"]:
            return None
        try:
            size, mtime = int(words[1]), int(words[2])
            mode = int(words[3], 8) & 0o777
        except (ValueError, IndexError) as error:
            raise CopyFailed("PROTOCOL", f"{self._remote!r}: the guest's stat(1) is odd") from error
        if not (0 <= size < 2**60 and abs(mtime) < 2**40):
            raise CopyFailed("PROTOCOL", f"{self._remote!r}: the guest's stat(1) is odd")
        return Found(size_bytes=size, mtime_s=mtime, mode=mode)

    def fetch(self, found: Found, part: str) -> None:
        """Bring it into the file `part`; what is there is gone on with if it is the beginning."""
        persistence = Persistence()
        with open(os.open(part, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "r+b") as file:
            resumed = True
            while resumed:
                resumed = self._resume(file, found.size_bytes) > 0
                while self._done_bytes < found.size_bytes:
                    persistence.tries(lambda: self._segment(file, found.size_bytes))
                if self._is_right(persistence):
                    file.flush()
                    os.fsync(file.fileno())
                    return
                file.truncate(0)  # what was there was of another file, or this one has changed
        with contextlib.suppress(OSError):
            os.unlink(part)
        raise CopyFailed("CHANGED", f"{self._remote!r} was written to while it was read")

    def _is_right(self, persistence: Persistence) -> bool:
        said = persistence.ask(lambda: self._script(guest_shell.SUM, self._remote))
        return said.decode("utf-8", "replace").strip() == str(self._digest.hexdigest())

    def _script(self, script: str, *args: str, **more: Any) -> bytes:
        options = {**self._options, **more.pop("options", {})}
        done = guest_shell.run_script(self._calls, self._vm, script, args, options=options, **more)
        self._was_cut = done.truncated
        return done.stdout

    def _resume(self, file: BinaryIO, size_bytes: int) -> int:
        """Digest what is there already; return how much that is."""
        file.seek(0, os.SEEK_END)
        if file.tell() > size_bytes:
            file.truncate(0)
        file.seek(0)
        self._digest, self._done_bytes = hashlib.sha256(), 0
        while data := file.read(MIB):
            self._digest.update(data)
            self._done_bytes += len(data)
        self._progress(self._done_bytes, size_bytes)
        return self._done_bytes

    def _segment(self, file: BinaryIO, size_bytes: int) -> None:
        """Fetch a piece; dd counts in MiB, so what is here of the first one is dropped."""
        begin = self._done_bytes
        skip, surplus = divmod(self._done_bytes, MIB)
        wanted = min(self._done_bytes + SEGMENT_MIB * MIB - surplus, size_bytes) - self._done_bytes

        def took(data: bytes) -> None:
            nonlocal surplus, wanted
            dropped = min(surplus, len(data))
            surplus -= dropped
            data = data[dropped : dropped + wanted]
            wanted -= len(data)
            file.write(data)
            self._digest.update(data)
            self._done_bytes += len(data)
            self._progress(self._done_bytes, size_bytes)

        limit = (SEGMENT_MIB + 1) * MIB
        self._script(
            guest_shell.READ,
            self._remote,
            str(skip),
            str(SEGMENT_MIB),
            options={"outputLimit": limit, "timeout": SEGMENT_S},
            sink=took,
        )
        if wanted and not (self._was_cut and self._done_bytes > begin):
            if self._was_cut:
                raise CopyFailed("DISK_FULL", "the guest, or the host, has no room for its output")
            raise CopyFailed("CHANGED", f"{self._remote!r} has become shorter")


def place_of(local: str, name: str) -> str:
    """Return the path that a copy named `local` gets, as cp has it; raises CopyFailed."""
    if not local or local.endswith("/") or os.path.isdir(local):
        local = os.path.join(local or ".", name)
    directory = os.path.dirname(local) or "."
    if not os.path.isdir(directory):
        raise CopyFailed("NO_SUCH_FILE", f"{directory!r} is no directory")
    return local


def part_of(target: str, *key: object) -> str:
    """Return the path of a copy's file that is not whole yet, beside its target."""
    return os.path.join(os.path.dirname(target) or ".", f".vmcontroller-{key_of(*key)}.part")


def name_of(remote: str) -> str:
    """Return the last name of a guest's path."""
    name = remote.rstrip("/").rpartition("/")[2]
    if name in {"", ".", ".."}:
        raise CopyFailed("NOT_A_FILE", f"{remote!r} has no name of its own")
    return name


def fetch_file(  # noqa: PLR0917 - as client.copy_from
    calls: Calls, vm: str, remote: str, local: str, options: Options, progress: Progress
) -> None:
    """Copy a file; mode and time are kept, set-user-ID and the like are not."""
    download = Download(calls, vm, remote, options=options, progress=progress)
    found = download.look()
    if found is None:
        raise CopyFailed("IS_A_DIRECTORY", f"{remote!r}: say that it is to be copied (-r)")
    target = place_of(local, name_of(remote))
    if os.path.isdir(target):
        raise CopyFailed("IS_A_DIRECTORY", f"{target!r}")
    part = part_of(target, vm, remote, found)
    download.fetch(found, part)
    os.chmod(part, found.mode)
    os.utime(part, (found.mtime_s, found.mtime_s))
    os.replace(part, target)
