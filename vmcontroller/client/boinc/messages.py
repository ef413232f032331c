"""What BOINC's client and a wrapper say to each other, in channels and in files. Pure."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final

FINISH_FILE: Final = "boinc_finish_called"
TEMPORARY_EXIT_FILE: Final = "boinc_temporary_exit"
LOCK_FILE: Final = "boinc_lockfile"
INIT_DATA_FILE: Final = "init_data.xml"
STDERR_FILE: Final = "stderr.txt"

SILENT_FOR_S: Final = 30.0
"""A client without a process id that has not sent a heartbeat for so long is gone."""


class ExitCode(enum.IntEnum):
    """BOINC's own exit codes, those that a wrapper may use."""

    OK = 0
    ABORTED_BY_CLIENT = 194
    CHILD_FAILED = 195
    TIME_LIMIT_EXCEEDED = 197
    INIT_FAILURE = 206


@dataclass(frozen=True, slots=True)
class Control:
    """What the client wants now."""

    suspended: bool = False
    quit: bool = False
    abort: bool = False
    gone: bool = False
    """The client itself is no longer there."""

    @property
    def ends(self) -> bool:
        """Whether the wrapper is to end, whatever it does just now."""
        return self.quit or self.abort or self.gone


def controlled(control: Control, message: str) -> Control:
    """Return what the client wants after it has sent this; it may say several things at once."""
    if "<suspend/>" in message:
        control = replace(control, suspended=True)
    if "<resume/>" in message:
        control = replace(control, suspended=False)
    if "<quit/>" in message:
        control = replace(control, quit=True)
    if "<abort/>" in message:
        control = replace(control, abort=True)
    return control


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How far the job is."""

    cpu_s: float = 0.0
    checkpoint_cpu_s: float = 0.0
    fraction_done: float = 0.0

    def message(self, start: float = 0.0, end: float = 1.0) -> str:
        """Return it as the client reads it; `start` and `end` are this stage's of the whole."""
        fraction = start + self.fraction_done * (end - start)
        return (
            f"<current_cpu_time>{self.cpu_s:e}</current_cpu_time>\n"
            f"<checkpoint_cpu_time>{self.checkpoint_cpu_s:e}</checkpoint_cpu_time>\n"
            f"<fraction_done>{fraction:e}</fraction_done>\n"
        )


def finish_text(code: int, message: str = "") -> str:
    """Return the file that says: the job is done, don't start it again."""
    return f"{code}\n{_one_line(message)}\n\n" if message else f"{code}\n"


def temporary_exit_text(delay_s: float, reason: str) -> str:
    """Return the file that says: start it again, not before so many seconds."""
    return f"{delay_s:.0f}\n{_one_line(reason)}\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:250]
