"""What the hypervisor tells its guest through the firmware: SMBIOS strings and the UUID."""

from __future__ import annotations

import re
from pathlib import Path

_ENTRIES = Path("/sys/firmware/dmi/entries")
_PRODUCT_UUID = Path("/sys/class/dmi/id/product_uuid")

OEM_STRINGS = 11
"""The type of the structure (SMBIOS 3.7, section 7.12)."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def oem_strings(raw: bytes) -> tuple[str, ...]:
    """Return the strings of one type 11 structure; none when the bytes are no such thing.

    Byte 0 is the type, 1 the length of the formatted part, 4 the number of strings, which
    follow it, each ended by NUL, the last by two (SMBIOS 3.7, section 6.1.3).
    """
    if len(raw) < 5 or raw[0] != OEM_STRINGS or not 5 <= raw[1] <= len(raw):
        return ()
    strings = []
    for text in raw[raw[1] :].split(b"\0")[: raw[4]]:
        if not text:
            break
        strings.append(text.decode("utf-8", "replace"))
    return tuple(strings)


def read_oem_strings(entries: Path = _ENTRIES) -> tuple[str, ...]:
    """Return all strings the hypervisor tells; none where there are none or only root may look."""
    strings: list[str] = []
    try:
        for path in sorted(entries.glob(f"{OEM_STRINGS}-*/raw")):
            strings.extend(oem_strings(path.read_bytes()))
    except OSError:
        return tuple(strings)
    return tuple(strings)


def read_uuid(path: Path = _PRODUCT_UUID) -> str:
    """Return the VM's UUID, lower case; empty where it can't be read or is none."""
    try:
        text = path.read_text(encoding="ascii").strip().lower()
    except (OSError, ValueError):
        return ""
    return text if _UUID.fullmatch(text) else ""
