"""Calls: files between the daemon's host and its guests. For those of this machine: copying.py."""

from __future__ import annotations

from typing import Any

from vmcontroller.client.answers import Options, Transfer
from vmcontroller.client.caller import NOTHING, UNLIMITED, Caller


class CopyCalls(Caller):
    """Copies; a local path is one of the daemon's host, below what its configuration allows."""

    def cp_file_to_vm(
        self, vm: str, local_path: str, remote_path: str = "", options: Options = NOTHING
    ) -> list[Any]:
        """Copy a file of the daemon's host into a guest; return when it is whole and in place."""
        answer: list[Any] = self.call(
            "cpFileToVM", vm, local_path, remote_path, options, wait_s=UNLIMITED
        )
        return answer

    def cp_file_from_vm(
        self, vm: str, remote_path: str, local_path: str = "", options: Options = NOTHING
    ) -> list[Any]:
        """Copy a file of a guest to the daemon's host; return when it is whole and in place."""
        answer: list[Any] = self.call(
            "cpFileFromVM", vm, remote_path, local_path, options, wait_s=UNLIMITED
        )
        return answer

    def list_transfers(self, vm: str = "") -> list[Transfer]:
        """Return the copies under way, those of the last hour, and the interrupted."""
        answer: list[Transfer] = self.call("listTransfers", vm)
        return answer

    def get_transfer(self, transfer_id: str) -> Transfer:
        """Return where a copy stands."""
        answer: Transfer = self.call("getTransfer", transfer_id)
        return answer

    def cancel_transfer(self, transfer_id: str) -> bool:
        """End a copy; nothing of it remains. False: it had ended before."""
        return bool(self.call("cancelTransfer", transfer_id))
