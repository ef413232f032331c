"""What a copy reads from and what it writes to: a file, or a directory as one stream.

Both block on the disk and belong in a thread. Both raise TransferFailed with a published reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from vmcontroller.common.words.files import FileFacts


@dataclass(frozen=True, slots=True)
class Hole:
    """Zeros that take no space on the disk."""

    length_bytes: int
    """At least 1."""


class Source(Protocol):
    """What is read, hashed on the way; all of it once, from the start to the end."""

    @property
    def facts(self) -> FileFacts:
        """What the receiver is told before the first byte."""
        ...

    def read(self) -> bytes | Hole:
        """Return the next block (1 byte to 512 KiB) or hole; only before the end is reached.

        Raises TransferFailed CHANGED when there is less than `facts` say.
        """
        ...

    def skip(self, to_bytes: int) -> str:
        """Read and hash up to this offset; return the SHA-256 of all up to there, in hex.

        Only before the first read. `to_bytes` is at most the size.
        """
        ...

    def finish(self) -> str:
        """Return the SHA-256 of all, in hex; raises TransferFailed CHANGED when it was changed."""
        ...

    def close(self) -> None:
        """Let go of what is open; called once."""
        ...


class Landing(Protocol):
    """What is written, hashed on the way, and out of sight until it is whole."""

    @property
    def facts(self) -> FileFacts:
        """What the sender has announced."""
        ...

    @property
    def written_bytes(self) -> int:
        """How far it is written: bytes and holes."""
        ...

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes; never more than `facts` say in all, that is for the caller to see to."""
        ...

    def hole(self, length_bytes: int) -> None:
        """Append zeros that take no space; they count in the digest like any others."""
        ...

    def prefix(self) -> str:
        """Return the SHA-256 of what is written so far, in hex."""
        ...

    def put_in_place(self, sha256: str) -> None:
        """Verify and put it where it belongs; raises TransferFailed DIGEST_MISMATCH."""
        ...

    def suspend(self) -> None:
        """Keep what is there for a later resume(), synced: the peer is gone for now."""
        ...

    def resume(self) -> None:
        """Go on after suspend(); raises TransferFailed when what was kept is there no more."""
        ...

    def discard(self) -> None:
        """Remove what is there, also when suspended; nothing happens once it is in place."""
        ...
