"""The environment file in which an agent is told what others are told by their hypervisor.

`NAME=value`, one a line, as systemd's EnvironmentFile and shells read it. No I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

BROKER_VARIABLE: Final = "VMCONTROLLER_BROKER"
"""`HOST:PORT`, an IPv6 address in brackets."""
CREDENTIAL_VARIABLE: Final = "VMCONTROLLER_CREDENTIAL"
"""`LOGIN:PASSCODE`."""

_LINE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)=(.*?)\s*")


def parse_environment(text: str) -> Mapping[str, str]:
    """Return the variables of the file; lines that set none, such as comments, are left out."""
    found = (_LINE.fullmatch(line) for line in text.splitlines())
    return {line[1]: line[2].strip("\"'") for line in found if line is not None}
