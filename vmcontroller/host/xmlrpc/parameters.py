"""Parameters that several methods share, and the options of createVM and runCmd."""

from __future__ import annotations

from typing import Final

from vmcontroller.host.requests import COMMAND_MAX_BYTES, CreateOptions, RunOptions
from vmcontroller.host.xmlrpc.kinds import (
    Choice,
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
OUTPUT_MAX_BYTES: Final = 2**30
PAGE_MAX_BYTES: Final = 8 * 2**20

VM: Final = Parameter(
    name="vm",
    kind=Text(max_chars=1000, empty=False),
    doc="The VM's name, UUID or MAC address.",
)
CMD_ID: Final = Parameter(
    name="cmdId",
    kind=Text(max_chars=100, empty=False),
    doc="The id that `runCmd` answered.",
)
GUI_MODE: Final = Parameter(
    name="guiMode",
    kind=Flag(),
    default=False,
    doc="Accepted for the sake of old clients; a VM always starts without a window.",
)

CREATE_OPTIONS: Final = Options(
    build=CreateOptions,
    entries=(
        Option(
            key="memory",
            field="memory_mib",
            kind=Whole(least=16, most=16 * 2**20, unit="MiB"),
            doc=f"Memory in MiB; {CreateOptions().memory_mib} if not given.",
        ),
        Option(
            key="vcpus",
            field="vcpus",
            kind=Whole(least=1, most=512),
            doc=f"Virtual CPUs; {CreateOptions().vcpus} if not given.",
        ),
        Option(
            key="network",
            field="network",
            kind=Choice(choices=("nat", "none")),
            doc="`nat` (the default): on the network the hypervisor gives its guests.",
        ),
        Option(
            key="format",
            field="format",
            kind=Choice(choices=("qcow2", "raw", "vmdk")),
            doc="The image's format; if not given, what the file says it is.",
        ),
        Option(
            key="kernel",
            field="kernel",
            kind=Text(absolute=True),
            doc="Boot this kernel (a path on the host) instead of what the disk holds.",
        ),
        Option(
            key="initrd",
            field="initrd",
            kind=Text(absolute=True),
            doc="The initrd for `kernel`, a path on the host.",
        ),
        Option(
            key="cmdline",
            field="cmdline",
            kind=Text(max_chars=2048),
            doc="The kernel's command line.",
        ),
    ),
)

RUN_OPTIONS: Final = Options(
    build=RunOptions,
    entries=(
        Option(
            key="stdin",
            field="stdin",
            kind=Content(max_bytes=COMMAND_MAX_BYTES),
            doc="What the command reads from its stdin.",
        ),
        Option(
            key="timeout",
            field="timeout_s",
            kind=Seconds(least_s=0, most_s=RUN_MAX_S),
            doc="Seconds after which it is ended; 0, the default, is never.",
        ),
        Option(
            key="user",
            field="user",
            kind=Text(max_chars=100),
            doc="Run as this user of the guest; if not given, as the agent's.",
        ),
        Option(
            key="output_limit",
            field="output_limit_bytes",
            kind=Whole(least=0, most=OUTPUT_MAX_BYTES, unit="bytes"),
            doc="How many bytes of each stream are kept; "
            f"{RunOptions().output_limit_bytes} if not given.",
        ),
    ),
)
