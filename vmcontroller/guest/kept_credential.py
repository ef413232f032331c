"""The credential that the host has given this guest over a session, on the guest's disk."""

from __future__ import annotations

import os
from pathlib import Path

from vmcontroller.common.credentials import Credential, read_credential


class KeptCredential:
    """One small file that only the agent can read. Blocks, for a moment."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Credential | None:
        """Return what is kept, if anything."""
        try:
            return read_credential(self._path.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError):
            return None

    def keep(self, credential: Credential) -> None:
        """Put it in place whole and synced. Raises OSError."""
        new = self._path.with_suffix(".new")
        new.unlink(missing_ok=True)
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{credential.written}\n")
            file.flush()
            os.fsync(file.fileno())
        new.rename(self._path)
