"""What an agent must know to run a command as it was asked for. Pure."""

from __future__ import annotations

from typing import Final

from vmcontroller.common.errors import Unsupported
from vmcontroller.common.model import CommandSpec
from vmcontroller.common.words.commands import said_spec
from vmcontroller.host.guests import Guest

_SINCE_3: Final = {
    "env-replace": "replaceEnv",
    "group": "group",
    "umask": "umask",
    "nice": "nice",
    "stdin-open": "stdinOpen and stdinFromHost",
    "kill-after": "killAfter",
}
"""Fields of CMD_RUN that an agent of protocol 2 would ignore, and the options they come from."""


def must_know(guest: Guest, vm_name: str, spec: CommandSpec) -> None:
    """Raise Unsupported if this agent would ignore something of the request."""
    if guest.protocol >= 3:
        return
    asked = [_SINCE_3[field] for field in said_spec(spec) if field in _SINCE_3]
    if asked:
        raise Unsupported(
            f"the agent of {vm_name!r} (protocol {guest.protocol})",
            f"the options {', '.join(asked)}; it has to be updated",
        )
