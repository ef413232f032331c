"""What this guest is told from outside: through SMBIOS strings, or in an environment file."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from vmcontroller.common.config import VmConfig
from vmcontroller.common.credentials import Credential, read_credential
from vmcontroller.common.environment import (
    BROKER_VARIABLE,
    CREDENTIAL_VARIABLE,
    parse_environment,
)
from vmcontroller.guest import smbios

T = TypeVar("T")

_ADDRESS = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\s:\[\]]+)):([0-9]{1,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Where the broker is (host, port) and what to log in with; None where nobody says."""

    broker: tuple[str, int] | None = None
    credential: Credential | None = None


def told_by_strings(strings: Sequence[str]) -> Told:
    """Take `vmcontroller.broker=HOST:PORT` and `vmcontroller.credential=LOGIN:PASSCODE`."""
    return Told(
        broker=_first(_address(value) for value in _values(strings, "vmcontroller.broker")),
        credential=_first(
            read_credential(value) for value in _values(strings, "vmcontroller.credential")
        ),
    )


def told_by_environment(text: str) -> Told:
    """Take the same from the text of an environment file."""
    variables = parse_environment(text)
    return Told(
        broker=_address(variables.get(BROKER_VARIABLE, "")),
        credential=read_credential(variables.get(CREDENTIAL_VARIABLE, "")),
    )


def read_told(config: VmConfig) -> Told:
    """Read what there is right now; nothing where it can't be read."""
    if not config.environment_file:
        return told_by_strings(smbios.read_oem_strings())
    try:
        return told_by_environment(Path(config.environment_file).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        return Told()


def _values(strings: Sequence[str], key: str) -> list[str]:
    return [text.strip().removeprefix(f"{key}=") for text in strings if text.startswith(f"{key}=")]


def _first(found: Iterable[T | None]) -> T | None:
    return next((each for each in found if each is not None), None)


def _address(text: str) -> tuple[str, int] | None:
    """Return host and port of `HOST:PORT` or `[IPv6]:PORT`."""
    match = _ADDRESS.fullmatch(text)
    if match is None or not 0 < int(match[3]) < 65536:
        return None
    return match[1] or match[2], int(match[3])
