"""The output of commands on its way to the disk, and back to who asks for it.

What comes is taken at once, in memory; threads write it into files. A guest that sends faster
than the disk writes is not stored in memory without end: what is dropped it is asked for again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vmcontroller.common.background import in_background
from vmcontroller.common.copying.course import InThread
from vmcontroller.common.words.commands import STREAMS
from vmcontroller.host.commands.ledger import SpoolLedger
from vmcontroller.host.commands.output import Output
from vmcontroller.host.commands.record import Command
from vmcontroller.host.commands.spool import Spool, file_of


class Outputs:
    """Writes and reads the streams of all commands."""

    _log = Logger()

    def __init__(
        self,
        *,
        spool: Spool,
        ledger: SpoolLedger,
        in_thread: InThread,
        behind: Callable[[Command], None],
    ) -> None:
        """`behind` is called with a command of whose output something has to be sent again."""
        self._spool = spool
        self._ledger = ledger
        self._in_thread = in_thread
        self._behind = behind
        self._writing: dict[str, list[Deferred[None]]] = {}
        """The files that are written to, and who waits for that."""

    def take(self, command: Command, name: str, offset: int, data: bytes) -> bool:
        """Keep what is new in a piece of output; tell whether there was anything."""
        stream = command.streams[name]
        new = stream.take(offset, data, self._ledger.room_of(command.guest))
        file = file_of(command.cmd_id, name)
        if not stream.is_written and file not in self._writing:
            self._writing[file] = []
            _ = in_background(self._write(command, stream, file), "writing output")
        return new > 0

    async def _write(self, command: Command, stream: Output, file: str) -> None:
        try:
            while not stream.is_written:
                await self._write_once(command, stream, file)
        finally:
            for waiting in self._writing.pop(file):
                waiting.callback(None)
        if stream.behind:
            stream.behind = False
            self._behind(command)

    async def _write_once(self, command: Command, stream: Output, file: str) -> None:
        offset, data = stream.to_write()
        try:
            await self._in_thread(self._spool.write, file, offset, data)
        except OSError as error:
            self._ledger.room_of(command.guest).give_back(
                stream.failed(error.strerror or str(error))
            )
            if stream.inline is not None:
                with contextlib.suppress(OSError):  # then the next start removes it
                    await self._in_thread(self._spool.remove, [file])
        else:
            stream.wrote()
            self._ledger.written(command.guest, len(data))

    async def settle(self, command: Command) -> None:
        """Return when all that has come is on the disk; what can't be is a problem of its stream.

        What has no file is not concerned.
        """
        for name in STREAMS:
            file = file_of(command.cmd_id, name)
            stream = command.streams[name]
            await self._written(file)
            if stream.inline is None:
                try:
                    await self._in_thread(self._spool.sync, file)
                except OSError as error:
                    stream.problem = stream.problem or error.strerror or str(error)

    async def _written(self, file: str) -> None:
        while file in self._writing:
            done: Deferred[None] = Deferred()
            self._writing[file].append(done)
            await done

    async def read(self, command: Command, name: str, offset: int, length_bytes: int) -> bytes:
        """Return what has come, from `offset` on; OSError where the disk does not give it."""
        stream = command.streams[name]
        if stream.inline is not None:
            return stream.inline_from(offset, length_bytes)
        file = file_of(command.cmd_id, name)
        if offset + length_bytes > stream.written:
            await self._written(file)
        length_bytes = min(length_bytes, stream.written - offset)
        if length_bytes <= 0:
            return b""
        return await self._in_thread(self._spool.read, file, offset, length_bytes)

    async def forgotten(self, cmd_ids: Iterable[str]) -> None:
        """Remove the files of commands."""
        names = [file_of(cmd_id, name) for cmd_id in cmd_ids for name in STREAMS]
        if not names:
            return
        try:
            await self._in_thread(self._spool.remove, names)
        except OSError as error:  # the next start removes them
            self._log.warn("output can't be removed: {error}", error=str(error))
