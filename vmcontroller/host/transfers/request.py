"""What a caller wants copied, and what it is told of it. Values only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from vmcontroller.common.model import GuestId
from vmcontroller.common.words.files import FileFacts


class Direction(StrEnum):
    """Which way a copy goes."""

    TO_VM = "to-vm"
    FROM_VM = "from-vm"


class State(StrEnum):
    """Where a copy stands."""

    QUEUED = "queued"
    """Others of its guest come first."""
    RUNNING = "running"
    WAITING = "waiting"
    """For its guest to come back; then it goes on."""
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"
    """What has come is kept for a day: the same call goes on with it."""

    @property
    def is_over(self) -> bool:
        return self not in {State.QUEUED, State.RUNNING, State.WAITING}


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyOptions:
    """The options of cpFileToVM and cpFileFromVM."""

    recursive: bool = False
    """A directory is copied with all below it."""
    owner: bool | None = None
    """Keep the names of user and group; None: to a VM yes, from one no."""
    roles: tuple[str, ...] = ()
    """Of the caller, who does not write them here: what of the host they may touch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRequest:
    """One copy between the host and a guest."""

    direction: Direction
    vm_name: str
    vm_uuid: str
    guest: GuestId
    protocol: int
    """What its agent and this host speak."""
    local_path: str
    remote_path: str
    recursive: bool = False
    owner: bool = False
    roles: tuple[str, ...] = ()
    """Of the caller: they decide about the host's directories."""

    @property
    def key(self) -> tuple[object, ...]:
        """What two calls share of which the second goes on with the first."""
        return (
            self.direction,
            self.vm_uuid,
            self.local_path,
            self.remote_path,
            self.recursive,
            self.owner,
            self.roles,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is told of one copy."""

    transfer_id: str
    request: CopyRequest
    state: State
    size_bytes: int = -1
    """-1 while it is not known."""
    done_bytes: int = 0
    rate_bytes_per_s: float = 0.0
    estimate_s: float = -1.0
    """How long it may take still; -1 where nobody knows."""
    entries: int = 0
    """Of a directory: how many files, directories and links have been begun."""
    started_s: float = 0.0
    ended_s: float = 0.0
    """Seconds since 1970; 0 while it has not ended."""
    error: str = ""
    resumed: int = 0
    """How often it was gone on with."""

    def answer(self) -> dict[str, Any]:
        """Return it as clients see it."""
        request = self.request
        return {
            "id": self.transfer_id,
            "vm": request.vm_name,
            "direction": request.direction,
            "localPath": request.local_path,
            "remotePath": request.remote_path,
            "options": {"recursive": request.recursive, "owner": request.owner},
            "state": self.state,
            "size": self.size_bytes,
            "bytes": self.done_bytes,
            "rate": self.rate_bytes_per_s,
            "estimate": self.estimate_s,
            "entries": self.entries,
            "started": self.started_s,
            "ended": self.ended_s,
            "error": self.error,
            "resumed": self.resumed,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What of a copy is on the disk, for the daemon after this one."""

    transfer_id: str
    request: CopyRequest
    facts: FileFacts
    target: str
    """Of a copy to a guest: the guest's path that it goes to, in the end."""
    temporary: str
    """Of a copy from a guest: the host's file that it is written to until it is whole."""
    started_s: float
    noted_s: float
    done_bytes: int = 0
    resumed: int = 0
    error: str = ""

    def record(self) -> Record:
        """Return what is told of it: it was interrupted."""
        return Record(
            transfer_id=self.transfer_id,
            request=self.request,
            state=State.INTERRUPTED,
            size_bytes=self.facts.size_bytes,
            done_bytes=self.done_bytes,
            started_s=self.started_s,
            ended_s=self.noted_s,
            error=self.error,
            resumed=self.resumed,
        )
