"""Frozen values that both sides share. No I/O, no clock."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

from vmcontroller.common.errors import BadArgument

GuestId = NewType("GuestId", str)
"""A guest's name on the broker: its MAC address, upper case, colons (the seeds' id).

That of a VM without a network card is made of its UUID: see `id_of_uuid`."""

_MAC = re.compile(r"[0-9A-F]{2}(?::[0-9A-F]{2}){5}")


def guest_id(mac: str) -> GuestId:
    """Turn a MAC address in any usual writing into a guest's id.

    Raises BadArgument when it is not six octets in hex.
    """
    digits = re.sub(r"[:\-.]", "", mac).upper()
    canonical = ":".join(digits[i : i + 2] for i in range(0, len(digits), 2))
    if not _MAC.fullmatch(canonical):
        raise BadArgument("MAC address", f"{mac!r} is not six octets in hex")
    return GuestId(canonical)


def id_of_uuid(uuid: str) -> GuestId:
    """Return the id of a guest whose VM has no network card: a locally administered address."""
    return guest_id("02" + hashlib.sha256(uuid.lower().encode()).hexdigest()[:10])


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandSpec:
    """What to run in a guest: no shell, `cmd` is looked up in the PATH of its environment."""

    cmd: str
    args: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the agent's own environment."""
    path: str = ""
    """Working directory; empty is the agent's."""
    file_for_stdin: str = ""
    """A file in the guest that becomes its stdin; empty: the bytes of `stdin`."""
    stdin: bytes = b""
    timeout_s: float = 0.0
    """0 is none; then SIGTERM to it and all it has started, and `kill_after_s` later SIGKILL."""
    kill_after_s: float = 5.0
    user: str = ""
    """Run as this user of the guest; empty is the agent's."""
    group: str = ""
    """Run with this group of the guest; empty is the user's."""
    replace_env: bool = False
    """`env` is the whole environment, instead of an addition to the agent's."""
    umask: int = -1
    """-1 is the agent's."""
    nice: int = 0
    """Added to the agent's niceness: -20 … 19."""
    stdin_open: bool = False
    """Its stdin comes by CMD_STDIN, after the bytes of `stdin`, until that says it is the end."""
    output_limit_bytes: int = 64 * 2**20
    """Kept of each stream; the rest is read and dropped, and the result says `truncated`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandResult:
    """How a command ended. Its output travels apart from it (CMD_OUTPUT)."""

    cmd_id: str
    finished: bool
    """False only when a signal ended it (the seeds' meaning, mended)."""
    exit_code_or_signal: int
    resources: Mapping[str, float]
    """The sixteen ru_* figures of wait4 for that very child; ru_utime and ru_stime in seconds,
    ru_maxrss in KiB."""
    stdout_bytes: int
    stderr_bytes: int
    truncated: bool = False
    timed_out: bool = False
    error: str = ""
    """Why it never ran: `COMMAND_NOT_FOUND: …` (127), `COMMAND_NOT_EXECUTABLE: …` (126)."""
    duration_s: float = 0.0
    lost: bool = False
    """How it ended is not known, `error` says why: the agent was killed while it ran."""
