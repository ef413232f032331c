"""Words about who is there: HELLO, BYE, STILL_ALIVE, PING, PONG, and AINT for the rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Self

from typing_extensions import override

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.wording import Spoken, Utterance, compose

PROTOCOL_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a guest says of itself; data only, the broker says who it is."""

    id: str
    ip: str = ""
    uuid: str = ""
    """The VM's UUID as its SMBIOS tells it; empty where it can't be read."""
    hostname: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Word):
    """A guest has come; the host answers with a HELLO of its own.

    `commands` holds, from the guest, the ids of the commands it runs or whose result it still
    keeps; from the host, how many bytes of each stream it has of those it still waits for:
    `{cmd-id: (stdout_bytes, stderr_bytes)}`.
    """

    NAME: ClassVar[str] = "HELLO"

    descriptor: Descriptor
    session: str
    """New with every start of the agent (or of the daemon)."""
    agent_version: str = ""
    protocol: int = PROTOCOL_VERSION
    commands: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @override
    def how_to_say(self) -> Utterance:
        return compose(
            self.NAME,
            {
                "descriptor": _described(self.descriptor),
                "session": self.session,
                "version": self.agent_version,
                "protocol": self.protocol,
                "commands": self.commands,
            },
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            descriptor=_descriptor(spoken),
            session=spoken.text("session", max_chars=100),
            agent_version=spoken.text("version", "", max_chars=100),
            protocol=spoken.whole("protocol", PROTOCOL_VERSION),
            commands={key: _offsets(spoken, value) for key, value in _commands(spoken).items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye(Word):
    """A guest goes, cleanly."""

    NAME: ClassVar[str] = "BYE"

    descriptor: Descriptor

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, {"descriptor": _described(self.descriptor)})

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(descriptor=_descriptor(spoken))


@dataclass(frozen=True, slots=True, kw_only=True)
class StillAlive(Word):
    """A guest's beacon. From a guest that the host does not know, it is asked for its HELLO."""

    NAME: ClassVar[str] = "STILL_ALIVE"

    session: str

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, {"session": self.session})

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(session=spoken.text("session", max_chars=100))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping(Word):
    """The host asks whether the agent answers."""

    NAME: ClassVar[str] = "PING"

    ping_id: str

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, ping_id=self.ping_id)

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(ping_id=spoken.header("ping-id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(Word):
    """The agent's answer, matched by the ping's id (never by a time, as the original did)."""

    NAME: ClassVar[str] = "PONG"

    ping_id: str

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, ping_id=self.ping_id)

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(ping_id=spoken.header("ping-id"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Aint(Word):
    """What is not a word. Said back, so that the other side need not wait for an answer."""

    NAME: ClassVar[str] = "AINT"

    word: str
    detail: str
    about: str = ""
    """The command or transfer that the word was about, where it named one."""

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, {"word": self.word, "detail": self.detail, "about": self.about})

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            word=spoken.text("word", "", max_chars=100),
            detail=spoken.text("detail", "", max_chars=1000),
            about=spoken.text("about", "", max_chars=200),
        )


def _described(descriptor: Descriptor) -> dict[str, str]:
    return {
        "id": descriptor.id,
        "ip": descriptor.ip,
        "uuid": descriptor.uuid,
        "hostname": descriptor.hostname,
    }


def _descriptor(spoken: Spoken) -> Descriptor:
    fields = spoken.mapping("descriptor")
    values = {key: fields.get(key, "") for key in ("id", "ip", "uuid", "hostname")}
    if not all(isinstance(value, str) and len(value) <= 255 for value in values.values()):
        raise ProtocolError(f"{spoken.name}: the descriptor's values must be short strings")
    return Descriptor(**values)


def _commands(spoken: Spoken) -> Mapping[str, object]:
    commands = spoken.mapping("commands")
    if len(commands) > 10_000:
        raise ProtocolError(f"{spoken.name}: more than 10000 commands")
    return commands


def _offsets(spoken: Spoken, value: object) -> tuple[int, int]:
    match value:
        case [int(stdout), int(stderr)] if stdout >= 0 and stderr >= 0:
            return (stdout, stderr)
    raise ProtocolError(f"{spoken.name}: a command needs two counts of bytes, not {value!r:.80}")
