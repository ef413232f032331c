"""The sending half: says a file's bytes as far as the receiver has room for them."""

from __future__ import annotations

from typing import Final

from twisted.internet.defer import Deferred

from vmcontroller.common.copying.course import Course
from vmcontroller.common.copying.source import SourceFile
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.files import FileCredit, FileData, FileDone, FileEnd, FileReady

CHUNK_BYTES: Final = 128 * 1024
"""In one FILE_DATA: an eighth of the largest frame, so that other words get in between."""


class Outgoing:
    """Sends one file. Holds two blocks at most: one being said, one being read."""

    def __init__(self, course: Course, *, credit_bytes: int | None = None) -> None:
        """`credit_bytes`: the receiver's room, or None when FILE_READY will say it."""
        self._course = course
        self._ready = credit_bytes is not None
        self._credit_bytes = credit_bytes or 0
        self._sent_bytes = 0
        self._all_said = False
        self._done = False

    def heard(self, word: Word) -> None:
        """Take a word of the receiver; one that makes no sense now ends the transfer."""
        match word:
            case FileReady() if not self._ready:
                self._ready = True
                self._credit_bytes = word.credit_bytes
            case FileCredit() if self._ready:
                self._credit_bytes = max(self._credit_bytes, word.credit_bytes)
            case FileDone() if self._all_said:
                self._done = True
            case _:
                self._course.break_off(f"said {word.NAME} at a point where it makes no sense")
        self._course.wake()

    async def ready(self) -> None:
        """Wait for FILE_READY."""
        while not self._ready:
            await self._course.news()

    async def send(self, source: SourceFile) -> None:
        """Say every byte, then the digest, then wait for FILE_DONE.

        Raises TransferFailed or DeadlinePassed; `source` is the caller's to close, and no step
        is at work on it any more.
        """
        size_bytes = source.facts.size_bytes
        ahead: Deferred[bytes] | None = None
        try:
            while self._sent_bytes < size_bytes:
                block = await (ahead or self._course.uncut(source.read))
                ahead = None
                self._course.check()
                if self._sent_bytes + len(block) < size_bytes:
                    ahead = self._course.uncut(source.read)
                await self._say_block(block)
        finally:
            if ahead is not None:
                await ahead.addErrback(lambda _: b"")
        digest = await self._course.step(source.finish)
        self._all_said = True
        transfer_id = self._course.transfer_id
        self._course.say(FileEnd(transfer_id=transfer_id, size_bytes=size_bytes, sha256=digest))
        while not self._done:
            await self._course.news()

    async def _say_block(self, block: bytes) -> None:
        said = 0
        while said < len(block):
            while self._credit_bytes <= self._sent_bytes:
                await self._course.news()
            await self._course.room()
            room_bytes = min(CHUNK_BYTES, self._credit_bytes - self._sent_bytes)
            data = block[said : said + room_bytes]
            self._course.say(
                FileData(transfer_id=self._course.transfer_id, offset=self._sent_bytes, data=data)
            )
            said += len(data)
            self._sent_bytes += len(data)
