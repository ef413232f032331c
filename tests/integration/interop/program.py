"""What the client programs in Python have in common: their arguments, and their answer."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

LOGIN, PASSCODE = os.environ["STOMP_LOGIN"], os.environ["STOMP_PASSCODE"]
OCTETS = bytes(range(256))
WAIT_S = 20
Result = dict[str, Any]


def main(scenarios: Sequence[Callable[[int, str, str], Result]]) -> int:
    """Do the scenario that is asked for; print what came of it."""
    port, version, wanted, name = sys.argv[1:]
    scenario = next(each for each in scenarios if each.__name__ == wanted)
    say(json.dumps(scenario(int(port), version, name)))
    return 0


def say(line: str) -> None:
    """Print a line, now."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
