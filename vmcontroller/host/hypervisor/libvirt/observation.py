"""What can be seen of libvirt's machines, as a part of the backend that changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, Final

import libvirt

from vmcontroller.common.copying.course import InThread
from vmcontroller.common.errors import HypervisorError, Unsupported
from vmcontroller.host.hypervisor.base import Capability
from vmcontroller.host.hypervisor.console_files import ConsoleFiles
from vmcontroller.host.hypervisor.libvirt import calls, screen
from vmcontroller.host.hypervisor.libvirt.console import are_logs_bounded
from vmcontroller.host.hypervisor.libvirt.drivers import Driver
from vmcontroller.host.hypervisor.libvirt.errors import BACKEND
from vmcontroller.host.hypervisor.libvirt.link import Link
from vmcontroller.host.hypervisor.libvirt.pictures import png_of
from vmcontroller.host.hypervisor.libvirt.stats import BulkStats
from vmcontroller.host.hypervisor.libvirt.worker import Worker
from vmcontroller.host.hypervisor.screen import ConsolePiece, Display
from vmcontroller.host.hypervisor.stats import Counters

PICTURE_BYTES_MOST: Final = 2**26
"""What is taken of a screenshot: 16 Mi pixels of three bytes and more."""
PIECE_BYTES: Final = 2**18


class Observation:
    """See the interface `Observable`. A mixin: the backend has the connection."""

    capabilities: frozenset[Capability]
    _driver: Driver
    _in_thread: InThread
    _up: Callable[[], Link]
    _figures_worker: Worker
    """Of a thousand machines a reading takes seconds: other calls don't stand behind it."""

    def __init__(self, state_dir: str) -> None:
        self._console_files = ConsoleFiles(f"{os.path.abspath(state_dir)}/console")
        self._bulk_stats = BulkStats()

    async def stats(self) -> Mapping[str, Counters]:
        """See the interface. Lets the balloons be counted of machines made by others, too."""
        if Capability.FIGURES not in self.capabilities:
            return {}
        return await self._up().call(
            "read figures", self._bulk_stats.read, worker=self._figures_worker
        )

    async def display(self, uuid: str) -> Display:
        """See the interface."""
        text = await self._definition(uuid)
        return screen.display_of(text)

    async def screenshot(self, uuid: str) -> bytes:
        """See the interface."""
        if Capability.SCREENSHOT not in self.capabilities:
            raise Unsupported(BACKEND, "screenshots")
        picture = await self._up().call(
            f"take a screenshot of {uuid}",
            lambda connection: _screenshot(connection, uuid),
            vm=uuid,
        )
        return await self._in_thread(png_of, picture)

    async def console_log(self, uuid: str, offset: int, length: int) -> ConsolePiece:
        """See the interface. Also of a machine made by others whose console has a log."""
        if Capability.CONSOLE_LOG not in self.capabilities:
            raise Unsupported(BACKEND, "console logs")
        path = screen.console_log_of(await self._definition(uuid))
        if not path:
            raise Unsupported(BACKEND, "a console log of this VM: its definition names no file")
        try:
            return await self._in_thread(self._console_files.read, uuid, path, offset, length)
        except OSError as error:
            raise HypervisorError(BACKEND, f"the console log cannot be read: {error}") from error

    async def _definition(self, uuid: str) -> str:
        return await self._up().call(
            f"read the definition of {uuid}",
            lambda connection: calls.find(connection, uuid).XMLDesc(libvirt.VIR_DOMAIN_XML_SECURE),
            vm=uuid,
        )

    async def _console_log_of_new(self) -> str:
        """Return where a new machine's console is to be kept, by its `{uuid}`; empty: nowhere."""
        if Capability.CONSOLE_LOG not in self.capabilities:
            return ""
        if not await self._in_thread(are_logs_bounded):
            return ""
        await self._prepare_console()  # others may start the machine, too
        return self._console_files.log_of("{uuid}")

    async def _prepare_console(self) -> None:
        """See to it that virtlogd finds the directory, before a machine is started."""
        if Capability.CONSOLE_LOG in self.capabilities:
            await self._in_thread(self._console_files.prepare)

    async def _forget_console(self, uuid: str) -> None:
        if Capability.CONSOLE_LOG in self.capabilities:
            await self._in_thread(self._console_files.remove, uuid)


def _screenshot(connection: Any, uuid: str) -> bytes:
    taken: list[bytes] = []
    calls.operate(
        connection,
        uuid,
        calls.Operation(
            name="takeScreenshot",
            allowed=calls.NOT_OFF,
            act=lambda domain: taken.append(_received(connection, domain)),
        ),
    )
    return taken[0]


def _received(connection: Any, domain: Any) -> bytes:
    stream = connection.newStream(0)
    domain.screenshot(stream, 0, 0)
    picture = bytearray()
    while piece := stream.recv(PIECE_BYTES):
        picture += piece
        if len(picture) > PICTURE_BYTES_MOST:
            stream.abort()
            raise Unsupported(BACKEND, f"a screenshot of more than {PICTURE_BYTES_MOST} bytes")
    stream.finish()
    return bytes(picture)
