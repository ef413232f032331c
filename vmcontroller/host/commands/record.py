"""One command as the host knows it: its request, its state, its output, its end. No I/O."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from vmcontroller.common.model import CommandResult, CommandSpec, GuestId
from vmcontroller.common.words.commands import STREAMS
from vmcontroller.host.commands.output import Output

LOST: Final = "LOST"


class CommandState(enum.StrEnum):
    """Where a command is on its way."""

    SENT = "sent"
    RUNNING = "running"
    ENDED = "ended"
    LOST = "lost"
    """It will never be known how it ended; `error` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFile:
    """A file of the host that becomes a command's stdin, as it was when that was asked for."""

    path: str
    size_bytes: int
    mtime_ns: int
    roles: tuple[str, ...] = ()
    """Of who asked for it: they may read it."""


@dataclass(slots=True, kw_only=True)
class StdinState:
    """How far the stdin has come that is sent while the command runs.

    Offsets count from the first byte after those that the request itself brought.
    """

    host_file: HostFile | None = None
    """Where the bytes come from; None: from sendCmdStdin."""
    given_bytes: int = 0
    """All below this offset can be sent."""
    end: bool = False
    """There is no more than `given_bytes`."""
    taken_bytes: int = 0
    """The guest has all below this."""
    closed: bool = False
    """The guest wants no more."""
    error: str = ""
    """Why it ended before its end."""

    @property
    def waiting_bytes(self) -> int:
        """How much lies here for the guest."""
        return self.given_bytes - self.taken_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """How a command ended, or that nobody will know."""

    state: CommandState
    ended_at: float
    """Seconds since 1970."""
    result: CommandResult | None = None
    error: str = ""


@dataclass(slots=True, kw_only=True, eq=False)
class Command:
    """A command's record. Times are in seconds since 1970, by the clock of this host."""

    cmd_id: str
    vm_name: str
    vm_uuid: str
    guest: GuestId
    session: str
    """The agent's, when it was sent."""
    spec: CommandSpec
    created_at: float
    batch_id: str = ""
    """What runCmdOnAll has answered, if it was that."""
    stdin: StdinState | None = None
    """None: all of it came with the request."""
    state: CommandState = CommandState.SENT
    pid: int = 0
    started_at: float = 0.0
    ended_at: float = 0.0
    result: CommandResult | None = None
    error: str = ""
    streams: Mapping[str, Output] = field(default_factory=dict)
    said: bool = False
    """Its request is on the disk, and said."""
    doomed: str = ""
    """Why it was lost before it was said."""
    ending: bool = False
    """Its end is being stored just now."""
    told: bool = False
    """The guest has told an end, and waits to hear that it is stored."""
    late: CommandResult | None = None
    """A result that came meanwhile."""
    usage: Mapping[str, float] = field(default_factory=dict)
    """What it used when its guest was asked last, and when that was, by the daemon's clock."""
    usage_s: float = float("-inf")
    missing_at_bytes: int = -1
    """How much there was when output was found to be missing: asked for again if there is more."""

    def __post_init__(self) -> None:
        if not self.streams:
            self.streams = {
                name: Output(limit_bytes=self.spec.output_limit_bytes) for name in STREAMS
            }

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to come, and that is stored."""
        return self.state in {CommandState.ENDED, CommandState.LOST}

    @property
    def stored_bytes(self) -> tuple[int, int]:
        """How many bytes of stdout and of stderr have come, without a gap."""
        return (self.streams["stdout"].size_bytes, self.streams["stderr"].size_bytes)

    @property
    def file_bytes(self) -> int:
        """How much of its output lies in files."""
        return sum(stream.written for stream in self.streams.values())

    def started(self, pid: int, now_at: float) -> bool:
        """Note that the guest runs it; tell whether that is news."""
        if self.state is not CommandState.SENT:
            return False
        self.state = CommandState.RUNNING
        self.pid = pid
        self.started_at = now_at
        return True

    def expects_more(self, name: str, offset: int) -> bool:
        """Tell whether a stream has nothing at `offset` yet, and may still get it."""
        stream = self.streams[name]
        done = self.has_ended or self.ending or stream.problem or stream.is_full
        return not done and stream.size_bytes <= offset

    def has_all_of(self, result: CommandResult) -> bool:
        """Whether all the output has come that the result speaks of, or can be kept.

        There may be more: a command whose VM went back to a snapshot has done some of it twice.
        """
        told = {"stdout": result.stdout_bytes, "stderr": result.stderr_bytes}
        return all(
            stream.problem or stream.size_bytes >= told[name]
            for name, stream in self.streams.items()
        )

    def end_of(self, result: CommandResult, now_at: float) -> End:
        """Return the end that a guest tells; what could not be kept of the output is said."""
        error = result.error
        if result.lost and not error:
            error = f"{LOST}: the agent can't tell how it ended"
        for name, stream in self.streams.items():
            if stream.problem:
                result = replace(result, truncated=True)
                cut = f"OUTPUT_NOT_STORED: {name} on the host: {stream.problem}"
                error = f"{error}; {cut}" if error else cut
        return End(
            state=CommandState.LOST if result.lost else CommandState.ENDED,
            ended_at=now_at,
            result=None if result.lost else result,
            error=error,
        )

    def ended(self, end: End) -> None:
        """Note how it ended; a result that comes late is better than a command lost."""
        self.state = end.state
        self.ended_at = end.ended_at
        self.result = end.result
        self.error = end.error.encode(errors="replace").decode()  # a guest's text may be none
        self.ending = False
        if self.result is not None and not self.started_at:
            self.started_at = max(self.created_at, self.ended_at - self.result.duration_s)
        if self.spec.stdin:
            self.spec = replace(self.spec, stdin=b"")  # never to be sent again

    def is_cut(self, name: str) -> bool:
        """Tell whether a stream lacks something that the command printed.

        The guest says only that one of them does: then it is the one that is as long as it may
        be, and where neither is, both may be.
        """
        if self.streams[name].problem:
            return True
        if self.result is None or not self.result.truncated:
            return False
        if any(stream.problem for stream in self.streams.values()):
            return self.streams[name].is_full
        return self.streams[name].is_full or not any(
            stream.is_full for stream in self.streams.values()
        )
