"""Calls: snapshots, and VMs that sleep on the disk."""

from __future__ import annotations

from vmcontroller.client.answers import Snapshot
from vmcontroller.client.caller import UNLIMITED, Caller


class SnapshotCalls(Caller):
    """Snapshots and saved states."""

    def take_snapshot(self, vm: str, name: str, desc: str = "") -> bool:
        """Keep a VM as it is now, with its memory if it runs; the name is unique per VM."""
        return bool(self.call("takeSnapshot", vm, name, desc, wait_s=UNLIMITED))

    def restore_snapshot(self, vm: str, name: str = "", desc: str = "") -> bool:
        """Put a VM back to what it was; '' is the current snapshot. `desc` is not used."""
        return bool(self.call("restoreSnapshot", vm, name, desc, wait_s=UNLIMITED))

    def delete_snapshot(self, vm: str, name: str) -> bool:
        """Drop a snapshot; those that were taken after it stay."""
        return bool(self.call("deleteSnapshot", vm, name, wait_s=UNLIMITED))

    def list_snapshots(self, vm: str) -> list[str]:
        """Return the names of a VM's snapshots, depth first."""
        answer: list[str] = self.call("listSnapshots", vm)
        return answer

    def get_snapshots(self, vm: str) -> list[Snapshot]:
        """Return the roots of the tree of a VM's snapshots."""
        answer: list[Snapshot] = self.call("getSnapshots", vm)
        return answer

    def save_state(self, vm: str) -> bool:
        """Write a running VM's memory to the disk and switch it off; `start` goes on from it."""
        return bool(self.call("saveState", vm, wait_s=UNLIMITED))

    def discard_state(self, vm: str) -> bool:
        """Drop a saved state; the VM is off then."""
        return bool(self.call("discardState", vm, wait_s=UNLIMITED))

    def sleep(self, vm: str) -> bool:
        """Let a VM's guest sleep, as the hypervisor does it."""
        return bool(self.call("sleep", vm, wait_s=UNLIMITED))
