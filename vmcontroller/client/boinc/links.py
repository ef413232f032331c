"""BOINC's soft links: small files of the slot that say where the real ones are."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

_FIRST_BYTES: Final = 1024
_SOFT_LINK: Final = re.compile(r"\A\s*<soft_link>([^<>\0\n]+)</soft_link>")


def soft_link(first: bytes) -> str:
    """Return where a file that begins so leads; '' when it is no link."""
    found = _SOFT_LINK.match(first.decode("utf-8", "replace"))
    return found.group(1).strip() if found else ""


def resolve(slot: Path, name: str) -> Path:
    """Return the absolute path of what the slot calls `name`; it need not exist.

    A link is followed once, as BOINC does. Raises OSError.
    """
    path = slot / name
    try:
        with path.open("rb") as file:
            target = soft_link(file.read(_FIRST_BYTES))
    except (FileNotFoundError, IsADirectoryError):
        target = ""
    return Path(os.path.abspath(slot / target if target else path))
