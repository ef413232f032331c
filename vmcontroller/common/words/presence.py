"""Words about who is there: HELLO, BYE, STILL_ALIVE, PING, PONG, and AINT for the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import ClassVar, Self

from typing_extensions import override

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.wording import Spoken, Utterance, compose

PROTOCOL_VERSION = 3
"""The highest this side speaks; the lower one of both sides counts. 2 has CREDENTIAL; 3 the words
of running.py, FILE_HOLE, and the fields of CMD_RUN and the FILE_ words that say since 3."""

CAPABILITIES = ("commands", "files", "credential")
"""What an agent of today can do, by groups of words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a guest says of itself; data only, the broker says who it is."""

    id: str
    ip: str = ""
    uuid: str = ""
    """The VM's UUID as its SMBIOS tells it; empty where it can't be read."""
    hostname: str = ""
    os: str = ""
    """Its system's own name, such as `Debian GNU/Linux 12 (bookworm)`."""
    addresses: tuple[str, ...] = ()
    """All its IP addresses but those of loopback and the link-local ones."""


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
    """From the guest the highest it speaks, from the host what both speak from now on."""
    capabilities: tuple[str, ...] = ()
    boot_id: str = ""
    """Of the guest's running system: another one means that it was booted meanwhile."""
    epoch: int = 0
    """Which connection of this session it is: a HELLO of an earlier one that comes late is old."""
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
                "capabilities": self.capabilities,
                "boot": self.boot_id,
                "epoch": self.epoch,
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
            protocol=spoken.whole("protocol", 1),
            capabilities=_short(spoken.texts("capabilities"), spoken.name),
            boot_id=spoken.text("boot", "", max_chars=100),
            epoch=spoken.whole("epoch", 0),
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
    load: float = 0.0
    """The guest's load average of one minute."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """How the guest fares: `cpu` (percent of all its processors since the beacon before), `load1`,
    `memory.total`, `.used`, `.free`, `.available` and `disk.total`, `.used`, `.free` (of `/`) in
    KiB, `processes`. What can't be read is left out, and what is not known here is passed over."""

    @override
    def how_to_say(self) -> Utterance:
        fields: dict[str, object] = {"session": self.session, "load": self.load}
        return compose(self.NAME, fields | ({"figures": self.figures} if self.figures else {}))

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            session=spoken.text("session", max_chars=100),
            load=spoken.number("load", 0.0),
            figures=spoken.numbers("figures", most=64),
        )


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


def _described(descriptor: Descriptor) -> dict[str, object]:
    return asdict(descriptor)


def _descriptor(spoken: Spoken) -> Descriptor:
    fields = spoken.mapping("descriptor")
    values = {key: fields.get(key, "") for key in ("id", "ip", "uuid", "hostname", "os")}
    if not all(isinstance(value, str) and len(value) <= 255 for value in values.values()):
        raise ProtocolError(f"{spoken.name}: the descriptor's values must be short strings")
    addresses = fields.get("addresses", [])
    if not isinstance(addresses, list) or not all(isinstance(each, str) for each in addresses):
        raise ProtocolError(f"{spoken.name}: addresses must be a list of strings")
    return Descriptor(**values, addresses=_short(addresses, spoken.name))


def _short(texts: Sequence[str], name: str) -> tuple[str, ...]:
    if len(texts) > 64 or any(len(text) > 64 for text in texts):
        raise ProtocolError(f"{name}: a list has more than 64 entries, or one of 64 characters")
    return tuple(texts)


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
