"""The states that a virtual machine can be in."""

from __future__ import annotations

import enum


class VmState(enum.StrEnum):
    """States of a virtual machine, with the names `getState` has answered since seed 001."""

    POWERED_OFF = "PoweredOff"
    SAVED = "Saved"
    ABORTED = "Aborted"
    """Not running because its process died or the guest crashed."""
    RUNNING = "Running"
    PAUSED = "Paused"
    STARTING = "Starting"
    STOPPING = "Stopping"
    SAVING = "Saving"
    RESTORING = "Restoring"
    UNKNOWN = "Unknown"

    @property
    def is_off(self) -> bool:
        """Whether no process runs for the machine."""
        return self in {VmState.POWERED_OFF, VmState.SAVED, VmState.ABORTED}
