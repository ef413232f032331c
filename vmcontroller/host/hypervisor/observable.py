"""What a hypervisor lets be seen of its machines: the part of the interface that changes none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from vmcontroller.host.hypervisor.screen import ConsolePiece, Display
from vmcontroller.host.hypervisor.stats import Counters


class Observable(Protocol):
    """Part of `Hypervisor`, which see for the errors."""

    async def stats(self) -> Mapping[str, Counters]:
        """Return the counters of every machine that is on, by UUID, in one bulk read.

        Of a machine that does not answer its hypervisor there is less, or nothing; it does not
        keep the others' counters from being read.
        """
        ...

    async def display(self, uuid: str) -> Display:
        """Return how a machine's screen can be reached now; of one that is off, its kind."""
        ...

    async def screenshot(self, uuid: str) -> bytes:
        """Return what is on the screen of a machine that is on, as a PNG of bounded size.

        Raises Unsupported without SCREENSHOT, and for a screen that is too large.
        """
        ...

    async def console_log(self, uuid: str, offset: int, length: int) -> ConsolePiece:
        """Return up to `length` bytes of what a machine wrote to its console.

        What is asked for and dropped already is passed over. Raises Unsupported without
        CONSOLE_LOG, and for a machine whose console is not kept.
        """
        ...
