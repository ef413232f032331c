"""Words about commands: CMD_RUN, CMD_STARTED, CMD_OUTPUT, CMD_RESULT, CMD_STORED."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self

from typing_extensions import override

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.model import CommandResult, CommandSpec
from vmcontroller.common.words.ears import Word
from vmcontroller.common.words.wording import Spoken, Utterance, compose

STREAMS = ("stdout", "stderr")

_USUAL = CommandSpec(cmd="")


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdRun(Word):
    """The host asks a guest to run a command; said again with the same id it is one command."""

    NAME: ClassVar[str] = "CMD_RUN"

    cmd_id: str
    spec: CommandSpec

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, said_spec(self.spec), self.spec.stdin, cmd_id=self.cmd_id)

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(cmd_id=spoken.header("cmd-id"), spec=spec_of(spoken))


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdStarted(Word):
    """The guest has taken a command; from now on it ends in a result. For a quick one this word is
    left out: its CMD_OUTPUT and CMD_RESULT say it as well.
    """

    NAME: ClassVar[str] = "CMD_STARTED"

    cmd_id: str
    pid: int

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, {"pid": self.pid}, cmd_id=self.cmd_id)

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(cmd_id=spoken.header("cmd-id"), pid=spoken.whole("pid"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdOutput(Word):
    """Bytes of one stream, from `offset` on; said again after a lost connection."""

    NAME: ClassVar[str] = "CMD_OUTPUT"

    cmd_id: str
    stream: str
    offset: int
    data: bytes

    @override
    def how_to_say(self) -> Utterance:
        return compose(
            self.NAME,
            {"stream": self.stream, "offset": self.offset},
            self.data,
            cmd_id=self.cmd_id,
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        stream = spoken.text("stream")
        if stream not in STREAMS:
            raise ProtocolError(f"CMD_OUTPUT: stream must be stdout or stderr, not {stream!r:.40}")
        return cls(
            cmd_id=spoken.header("cmd-id"),
            stream=stream,
            offset=spoken.whole("offset"),
            data=spoken.payload,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdResult(Word):
    """How a command ended; said after its last CMD_OUTPUT, until the host says CMD_STORED."""

    NAME: ClassVar[str] = "CMD_RESULT"

    result: CommandResult
    said: Utterance | None = field(default=None, compare=False, repr=False)
    """The same, if it was put together before."""

    @override
    def how_to_say(self) -> Utterance:
        if self.said is not None:
            return self.said
        result = self.result
        return compose(
            self.NAME,
            {
                "cmd-id": result.cmd_id,
                "finished": result.finished,
                "exitCodeOrSignal": result.exit_code_or_signal,
                "resources": dict(result.resources),
                "stdout-bytes": result.stdout_bytes,
                "stderr-bytes": result.stderr_bytes,
                "truncated": result.truncated,
                "timed-out": result.timed_out,
                "error": result.error,
                "duration": result.duration_s,
                "lost": result.lost,
            },
            cmd_id=result.cmd_id,
        )

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(
            result=CommandResult(
                cmd_id=spoken.header("cmd-id"),
                finished=spoken.truth("finished"),
                exit_code_or_signal=spoken.whole("exitCodeOrSignal"),
                resources=spoken.numbers("resources"),
                stdout_bytes=spoken.whole("stdout-bytes"),
                stderr_bytes=spoken.whole("stderr-bytes"),
                truncated=spoken.truth("truncated"),
                timed_out=spoken.truth("timed-out"),
                error=spoken.text("error", ""),
                duration_s=spoken.number("duration", 0),
                lost=spoken.truth("lost"),
            )
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CmdStored(Word):
    """The host has the whole result: the guest may forget it."""

    NAME: ClassVar[str] = "CMD_STORED"

    cmd_id: str

    @override
    def how_to_say(self) -> Utterance:
        return compose(self.NAME, cmd_id=self.cmd_id)

    @override
    @classmethod
    def heard(cls, spoken: Spoken) -> Self:
        return cls(cmd_id=spoken.header("cmd-id"))


def said_spec(spec: CommandSpec) -> dict[str, object]:
    """Return the fields that say what to run; what is as usual is left out where an agent of
    protocol 2 would not know it. The bytes of `stdin` are not in it: they are the raw bytes.
    """
    since_3 = {
        "env-replace": (spec.replace_env, _USUAL.replace_env),
        "group": (spec.group, _USUAL.group),
        "umask": (spec.umask, _USUAL.umask),
        "nice": (spec.nice, _USUAL.nice),
        "stdin-open": (spec.stdin_open, _USUAL.stdin_open),
        "kill-after": (spec.kill_after_s, _USUAL.kill_after_s),
    }
    return {
        "cmd": spec.cmd,
        "args": spec.args,
        "env": dict(spec.env),
        "path": spec.path,
        "fileForStdin": spec.file_for_stdin,
        "timeout": spec.timeout_s,
        "user": spec.user,
        "output_limit": spec.output_limit_bytes,
        **{name: value for name, (value, default) in since_3.items() if value != default},
    }


def spec_of(spoken: Spoken) -> CommandSpec:
    """Take what is to be run from a message that `said_spec` and the bytes of stdin made."""
    env = spoken.mapping("env")
    if env and not all(isinstance(value, str) for value in env.values()):
        raise ProtocolError(f"{spoken.name}: the values of env must be strings")
    return CommandSpec(
        cmd=spoken.text("cmd"),
        args=spoken.texts("args"),
        env=env,
        path=spoken.text("path", ""),
        file_for_stdin=spoken.text("fileForStdin", ""),
        stdin=spoken.payload,
        timeout_s=spoken.number("timeout", 0),
        user=spoken.text("user", ""),
        output_limit_bytes=spoken.whole("output_limit"),
        replace_env=spoken.truth("env-replace"),
        group=spoken.text("group", ""),
        umask=spoken.integer("umask", -1, 0o777, _USUAL.umask),
        nice=spoken.integer("nice", -20, 19, _USUAL.nice),
        stdin_open=spoken.truth("stdin-open"),
        kill_after_s=spoken.number("kill-after", _USUAL.kill_after_s),
    )
