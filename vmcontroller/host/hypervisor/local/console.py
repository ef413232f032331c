"""The console of a local VM is what its agent logs. Blocks; called in threads."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

from vmcontroller.host.hypervisor.local.store import LocalVm

BYTES_MOST: Final = 2**20
"""A log that is longer when its agent is started is kept beside a new one, the one before goes."""


def log_of(vm: LocalVm) -> Path:
    """Return the file that a VM's agent logs to."""
    return vm.home / "agent.log"


def turn_over(vm: LocalVm) -> None:
    """Begin a new log if the old one is long."""
    log = log_of(vm)
    with contextlib.suppress(FileNotFoundError):
        if log.stat().st_size > BYTES_MOST:
            log.rename(f"{log}.0")
