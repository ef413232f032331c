"""Use cases of figures: what VMs and their guests use, with a history."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from vmcontroller.host.directory import Directory
from vmcontroller.host.stats.sampler import Sampler

RECENT: Final = 15
"""So many values VirtualBox' collector was set up to answer, which clients of old were given."""


class StatsOperations:
    """What is answered of figures has been read before: no call waits for a hypervisor."""

    def __init__(self, *, directory: Directory, sampler: Sampler) -> None:
        self._directory = directory
        self.sampler = sampler

    async def get_performance_data(self, vm: str) -> Sequence[Mapping[str, Any]]:
        """Answer all figures of a VM with their last values."""
        return self.sampler.answer(await self._directory.find(vm), "*", RECENT)

    async def get_stats(self, vm: str, key: str) -> Sequence[Mapping[str, Any]]:
        """Answer the figures of a VM whose names match the pattern, with all that is kept."""
        return self.sampler.answer(await self._directory.find(vm), key)
