"""The sending half: says a file's bytes as far as the receiver has room for them.

One half lives as long as one connection.
"""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred

from vmcontroller.common.copying.course import Course
from vmcontroller.common.copying.ends import Hole, Source
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.files import (
    FileCredit,
    FileData,
    FileDone,
    FileEnd,
    FileHole,
    FileReady,
)

SKIPPED_BYTES: Final = 256 * 2**20
"""So much of what is not sent again is read and hashed in one step."""


class Outgoing:
    """Sends one file. Holds two blocks at most: one being said, one being read."""

    def __init__(self, course: Course, *, credit_bytes: int | None = None) -> None:
        """`credit_bytes`: the receiver's room, or None when FILE_READY will say it."""
        self._course = course
        self._ready: FileReady | None = None
        self._credit_bytes = credit_bytes
        self._sent_bytes = 0
        self._all_said = False
        self._done = False

    @property
    def sent_bytes(self) -> int:
        """How far it has been said."""
        return self._sent_bytes

    def heard(self, word: Word) -> None:
        """Take a word of the receiver; one that makes no sense now ends the transfer."""
        match word:
            case FileReady() if self._credit_bytes is None:
                self._ready = word
                self._credit_bytes = word.credit_bytes
            case FileCredit() if self._credit_bytes is not None:
                self._credit_bytes = max(self._credit_bytes, word.credit_bytes)
            case FileDone() if self._all_said:
                self._done = True
            case _:
                self._course.break_off(f"said {word.NAME} at a point where it makes no sense")
        self._course.wake()

    async def ready(self, *, patience_s: float = 0.0) -> FileReady:
        """Wait for FILE_READY."""
        while self._ready is None:
            await self._course.news(patience_s=patience_s)
        return self._ready

    async def matches(self, source: Source, have_bytes: int, have_sha256: str) -> bool:
        """Tell whether the source begins with what the receiver has; then it has been skipped.

        If not, `source` is of no use any more; it is to be opened anew, and sent from 0.
        """
        if have_bytes > source.facts.size_bytes:
            return False
        digest = ""
        at_bytes = 0
        while at_bytes < have_bytes:
            at_bytes = min(have_bytes, at_bytes + SKIPPED_BYTES)
            digest = await self._course.step(source.skip, at_bytes)
        return digest == have_sha256

    def go_on(self, from_bytes: int, *, instead_of: int) -> None:
        """Begin to say bytes from here; credit was counted from where the receiver is."""
        self._sent_bytes = from_bytes
        if self._credit_bytes is not None:
            self._credit_bytes -= instead_of - from_bytes

    async def send(self, source: Source) -> None:
        """Say every byte, then the digest, then wait for FILE_DONE.

        Raises TransferFailed or DeadlinePassed; `source` is the caller's to close, and no step
        is at work on it any more.
        """
        size_bytes = source.facts.size_bytes
        ahead: Deferred[bytes | Hole] | None = None
        try:
            while self._sent_bytes < size_bytes:
                block = await (ahead or self._course.uncut(source.read))
                ahead = None
                self._course.check()
                if self._sent_bytes + _length(block) < size_bytes:
                    ahead = self._course.uncut(source.read)
                await self._say(block)
        finally:
            if ahead is not None:
                await ahead.addErrback(lambda _: b"")
        digest = await self._course.step(source.finish)
        self._all_said = True
        transfer_id = self._course.transfer_id
        await self._course.room()
        self._course.say_bytes(
            FileEnd(transfer_id=transfer_id, size_bytes=size_bytes, sha256=digest)
        )
        while not self._done:
            await self._course.news()

    async def _say(self, block: bytes | Hole) -> None:
        if isinstance(block, bytes):
            await self._say_bytes(block)
            return
        await self._course.room()
        self._course.say_bytes(
            FileHole(
                transfer_id=self._course.transfer_id,
                offset=self._sent_bytes,
                length_bytes=block.length_bytes,
            )
        )
        self._sent_bytes += block.length_bytes

    async def _say_bytes(self, block: bytes) -> None:
        said = 0
        while said < len(block):
            while (room_bytes := (self._credit_bytes or 0) - self._sent_bytes) <= 0:
                await self._course.news()
            await self._course.room()
            length_bytes = min(self._course.chunk_bytes, room_bytes, len(block) - said)
            whole = length_bytes == len(block)
            data = block if whole else block[said : said + length_bytes]
            self._course.say_bytes(
                FileData(transfer_id=self._course.transfer_id, offset=self._sent_bytes, data=data)
            )
            said += length_bytes
            self._sent_bytes += length_bytes


def _length(block: bytes | Hole) -> int:
    return block.length_bytes if isinstance(block, Hole) else len(block)
