"""The receiving half: takes a file's bytes as they come, checks every word about them."""

from __future__ import annotations

from typing import Final

from vmcontroller.common.copying.course import Course
from vmcontroller.common.copying.landing import TRUSTING, NewFile, Terms
from vmcontroller.common.copying.source import Place
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.files import FileCredit, FileData, FileEnd, FileFacts, FileReady

WINDOW_BYTES: Final = 2**20
"""How far the sender may be ahead of the disk: all that a transfer ever holds in memory."""


class Incoming:
    """Receives one file. What is heard but not yet written never exceeds the window."""

    def __init__(
        self, course: Course, *, facts: FileFacts | None = None, terms: Terms = TRUSTING
    ) -> None:
        """`facts` of the file to come, or None when FILE_READY will say them."""
        self._course = course
        self._facts = facts
        self._terms = terms
        self._granted_bytes = WINDOW_BYTES
        self._heard_bytes = 0
        self._unwritten = bytearray()
        self._end: FileEnd | None = None
        self._stretch_from_bytes = 0
        self._stretch_s = 0.0

    def heard(self, word: Word) -> None:
        """Take a word of the sender; one that breaks the rules ends the transfer."""
        match word:
            case FileReady() if self._facts is None:
                self._facts = word.facts
            case FileData() if self._facts is not None and self._end is None:
                self._take(word, self._facts)
            case FileEnd() if self._facts is not None and self._end is None:
                self._take_end(word, self._facts)
            case _:
                self._course.break_off(f"said {word.NAME} at a point where it makes no sense")
        self._course.wake()

    async def ready(self) -> FileFacts:
        """Wait for FILE_READY, when nobody has said the facts yet."""
        while self._facts is None:
            await self._course.news()
        return self._facts

    async def receive(self, place: Place, facts: FileFacts, *, say_ready: bool) -> None:
        """Receive all bytes and put the file in place; otherwise nothing of it remains.

        `say_ready`: the sender waits for FILE_READY. Raises TransferFailed or DeadlinePassed.
        `place` is the caller's to close.
        """
        transfer_id = self._course.transfer_id
        new = await self._course.uncut(NewFile, place, transfer_id, facts, self._terms)
        try:
            self._course.check()
            if say_ready:
                word = FileReady(
                    transfer_id=transfer_id, facts=facts, credit_bytes=self._granted_bytes
                )
                self._course.say(word)
            end = await self._write_all(new)
            await self._course.uncut(new.put_in_place, end.sha256)
        finally:
            await self._course.uncut(new.discard)

    async def _write_all(self, new: NewFile) -> FileEnd:
        while True:
            if self._unwritten:
                data, self._unwritten = self._unwritten, bytearray()
                await self._course.step(new.write, data)
                self._renew(new)
            elif self._end is not None:
                return self._end
            else:
                await self._more()

    async def _more(self) -> None:
        """Wait for bytes; only a stretch of the floor's length gives the sender time anew.

        Waiting for the disk is not the sender's time: it has credit whenever this is reached.
        """
        if self._heard_bytes - self._stretch_from_bytes >= self._terms.floor_bytes:
            self._stretch_from_bytes = self._heard_bytes
            self._stretch_s = 0.0
        self._stretch_s += await self._course.news(waited_s=self._stretch_s)

    def _take(self, word: FileData, facts: FileFacts) -> None:
        after = word.offset + len(word.data)
        if word.offset != self._heard_bytes:
            problem = f"sent bytes from {word.offset} on instead of {self._heard_bytes}"
        elif not word.data:
            problem = "sent no bytes"
        elif after > facts.size_bytes:
            problem = f"sent more than the {facts.size_bytes} bytes it announced"
        elif after > self._granted_bytes:
            problem = f"sent {after} bytes where {self._granted_bytes} were allowed"
        else:
            self._unwritten += word.data
            self._heard_bytes = after
            return
        self._course.break_off(problem)

    def _take_end(self, word: FileEnd, facts: FileFacts) -> None:
        if word.size_bytes == self._heard_bytes == facts.size_bytes:
            self._end = word
            return
        self._course.break_off(
            f"ended after {self._heard_bytes} bytes, says {word.size_bytes}, "
            f"and had announced {facts.size_bytes}"
        )

    def _renew(self, new: NewFile) -> None:
        room_bytes = min(new.written_bytes + WINDOW_BYTES, new.facts.size_bytes)
        fresh_bytes = room_bytes - self._granted_bytes
        # A quarter at a time: a word for every chunk would only add traffic.
        last = room_bytes == new.facts.size_bytes
        if fresh_bytes >= WINDOW_BYTES // 4 or (last and fresh_bytes > 0):
            self._granted_bytes = room_bytes
            self._course.say(
                FileCredit(transfer_id=self._course.transfer_id, credit_bytes=room_bytes)
            )
