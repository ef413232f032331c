"""What a caller asks for, as plain checked values: between the XML-RPC door and `Operations`.

Types and ranges of single values are checked by the door; here is what several of them must
keep to together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vmcontroller.common.errors import BadArgument
from vmcontroller.common.model import CommandSpec
from vmcontroller.common.words.commands import CmdRun

_PLAIN: Final = CommandSpec(cmd="")

COMMAND_MAX_BYTES: Final = 1_000_000
"""A command with all that belongs to it is one message, and those end at 1 MiB (design page)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateOptions:
    """The options of `createVM`. Raises BadArgument when they don't go together."""

    memory_mib: int = 512
    vcpus: int = 1
    network: str = "nat"
    """`nat` or `none`."""
    format: str = ""
    """`qcow2`, `raw` or `vmdk`; empty: what the file says it is."""
    kernel: str = ""
    """Boot this kernel of the host instead of what the disk holds."""
    initrd: str = ""
    cmdline: str = ""

    def __post_init__(self) -> None:
        for option in ("initrd", "cmdline"):
            if getattr(self, option) and not self.kernel:
                raise BadArgument(f"options.{option}", "needs options.kernel as well")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """The options of `runCmd`."""

    stdin: bytes = b""
    timeout_s: float = _PLAIN.timeout_s
    """0 is none."""
    user: str = ""
    output_limit_bytes: int = _PLAIN.output_limit_bytes


def command_spec(
    *,
    cmd: str,
    args: Sequence[str],
    env: Mapping[str, str],
    path: str,
    file_for_stdin: str,
    options: RunOptions,
) -> CommandSpec:
    """Put the parameters of `runCmd` together.

    Raises BadArgument where there are two sources for stdin, and for what no message can carry.
    """
    if file_for_stdin and options.stdin:
        raise BadArgument("options.stdin", "fileForStdin is given too; only one can be stdin")
    spec = CommandSpec(
        cmd=cmd,
        args=tuple(args),
        env=dict(env),
        path=path,
        file_for_stdin=file_for_stdin,
        stdin=options.stdin,
        timeout_s=options.timeout_s,
        user=options.user,
        output_limit_bytes=options.output_limit_bytes,
    )
    size_bytes = len(CmdRun(cmd_id="", spec=spec).how_to_say().body)
    if size_bytes > COMMAND_MAX_BYTES:
        raise BadArgument(
            "runCmd",
            f"cmd, args, env and options.stdin together take {size_bytes} bytes of at most "
            f"{COMMAND_MAX_BYTES}; cpFileToVM copies more, and fileForStdin reads it",
        )
    return spec
