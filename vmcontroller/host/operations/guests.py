"""Use cases of guests as such: whether they are there, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version as distribution_version
from typing import Any

from vmcontroller.host.broker_addresses import BrokerAddresses
from vmcontroller.host.conversation import Conversation
from vmcontroller.host.reach import Reach
from vmcontroller.host.recent_events import RecentEvents


class GuestOperations:
    """Guests, and what connects them with this daemon."""

    def __init__(
        self,
        *,
        conversation: Conversation,
        reach: Reach,
        broker_addresses: BrokerAddresses,
        events: RecentEvents,
    ) -> None:
        self._conversation = conversation
        self._reach = reach
        self._broker_addresses = broker_addresses
        self._events = events

    async def ping(self, vm: str, timeout_s: float) -> str:
        """Answer when the agent has; wait up to `timeout_s` for an agent that still comes up."""
        found = await self._reach.vm_on(vm)
        await self._conversation.ping(self._reach.id_of(found), found.name, timeout_s)
        return f"PONG from {found.name}"

    async def get_guest(self, vm: str) -> Mapping[str, Any]:
        """Answer what is known of a VM's guest."""
        return await self._reach.describe(vm)

    async def list_guests(self) -> Mapping[str, Mapping[str, Any]]:
        """Answer {name: what is known of its guest} of all VMs."""
        return await self._reach.describe_all()

    async def get_broker_stats(self) -> Mapping[str, Any]:
        """Answer what the broker counts, where it listens and what it allows."""
        return {**self._broker_addresses.stats(), "events": self._events.answer()}

    async def version(self) -> str:
        """Answer the daemon's version."""
        return distribution_version("vmcontroller")
