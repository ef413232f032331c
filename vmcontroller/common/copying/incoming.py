"""The receiving half: takes a file's bytes as they come, checks every word about them.

One half lives as long as one connection; what has landed may outlive it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from vmcontroller.common.copying.course import Course, hashing_s, is_lost
from vmcontroller.common.copying.ends import Hole, Landing
from vmcontroller.common.copying.holding import HOLE_MOST_BYTES
from vmcontroller.common.copying.site import Site
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.files import (
    FileCredit,
    FileData,
    FileEnd,
    FileFacts,
    FileHole,
    FileReady,
)

WINDOW_BYTES: Final = 2 * 2**20
"""How far the sender may be ahead of the disk: all that a transfer ever holds in memory."""

STEP_BYTES: Final = WINDOW_BYTES // 4
"""Written and hashed at once, and of credit renewed: a word for each piece would add traffic."""

PIECES_MOST: Final = 16_384
"""Bytes and holes by turns that are not written yet; no file has so many within the window."""

JOINED_BYTES: Final = 64 * 1024
"""Smaller pieces are put together, so that a byte at a time takes no more memory than many."""

HOLES_PER_BYTE: Final = 1024
"""So much of a hole is worth a byte where a sender must send a least amount."""

Piece = bytes | bytearray | memoryview | Hole
"""What was heard, as it is to be written."""


class Incoming:
    """Receives one file. What is heard but not yet written never exceeds the window."""

    def __init__(
        self,
        course: Course,
        *,
        facts: FileFacts | None = None,
        floor_bytes: int = 0,
        resumed: bool = False,
        have_bytes: int = 0,
    ) -> None:
        """`facts` of the file to come, or None when FILE_READY will say them.

        `floor_bytes` must come in each idle deadline's time that the sender lets this side wait.
        `resumed`: this is not the first connection, and words of earlier ones may still come.
        `have_bytes` is what FILE_GET said there is.
        """
        self.goes_on = False
        """Whether FILE_READY said so; else all comes from the beginning."""
        self._course = course
        self._facts = facts
        self._floor_bytes = floor_bytes
        self._resumed = resumed
        self._begun = not resumed
        """Whether a word of this connection's bytes has been taken."""
        self._open = not (resumed and facts is not None)
        """Whether bytes may come; the sender of a resumed FILE_PUT waits for FILE_READY."""
        self._heard_bytes = have_bytes
        self._granted_bytes = have_bytes + WINDOW_BYTES
        self._anew = False
        self._pieces: deque[Piece] = deque()
        self._end: FileEnd | None = None
        self._stretch = 0
        self._stretch_s = 0.0

    @property
    def heard_bytes(self) -> int:
        """How far it has come."""
        return self._heard_bytes

    def heard(self, word: Word) -> None:
        """Take a word of the sender; one that breaks the rules ends the transfer."""
        match word:
            case FileReady() if self._facts is None:
                self._take_ready(word)
            case FileData() if self._facts is not None and self._end is None:
                self._take(word, self._facts)
            case FileHole() if self._facts is not None and self._end is None:
                self._take_hole(word, self._facts)
            case FileEnd() if self._facts is not None and self._end is None:
                self._take_end(word, self._facts)
            case _ if self._resumed and isinstance(word, FileReady | FileData | FileHole | FileEnd):
                return
            case _:
                self._course.break_off(f"said {word.NAME} at a point where it makes no sense")
        self._course.wake()

    async def ready(self, *, patience_s: float = 0.0) -> FileFacts:
        """Wait for FILE_READY, when nobody has said the facts yet."""
        while self._facts is None:
            await self._course.news(patience_s=patience_s)
        return self._facts

    async def receive(self, site: Site, *, say_ready: bool, keeps: bool = False) -> None:
        """Receive all bytes on what has landed, and put it in place.

        `say_ready`: the sender waits for FILE_READY. `keeps`: what has come stays suspended at the
        site when the peer is only gone; otherwise nothing of it remains. Raises TransferFailed or
        DeadlinePassed.
        """
        try:
            self._course.check()
            if say_ready:
                self._say_ready(site.landing)
            end = await self._write_all(site)
            await self._course.uncut(site.put_in_place, end.sha256)
        except BaseException as error:
            await self._course.uncut(site.suspend if keeps and is_lost(error) else site.discard)
            raise
        await self._course.uncut(site.discard)

    def _say_ready(self, landing: Landing) -> None:
        have_bytes = landing.written_bytes
        self._open = True
        self._heard_bytes = have_bytes
        self._granted_bytes = have_bytes + WINDOW_BYTES
        self._course.say(
            FileReady(
                transfer_id=self._course.transfer_id,
                facts=landing.facts,
                credit_bytes=self._granted_bytes,
                have_bytes=have_bytes,
                have_sha256=landing.prefix() if have_bytes else "",
            )
        )

    async def _write_all(self, site: Site) -> FileEnd:
        while True:
            if self._anew:
                self._anew = False
                await self._course.uncut(site.begin_anew)
            elif self._pieces:
                await self._course.step(_write, site.landing, self._next_pieces())
                self._renew(site.landing)
            elif self._end is not None:
                return self._end
            else:
                await self._more()

    def _next_pieces(self) -> list[Piece]:
        """Take from what was heard as much as one step may do."""
        taken: list[Piece] = []
        room_bytes, hole_room_bytes = STEP_BYTES, HOLE_MOST_BYTES
        while self._pieces and room_bytes > 0 and hole_room_bytes > 0:
            piece = self._pieces.popleft()
            if isinstance(piece, Hole):
                if piece.length_bytes > hole_room_bytes:
                    self._pieces.appendleft(Hole(piece.length_bytes - hole_room_bytes))
                    piece = Hole(hole_room_bytes)
                hole_room_bytes -= piece.length_bytes
            else:
                room_bytes -= len(piece)
            taken.append(piece)
        return taken

    async def _more(self) -> None:
        """Wait for bytes; only a stretch of the floor's length gives the sender time anew.

        Waiting for the disk is not the sender's time: it has credit whenever this is reached.
        """
        if self._stretch >= self._floor_bytes:
            self._stretch = 0
            self._stretch_s = 0.0
        # Whoever goes on somewhere reads and hashes all before that first.
        before_s = 0.0 if self._begun else hashing_s(self._heard_bytes)
        self._stretch_s += await self._course.news(waited_s=self._stretch_s, patience_s=before_s)

    def _take_ready(self, word: FileReady) -> None:
        if word.have_bytes == 0:
            self._anew = self._heard_bytes > 0
            self._heard_bytes, self._granted_bytes = 0, WINDOW_BYTES
        elif word.have_bytes != self._heard_bytes:
            self._course.break_off(
                f"goes on from {word.have_bytes} where {self._heard_bytes} bytes are"
            )
            return
        self.goes_on = word.have_bytes > 0
        self._facts = word.facts

    def _is_next(self, offset: int, length_bytes: int, facts: FileFacts) -> bool:
        """Tell whether these are the next bytes; what may not come ends the transfer."""
        if not self._begun and offset == 0 and self._heard_bytes and self._open:
            # The sender has other bytes: all comes anew, within the window counted from there.
            self._anew = True
            self._heard_bytes, self._granted_bytes = 0, WINDOW_BYTES
        if not self._open or (self._resumed and offset != self._heard_bytes):
            return False  # of an earlier connection, on another way
        if offset != self._heard_bytes:
            problem = f"sent bytes from {offset} on instead of {self._heard_bytes}"
        elif not length_bytes:
            problem = "sent no bytes"
        elif offset + length_bytes > facts.size_bytes:
            problem = f"sent more than the {facts.size_bytes} bytes it announced"
        elif len(self._pieces) >= PIECES_MOST:
            problem = f"sent more than {PIECES_MOST} pieces ahead"
        else:
            self._begun = True
            return True
        self._course.break_off(problem)
        return False

    def _take(self, word: FileData, facts: FileFacts) -> None:
        data = word.data
        if not self._is_next(word.offset, len(data), facts):
            return
        after = word.offset + len(data)
        if after > self._granted_bytes:
            self._course.break_off(f"sent {after} bytes where {self._granted_bytes} were allowed")
            return
        last = self._pieces[-1] if self._pieces else None
        if len(data) >= JOINED_BYTES:
            self._pieces.append(data)
        elif isinstance(last, bytearray) and len(last) < JOINED_BYTES:
            last += data
        else:
            self._pieces.append(bytearray(data))
        self._heard_bytes = after
        self._stretch += len(data)

    def _take_hole(self, word: FileHole, facts: FileFacts) -> None:
        if not self._is_next(word.offset, word.length_bytes, facts):
            return
        length_bytes = word.length_bytes
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, Hole):
            length_bytes += last.length_bytes
            self._pieces.pop()
        self._pieces.append(Hole(length_bytes))
        self._heard_bytes += word.length_bytes
        self._stretch += word.length_bytes // HOLES_PER_BYTE

    def _take_end(self, word: FileEnd, facts: FileFacts) -> None:
        if word.size_bytes == self._heard_bytes == facts.size_bytes and self._open:
            self._end = word
        elif not self._resumed:
            self._course.break_off(
                f"ended after {self._heard_bytes} bytes, says {word.size_bytes}, "
                f"and had announced {facts.size_bytes}"
            )

    def _renew(self, landing: Landing) -> None:
        size_bytes = landing.facts.size_bytes
        room_bytes = min(landing.written_bytes + WINDOW_BYTES, size_bytes)
        fresh_bytes = room_bytes - self._granted_bytes
        if fresh_bytes >= STEP_BYTES or (room_bytes == size_bytes and fresh_bytes > 0):
            self._granted_bytes = room_bytes
            self._course.say(
                FileCredit(transfer_id=self._course.transfer_id, credit_bytes=room_bytes)
            )


def _write(landing: Landing, pieces: list[Piece]) -> None:
    for piece in pieces:
        if isinstance(piece, Hole):
            landing.hole(piece.length_bytes)
        else:
            landing.write(piece)
