"""Calls: guests, and the broker that they speak through."""

from __future__ import annotations

from typing import Any

from vmcontroller.client.answers import Guest
from vmcontroller.client.caller import Caller


class GuestCalls(Caller):
    """Guests as their agents tell of them."""

    def ping(self, vm: str, timeout_secs: float = 5.0) -> str:
        """Ask a VM's agent whether it is there, and wait so long for one that still comes up."""
        return str(self.call("ping", vm, timeout_secs, wait_s=timeout_secs))

    def get_guest(self, vm: str) -> Guest:
        """Return what is known of a VM's guest; it is not asked."""
        answer: Guest = self.call("getGuest", vm)
        return answer

    def list_guests(self) -> dict[str, Guest]:
        """Return {name of the VM: what is known of its guest}."""
        answer: dict[str, Guest] = self.call("listGuests")
        return answer

    def get_broker_stats(self) -> dict[str, Any]:
        """Return what the embedded STOMP broker does."""
        answer: dict[str, Any] = self.call("getBrokerStats")
        return answer
