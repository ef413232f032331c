"""What the demo has on this machine: a directory nobody else can write in, and a daemon."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
import stat
import subprocess
import time
from pathlib import Path

MARK = ".made-by-the-demo"


class DemoFailed(Exception):
    """The demo can't go on; the text says why."""


class Place:
    """The demo's directory. `take` it first; nothing else may be done before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "host.yaml"
        self.log = path / "vmcontroller-host.log"
        self.disk = path / "demo.qcow2"
        self.exchange = path / "state" / "exchange"
        self._lock: int | None = None

    def take(self) -> None:
        """Make the directory, or take that of an earlier demo; one demo at a time.

        Others may pass through it (QEMU's user), not write. Raises DemoFailed when the path is
        somebody else's, or a demo is using it.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            self._check()
        self._lock = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = None
            raise DemoFailed(f"another demo is running (it holds {self.path})") from None
        (self.path / MARK).touch()
        self.path.chmod(0o711)

    @property
    def is_taken(self) -> bool:
        """It is ours."""
        return self._lock is not None

    def _check(self) -> None:
        found = self.path.lstat()
        is_ours = (
            stat.S_ISDIR(found.st_mode)
            and found.st_uid == os.geteuid()
            and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        )
        # A demo that was killed at once has left an empty one.
        if not (is_ours and ((self.path / MARK).exists() or not any(self.path.iterdir()))):
            raise DemoFailed(
                f"{self.path} exists and was not made by this user's demo: look at it, and move it "
                "away or remove it"
            )

    def daemons(self) -> list[int]:
        """Return the pids of daemons that run with our configuration, whoever started them."""
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError):
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
                if os.fsencode(self.config) in arguments and entry.stat().st_uid == os.geteuid():
                    found.append(int(entry.name))
        return found

    def stop_daemons(self, child: subprocess.Popen[bytes] | None, grace_s: float = 15) -> None:
        """End them, and return when they are gone; those that do not obey are killed.

        `child` is one of them: for a moment after its start /proc does not show what it runs.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            told: set[int] = set()
            deadline = time.monotonic() + grace_s
            while (running := self._running(child)) and time.monotonic() < deadline:
                for pid in running - told:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
                told |= running
                time.sleep(0.05)

    def _running(self, child: subprocess.Popen[bytes] | None) -> set[int]:
        ours = {child.pid} if child is not None and child.poll() is None else set()
        return ours | set(self.daemons())

    def remove(self) -> None:
        """Remove the directory with all that is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
