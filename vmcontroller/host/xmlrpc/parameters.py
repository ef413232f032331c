"""Parameters that several methods share, and the options of runCmd."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmcontroller.host.requests import COMMAND_MAX_BYTES, RunOptions
from vmcontroller.host.xmlrpc.kinds import (
    Content,
    Flag,
    Option,
    Options,
    Seconds,
    Text,
    Whole,
)
from vmcontroller.host.xmlrpc.method import Parameter

WAIT_MAX_S: Final = 3600.0
"""A call that waits holds a connection; whoever wants to wait longer calls again."""
RUN_MAX_S: Final = 366 * 86400.0
OUTPUT_MAX_BYTES: Final = 2**40
PAGE_MAX_BYTES: Final = 8 * 2**20

VM: Final = Parameter(
    name="vm",
    kind=Text(max_chars=1000, empty=False),
    doc="The VM's name, UUID or MAC address.",
)
CMD_ID: Final = Parameter(
    name="cmdId",
    kind=Text(max_chars=100, empty=False),
    doc="The id that `runCmd` (or `runCmdOnAll`) answered.",
)
OFFSET: Final = Parameter(
    name="offset",
    kind=Whole(least=0, most=2**53),
    default=0,
    doc="The first byte wanted; beyond 32 bits a double.",
)
GUI_MODE: Final = Parameter(
    name="guiMode",
    kind=Flag(),
    default=False,
    doc="Accepted for the sake of old clients; a VM always starts without a window.",
)

_OUTPUT_LIMIT: Final = Option(
    key="outputLimit",
    field="output_limit_bytes",
    kind=Whole(least=0, most=OUTPUT_MAX_BYTES, unit="bytes"),
    doc="How many bytes of each stream are kept, beyond 32 bits a double; if not given, what the "
    "configuration's `commands.output_limit` says.",
)

RUN_OPTIONS: Final = Options(
    build=RunOptions,
    entries=(
        Option(
            key="stdin",
            field="stdin",
            kind=Content(max_bytes=COMMAND_MAX_BYTES),
            doc="What the command reads from its stdin (first).",
        ),
        Option(
            key="stdinOpen",
            field="stdin_open",
            kind=Flag(),
            doc="More of stdin comes by `sendCmdStdin`, until `closeCmdStdin`.",
        ),
        Option(
            key="stdinFromHost",
            field="stdin_from_host",
            kind=Text(empty=False),
            doc="A file of this host that becomes its stdin, of any size, below the directories "
            "that copies may read; it must not change meanwhile.",
        ),
        Option(
            key="timeout",
            field="timeout_s",
            kind=Seconds(least_s=0, most_s=RUN_MAX_S),
            doc="Seconds after which it and all it has started get SIGTERM; 0, the default, is "
            "never.",
        ),
        Option(
            key="killAfter",
            field="kill_after_s",
            kind=Seconds(least_s=0, most_s=RUN_MAX_S),
            doc=f"Seconds after that until they get SIGKILL; {RunOptions().kill_after_s:g} if not "
            "given.",
        ),
        Option(
            key="user",
            field="user",
            kind=Text(max_chars=100),
            doc="Run as this user of the guest; if not given, as the agent's.",
        ),
        Option(
            key="group",
            field="group",
            kind=Text(max_chars=100),
            doc="Run with this group of the guest; if not given, as the user's.",
        ),
        Option(
            key="umask",
            field="umask",
            kind=Whole(least=0, most=0o777),
            doc="Its umask, a number such as 18 (that is 022); if not given, the agent's.",
        ),
        Option(
            key="nice",
            field="nice",
            kind=Whole(least=-20, most=19),
            doc="Added to the agent's niceness; 0 if not given.",
        ),
        Option(
            key="replaceEnv",
            field="replace_env",
            kind=Flag(),
            doc="`env` is the whole environment, instead of an addition to the agent's.",
        ),
        _OUTPUT_LIMIT,
        replace(_OUTPUT_LIMIT, key="output_limit", doc="The earlier name of `outputLimit`."),
    ),
)


def length_of(most_bytes: int) -> Parameter:
    """Return the parameter that says how much of a stream is wanted in one answer."""
    return Parameter(
        name="length",
        kind=Whole(least=1, most=most_bytes, unit="bytes"),
        default=65536,
        doc="How many bytes at most.",
    )
