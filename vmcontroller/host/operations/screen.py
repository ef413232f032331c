"""Use cases of a VM's screen and serial console."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vmcontroller.host.directory import Directory
from vmcontroller.host.hypervisor.base import Hypervisor


class ScreenOperations:
    """What a VM shows; its guest's agent is not needed."""

    def __init__(self, *, directory: Directory, hypervisor: Hypervisor) -> None:
        self._directory = directory
        self._hypervisor = hypervisor

    async def get_display(self, vm: str) -> Mapping[str, Any]:
        """Answer how the screen can be reached."""
        found = await self._directory.find(vm)
        return asdict(await self._hypervisor.display(found.uuid))

    async def take_screenshot(self, vm: str) -> bytes:
        """Answer what is on the screen, as a PNG."""
        found = await self._directory.find(vm)
        return await self._hypervisor.screenshot(found.uuid)

    async def get_console_log(self, vm: str, offset: int, length: int) -> Mapping[str, Any]:
        """Answer a piece of what the VM wrote to its serial console."""
        found = await self._directory.find(vm)
        piece = await self._hypervisor.console_log(found.uuid, offset, length)
        return {
            "data": piece.data,
            "offset": piece.offset,
            "next": piece.next,
            "begins": piece.begins,
        }
