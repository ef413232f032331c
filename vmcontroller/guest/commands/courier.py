"""Brings output and results of commands to the host, as fast as the connection takes them.

It knows nothing of processes: a parcel is what is known of one command so far.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from vmcontroller.common.errors import NotConnected
from vmcontroller.common.model import CommandResult
from vmcontroller.common.words import Utterance, Word
from vmcontroller.common.words.commands import STREAMS, CmdOutput, CmdResult
from vmcontroller.guest.commands.spool import StreamSpool

CHUNK_BYTES = 64 * 1024


@dataclass(slots=True, kw_only=True, eq=False)
class Parcel:
    """One command as the host is to know it; kept until the host has stored the result."""

    cmd_id: str
    spools: Mapping[str, StreamSpool]
    sent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(STREAMS, 0))
    wanted: bool = True
    """Whether the host waits for the output; it gets the result in any case."""
    result: CommandResult | None = None
    said: Utterance | None = None
    """The word of that result, if it was put together before."""
    result_said: bool = False

    @property
    def size_bytes(self) -> int:
        """How much of the disk its output takes."""
        return sum(spool.size_bytes for spool in self.spools.values())

    def release(self) -> None:
        """Give up the output."""
        for spool in self.spools.values():
            spool.release()

    def next_word(self) -> Word | None:
        """Return what is to be said now and take it for said; None when that is nothing."""
        if self.wanted:
            # The one that is behind first, so that neither stream waits for the other's end.
            for stream in sorted(STREAMS, key=self.sent.__getitem__):
                if output := self._output(stream):
                    return output
        if self.result is None or self.result_said:
            return None
        self.result_said = True
        return self._result(self.result)

    def _result(self, result: CommandResult) -> CmdResult:
        """Count again: the disk may have lost bytes since the end."""
        stdout, stderr = self.spools["stdout"], self.spools["stderr"]
        truncated = result.truncated or stdout.truncated or stderr.truncated
        now = (stdout.size_bytes, stderr.size_bytes, truncated)
        if now == (result.stdout_bytes, result.stderr_bytes, result.truncated):
            return CmdResult(result=result, said=self.said)
        stdout_bytes, stderr_bytes, truncated = now
        changed = dataclasses.replace(
            result, stdout_bytes=stdout_bytes, stderr_bytes=stderr_bytes, truncated=truncated
        )
        return CmdResult(result=changed)

    def _output(self, stream: str) -> CmdOutput | None:
        offset = self.sent[stream]
        if offset >= self.spools[stream].size_bytes:
            return None
        data = self.spools[stream].read(offset, CHUNK_BYTES)
        if not data:
            return None
        self.sent[stream] += len(data)
        return CmdOutput(cmd_id=self.cmd_id, stream=stream, offset=offset, data=data)

    def again(self, has: tuple[int, int] | None) -> None:
        """Begin again from what the host has of the streams; None: it waits for none."""
        self.result_said = False
        self.wanted = has is not None
        for stream, count in zip(STREAMS, has or (), strict=False):
            self.sent[stream] = min(count, self.spools[stream].size_bytes)


class Courier:
    """Says what parcels have to say, in turn, while the connection takes more.

    One frame of output at most waits in front of any other word. Shut until `open`.
    """

    _log = Logger()

    def __init__(
        self, *, say: Callable[[Word], None], writable: Callable[[], Awaitable[None]]
    ) -> None:
        self._say = say
        self._writable = writable
        self._waiting: dict[str, Parcel] = {}
        self._is_open = False
        self._carrying = False
        self._round = 0

    def open(self) -> None:
        """Begin to say what waits: the host has told what it has."""
        self._round += 1
        self._is_open = True
        self._carrying = False
        self._carry_on()

    def shut(self) -> None:
        """Say nothing until `open`."""
        self._round += 1
        self._is_open = False
        self._carrying = False

    def offer(self, parcel: Parcel) -> None:
        """Note that a parcel may have something new to say."""
        self._waiting[parcel.cmd_id] = parcel
        self._carry_on()

    def forget(self, cmd_id: str) -> None:
        """Say nothing more of this command."""
        self._waiting.pop(cmd_id, None)

    def _carry_on(self) -> None:
        if self._is_open and self._waiting and not self._carrying:
            self._carrying = True
            _ = Deferred.fromCoroutine(self._carry(self._round))

    async def _carry(self, turn: int) -> None:
        try:
            while self._waiting:
                await self._writable()
                if self._round != turn:
                    return
                self._say_one()
        except NotConnected:
            return
        except Exception:  # noqa: BLE001 - nobody awaits this; logged, and the next offer tries
            self._log.failure("Sending output failed")
        finally:
            if self._round == turn:
                self._carrying = False

    def _say_one(self) -> None:
        if not self._waiting:
            return
        cmd_id = next(iter(self._waiting))
        parcel = self._waiting.pop(cmd_id)
        word = parcel.next_word()
        if word is not None:
            self._waiting[cmd_id] = parcel
            self._say(word)
