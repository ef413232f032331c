"""Which failures are worth another try, which are for later, and which are the end. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmcontroller.client.boinc.deciding import Later
from vmcontroller.client.boinc.messages import ExitCode
from vmcontroller.client.boinc.progress import Ending
from vmcontroller.client.errors import ClientError, Fault, Unauthorized

SOON_S: Final = 300.0
"""What BOINC's own wrapper for VMs waits: a day was too long for what often goes by itself."""
OPERATOR_S: Final = 3600.0
"""Somebody has to do something on this host."""
PATIENCE_S: Final = 120.0
"""How long what goes by itself may take until the wrapper ends and is started again later."""
MOST_FAILURES: Final = 5
"""Of the hypervisor, in one job."""


@dataclass(frozen=True, slots=True)
class Again:
    """It goes by itself, as a rule: look again."""


_OF_THE_JOB: Final = frozenset(
    {"BAD_ARGUMENT", "BAD_IMAGE", "NO_SUCH_IMAGE", "NO_SUCH_METHOD", "NO_SUCH_SNAPSHOT"}
    | {"UNSUPPORTED", "VM_EXISTS"}
)
"""Another try would end the same."""

_COPIES_AGAIN: Final = frozenset({"CANCELLED", "CHANGED", "CONNECTION_LOST", "DIGEST_MISMATCH"})
_COPIES_LATER: Final = frozenset({"DISK_FULL", "IO_ERROR"})


def classify(error: ClientError, *, failures: int, failing_for_s: float) -> Again | Later | Ending:
    """Return what a failed call means for the job.

    `failures` says how often the hypervisor has failed in it, this one among them;
    `failing_for_s` since when every call has failed.
    """
    text = str(error)
    name = error.name if isinstance(error, Fault) else ""
    verdict: Again | Later | Ending = _again_or(Later(SOON_S, text), failing_for_s)
    if isinstance(error, Unauthorized) or name == "ACCESS_DENIED":
        verdict = Later(OPERATOR_S, text)
    elif isinstance(error, Fault) and name == "TRANSFER_FAILED":
        verdict = _of_a_copy(error, failing_for_s)
    elif name in _OF_THE_JOB or (name == "HYPERVISOR_ERROR" and failures > MOST_FAILURES):
        verdict = Ending(code=ExitCode.INIT_FAILURE, message=text)
    elif name in {"IMAGE_IN_USE", "HYPERVISOR_ERROR"}:
        verdict = Later(SOON_S, text)
    return verdict


def _again_or(later: Later, failing_for_s: float) -> Again | Later:
    return Again() if failing_for_s < PATIENCE_S else later


def _of_a_copy(error: Fault, failing_for_s: float) -> Again | Later | Ending:
    word = error.detail.split(":")[0].strip()
    if word in _COPIES_LATER:
        return Later(OPERATOR_S, str(error))
    if word in _COPIES_AGAIN:
        return _again_or(Later(SOON_S, str(error)), failing_for_s)
    return Ending(code=ExitCode.CHILD_FAILED, message=str(error))


def of_exit_code(code: int, retry: frozenset[int], *, timed_out: bool) -> Later | Ending | None:
    """Return what a task's exit code means; None: it has done its work."""
    if timed_out:
        text = "the task took longer than its time limit"
        return Ending(code=ExitCode.TIME_LIMIT_EXCEEDED, message=text)
    if code == 0:
        return None
    if code in retry:
        return Later(SOON_S, f"the task asks to be tried again later (exit code {code})")
    how = f"signal {code - 128}" if code > 128 else f"exit code {code}"
    return Ending(code=ExitCode.CHILD_FAILED, message=f"the task ended with {how}")
