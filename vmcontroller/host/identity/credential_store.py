"""The credentials on disk: a key of this host, and each VM's record. Blocks, for a moment.

STATE_DIR/credentials.key    32 random octets, made once; whoever reads it can be any guest
          credentials.json   the records, by UUID
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from twisted.logger import Logger

from vmcontroller.common.errors import ConfigError
from vmcontroller.host.identity.credentials import CredentialRecord, Credentials

_KEY_BYTES = 32
_log = Logger()


def open_credentials(state_dir: Path) -> Credentials:
    """Return the credentials of this host; makes its key where there is none yet.

    Raises ConfigError for files that can't be read, written or understood.
    """
    try:
        key = _key(state_dir / "credentials.key")
        records = read_records(state_dir)
    except OSError as error:
        raise ConfigError("state_dir", str(state_dir), f"no credentials: {error}") from error
    path = state_dir / "credentials.json"
    return Credentials(key=key, records=records, save=lambda records: _write(path, records))


def read_credentials(state_dir: Path) -> tuple[Credentials, Mapping[str, CredentialRecord]]:
    """Return the credentials that a daemon keeps there, for reading only, and their records.

    Raises ConfigError where no daemon has made any.
    """
    try:
        key = (state_dir / "credentials.key").read_bytes()
        records = read_records(state_dir)
    except OSError as error:
        raise ConfigError(
            "state_dir",
            str(state_dir),
            f"no credentials of guests to be read ({error.strerror}); a vmcontroller-host with "
            "this configuration makes them, and its user may read them",
        ) from error
    return Credentials(key=key, records=records, save=lambda _: None), records


def read_records(state_dir: Path) -> dict[str, CredentialRecord]:
    """Return the records, none where there are none yet. Raises OSError, ConfigError."""
    path = state_dir / "credentials.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return {
            uuid: CredentialRecord(
                **{**values, "macs": tuple(values["macs"]), "also": tuple(values["also"])}
            )
            for uuid, values in stored.items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError("state_dir", str(path), f"is damaged: {error}") from error


def _key(path: Path) -> bytes:
    with contextlib.suppress(FileNotFoundError):
        key = path.read_bytes()
        if len(key) != _KEY_BYTES:
            raise ConfigError("state_dir", str(path), f"must hold {_KEY_BYTES} octets")
        return key
    key = secrets.token_bytes(_KEY_BYTES)
    _replace(path, key)
    return key


def _write(path: Path, records: Mapping[str, CredentialRecord]) -> None:
    text = json.dumps({uuid: asdict(record) for uuid, record in records.items()}, indent=1)
    try:
        _replace(path, text.encode())
    except OSError as error:  # good in memory, and written with the next change
        _log.error("{path} cannot be written: {error}", path=str(path), error=str(error))


def _replace(path: Path, octets: bytes) -> None:
    """Put a file in place whole and synced, readable by its owner only."""
    new = path.with_suffix(".new")
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
