"""The daemon's directory: made, locked against a second daemon, swept of what a kill left."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from vmcontroller.common.copying.leftovers import sweep
from vmcontroller.common.errors import ConfigError


class StateDir:
    """STATE_DIR of the configuration. Blocks, at start only."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.exchange = self.path / "exchange"
        """What is copied into and out of guests."""
        self.commands = self.path / "commands"
        """The output of commands."""
        self.transfers = self.path / "transfers"
        """Notes of copies that were interrupted."""
        self.disks = self.path / "disks"
        """What is made for VMs: QEMU's own user passes through it."""
        self._lock: int | None = None

    def open(self) -> None:
        """Make the directories; take the lock that keeps a second daemon away.

        Raises ConfigError.
        """
        try:
            self.path.mkdir(mode=0o711, parents=True, exist_ok=True)
            for directory in (self.exchange, self.commands, self.transfers):
                directory.mkdir(mode=0o700, exist_ok=True)
            self.disks.mkdir(mode=0o711, exist_ok=True)
            self.disks.chmod(0o711)  # whatever the umask
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            noted = {note.stem for note in self.transfers.glob("*.json")}
            sweep(str(self.exchange), keep=noted)  # and halves of copies
        except BlockingIOError:
            raise ConfigError(
                "state_dir", str(self.path), "is in use by another vmcontroller-host"
            ) from None
        except OSError as error:
            raise ConfigError("state_dir", str(self.path), str(error)) from error

    def close(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None
