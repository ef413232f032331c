"""Words about copying a file; the same in both directions but for who begins.

Since protocol 3 a transfer that broke off is taken up again: FILE_PUT with `resume`, or FILE_GET
with what the host has. What the receiver has counts if the sender finds the same digest.

To a guest: FILE_PUT, FILE_READY back, FILE_DATA as far as FILE_CREDIT allows, FILE_END, and
FILE_DONE back when the file is whole, verified and in place. From a guest: FILE_GET, then
FILE_READY, FILE_DATA and FILE_END come back, and the host ends with FILE_DONE. FILE_FAILED
from either side ends it at any time, and nothing half-done remains.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

from typing_extensions import override

from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.file_facts import FileFacts, heard_facts, said_facts
from vmcontroller.common.words.wording import Spoken, Utterance, compose

__all__ = ["FileCredit", "FileData", "FileDone", "FileEnd", "FileFacts", "FileFailed"]
__all__ += ["FileGet", "FileHole", "FilePut", "FileReady"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePut(Word):
    """The host wants to write this file in the guest."""

    NAME: ClassVar[str] = "FILE_PUT"

    transfer_id: str
    path: str
    facts: FileFacts
    resume: bool = False
    """What the guest still has of this transfer is gone on from."""

    @override
    def how_to_say(self) -> Utterance:
        return compose(
            self.NAME,
            {"path": self.path, "resume": self.resume, **said_facts(self.facts)},
            transfer_id=self.transfer_id,
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            transfer_id=spoken.header("transfer-id"),
            path=spoken.text("path", max_chars=4096),
            facts=heard_facts(spoken),
            resume=spoken.truth("resume"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileGet(Word):
    """The host wants to read this file of the guest, and has room for `credit_bytes`."""

    NAME: ClassVar[str] = "FILE_GET"

    transfer_id: str
    path: str
    credit_bytes: int
    """An offset: all below it may be sent."""
    tree: bool = False
    """A directory is wanted, with all below it."""
    owner: bool = False
    """The names of user and group are wanted, too."""
    have_bytes: int = 0
    """The host has so many bytes of this transfer still …"""
    have_sha256: str = ""
    """… with this digest; the guest goes on from there if its own are the same."""

    @override
    def how_to_say(self) -> Utterance:
        return compose(
            self.NAME,
            {
                "path": self.path,
                "credit": self.credit_bytes,
                "tree": self.tree,
                "owner": self.owner,
                "have": self.have_bytes,
                "have-sha256": self.have_sha256,
            },
            transfer_id=self.transfer_id,
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            transfer_id=spoken.header("transfer-id"),
            path=spoken.text("path", max_chars=4096),
            credit_bytes=spoken.whole("credit"),
            tree=spoken.truth("tree"),
            owner=spoken.truth("owner"),
            have_bytes=spoken.whole("have", 0),
            have_sha256=spoken.text("have-sha256", "", max_chars=64),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileReady(Word):
    """The guest is ready to receive (with a first credit) or to send (with the file's facts)."""

    NAME: ClassVar[str] = "FILE_READY"

    transfer_id: str
    facts: FileFacts
    credit_bytes: int = 0
    have_bytes: int = 0
    """Answering FILE_PUT: what the guest has still. Answering FILE_GET: where it goes on from."""
    have_sha256: str = ""
    """The digest of that."""
    bulk: bool = False
    """The guest has opened a connection of its own for the bytes, and listens there."""

    @override
    def how_to_say(self) -> Utterance:
        return compose(
            self.NAME,
            {
                "credit": self.credit_bytes,
                "have": self.have_bytes,
                "have-sha256": self.have_sha256,
                "bulk": self.bulk,
                **said_facts(self.facts),
            },
            transfer_id=self.transfer_id,
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            transfer_id=spoken.header("transfer-id"),
            facts=heard_facts(spoken),
            credit_bytes=spoken.whole("credit"),
            have_bytes=spoken.whole("have", 0),
            have_sha256=spoken.text("have-sha256", "", max_chars=64),
            bulk=spoken.truth("bulk"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileData(Word):
    """Bytes of the file from `offset` on; never past the receiver's credit."""

    NAME: ClassVar[str] = "FILE_DATA"

    transfer_id: str
    offset: int
    data: bytes | memoryview
    """Heard, it is a part of the message: a copy of it would cost as much as the network."""

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, {"offset": self.offset}, self.data, transfer_id=self.transfer_id)

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            transfer_id=spoken.header("transfer-id"),
            offset=spoken.whole("offset"),
            data=spoken.kept,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileHole(Word):
    """Zeros that take no space in the file, from `offset` on; they need no credit."""

    NAME: ClassVar[str] = "FILE_HOLE"

    transfer_id: str
    offset: int
    length_bytes: int

    @override
    def how_to_say(self) -> Utterance:
        return compose(
            self.NAME,
            {"offset": self.offset, "length": self.length_bytes},
            transfer_id=self.transfer_id,
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            transfer_id=spoken.header("transfer-id"),
            offset=spoken.whole("offset"),
            length_bytes=spoken.whole("length"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCredit(Word):
    """The receiver has room for everything below this offset of the file."""

    NAME: ClassVar[str] = "FILE_CREDIT"

    transfer_id: str
    credit_bytes: int

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, {"credit": self.credit_bytes}, transfer_id=self.transfer_id)

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(transfer_id=spoken.header("transfer-id"), credit_bytes=spoken.whole("credit"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileEnd(Word):
    """The sender has said all bytes; these are their number and digest."""

    NAME: ClassVar[str] = "FILE_END"

    transfer_id: str
    size_bytes: int
    sha256: str

    @override
    def how_to_say(self) -> Utterance:
        return compose(
            self.NAME,
            {"size": self.size_bytes, "sha256": self.sha256},
            transfer_id=self.transfer_id,
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            transfer_id=spoken.header("transfer-id"),
            size_bytes=spoken.whole("size"),
            sha256=spoken.text("sha256", max_chars=64),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDone(Word):
    """The receiver has the file whole, verified and in place."""

    NAME: ClassVar[str] = "FILE_DONE"

    transfer_id: str

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, transfer_id=self.transfer_id)

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(transfer_id=spoken.header("transfer-id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFailed(Word):
    """One side gives up; `reason` is a published word: NO_SUCH_FILE, IS_A_DIRECTORY, …"""

    NAME: ClassVar[str] = "FILE_FAILED"

    transfer_id: str
    reason: str
    detail: str

    @override
    def how_to_say(self) -> Utterance:
        return compose(
            self.NAME,
            {"reason": self.reason, "detail": self.detail},
            transfer_id=self.transfer_id,
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            transfer_id=spoken.header("transfer-id"),
            reason=spoken.text("reason", max_chars=64),
            detail=spoken.text("detail", "", max_chars=4096),
        )
