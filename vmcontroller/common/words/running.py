"""Words about commands that run, since protocol 3: stdin, signals, use of resources, CMD_RUN_ALL.

CMD_STDIN is answered by CMD_STDIN_ROOM, CMD_SIGNAL by CMD_SIGNALLED, CMD_ASK by CMD_USAGE.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

from typing_extensions import override

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.model import CommandSpec
from vmcontroller.common.words.commands import said_spec, spec_of
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.wording import Spoken, Utterance, compose

SIGNALS = ("HUP", "INT", "QUIT", "KILL", "USR1", "USR2", "TERM", "CONT", "STOP")
"""What CMD_SIGNAL can send: names without SIG."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdRunAll(Word):
    """The host asks many guests at once: each runs it under the id that is given for it, if any."""

    NAME: ClassVar[str] = "CMD_RUN_ALL"

    batch_id: str
    cmd_ids: Mapping[str, str]
    """From a guest's id to the command's id there; guests that are not named are not meant."""
    spec: CommandSpec

    @override
    def how_to_say(self) -> Utterance:
        return compose(
            self.NAME,
            {"guests": dict(self.cmd_ids), **said_spec(self.spec)},
            self.spec.stdin,
            batch_id=self.batch_id,
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        cmd_ids = spoken.mapping("guests")
        if not all(isinstance(value, str) and 0 < len(value) <= 200 for value in cmd_ids.values()):
            raise ProtocolError("CMD_RUN_ALL: the values of guests must be ids of commands")
        return cls(
            batch_id=spoken.header("batch-id"),
            cmd_ids=dict(cmd_ids),
            spec=spec_of(spoken),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdStdin(Word):
    """Bytes for a command whose stdin is open, from `offset` on, within the room there is."""

    NAME: ClassVar[str] = "CMD_STDIN"

    cmd_id: str
    offset: int
    data: bytes
    end: bool = False
    """These are the last: stdin is closed after them."""

    @override
    def how_to_say(self) -> Utterance:
        return compose(
            self.NAME, {"offset": self.offset, "end": self.end}, self.data, cmd_id=self.cmd_id
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            cmd_id=spoken.header("cmd-id"),
            offset=spoken.whole("offset"),
            data=spoken.payload,
            end=spoken.truth("end"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdStdinRoom(Word):
    """How far the guest has come with a command's stdin; said at its start, at HELLO, and later.

    After a lost connection the host goes on from `taken_bytes`.
    """

    NAME: ClassVar[str] = "CMD_STDIN_ROOM"

    cmd_id: str
    taken_bytes: int
    """All below this offset have come, and are not needed again."""
    room_bytes: int
    """All below this offset may be sent."""
    closed: bool = False
    """No more is wanted: the command has closed its stdin, has ended, or all has been taken."""

    @override
    def how_to_say(self) -> Utterance:
        return compose(
            self.NAME,
            {"taken": self.taken_bytes, "room": self.room_bytes, "closed": self.closed},
            cmd_id=self.cmd_id,
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            cmd_id=spoken.header("cmd-id"),
            taken_bytes=spoken.whole("taken"),
            room_bytes=spoken.whole("room"),
            closed=spoken.truth("closed"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdSignal(Word):
    """The host asks for a signal to a command and all that it has started."""

    NAME: ClassVar[str] = "CMD_SIGNAL"

    cmd_id: str
    signal: str

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, {"signal": self.signal}, cmd_id=self.cmd_id)

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        signal = spoken.text("signal")
        if signal not in SIGNALS:
            raise ProtocolError(f"CMD_SIGNAL: signal must be one of {', '.join(SIGNALS)}")
        return cls(cmd_id=spoken.header("cmd-id"), signal=signal)


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdSignalled(Word):
    """The signal was sent, to so many processes; none where the command has ended."""

    NAME: ClassVar[str] = "CMD_SIGNALLED"

    cmd_id: str
    signal: str
    processes: int

    @override
    def how_to_say(self) -> Utterance:
        return compose(
            self.NAME, {"signal": self.signal, "processes": self.processes}, cmd_id=self.cmd_id
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            cmd_id=spoken.header("cmd-id"),
            signal=spoken.text("signal", max_chars=20),
            processes=spoken.whole("processes"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdAsk(Word):
    """The host asks what a command and all that it has started use now."""

    NAME: ClassVar[str] = "CMD_ASK"

    cmd_id: str

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, cmd_id=self.cmd_id)

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(cmd_id=spoken.header("cmd-id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdUsage(Word):
    """What it uses: the names of USAGE, all of them 0 where it does not run."""

    NAME: ClassVar[str] = "CMD_USAGE"

    cmd_id: str
    usage: Mapping[str, float] = field(default_factory=dict)

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, {"usage": dict(self.usage)}, cmd_id=self.cmd_id)

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(cmd_id=spoken.header("cmd-id"), usage=spoken.numbers("usage"))


USAGE = (
    "user_s",
    "system_s",
    "memory_kib",
    "memory_peak_kib",
    "read_bytes",
    "written_bytes",
    "processes",
    "threads",
)
"""Figures of CMD_USAGE: processor time, resident memory now and at its most, bytes read from and
written to disks, and how many processes and threads there are."""
