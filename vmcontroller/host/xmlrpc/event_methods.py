"""The table of methods: what happens on this host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmcontroller.common.errors import BadArgument
from vmcontroller.host.callers import READ
from vmcontroller.host.events.log import KEPT, PAGE, Kind, Wanted, kinds_of
from vmcontroller.host.xmlrpc.kinds import Option, Options, Seconds, Whole, wrong
from vmcontroller.host.xmlrpc.method import Method, Parameter
from vmcontroller.host.xmlrpc.parameters import WAIT_MAX_S

GLOBS_MAX: Final = 100
GLOB_CHARS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Globs:
    """An array of patterns."""

    wire: str = "array"
    allowed: str = f"an array of at most {GLOBS_MAX} patterns such as 'vm-*'"

    def check(self, name: str, given: object) -> tuple[str, ...]:
        if not isinstance(given, list | tuple):
            raise wrong(name, self.allowed, given)
        if len(given) > GLOBS_MAX:
            raise BadArgument(name, f"must be {self.allowed}, not of {len(given)}")
        for index, glob in enumerate(given):
            if not isinstance(glob, str):
                raise wrong(f"{name}[{index}]", "a string", glob)
            if not glob or len(glob) > GLOB_CHARS:
                raise BadArgument(f"{name}[{index}]", f"must have 1 to {GLOB_CHARS} characters")
        return tuple(given)


@dataclass(frozen=True, slots=True, kw_only=True)
class KindGlobs:
    """Patterns of kinds of event; one that matches none would wait for ever."""

    wire: str = "array"
    allowed: str = Globs().allowed

    def check(self, name: str, given: object) -> tuple[str, ...]:
        globs = Globs().check(name, given)
        for index, glob in enumerate(globs):
            if not kinds_of((glob,)):
                allowed = ", ".join(Kind)
                raise BadArgument(f"{name}[{index}]", f"{glob!r:.100} matches none of {allowed}")
        return globs


_FILTER: Final = Options(
    build=Wanted,
    entries=(
        Option(
            key="kinds",
            field="kinds",
            kind=KindGlobs(),
            doc=f"Patterns of the kinds that are wanted, such as `vm-*`; all if not given. "
            f"There are {', '.join(f'`{kind}`' for kind in Kind)}.",
        ),
        Option(
            key="vms",
            field="vms",
            kind=Globs(),
            doc="Patterns of names: only events about these VMs.",
        ),
    ),
)

EVENT_METHODS: Final = (
    Method(
        name="waitEvents",
        role=READ,
        target=lambda door, arg: door.operations.wait_events(
            arg["since"], arg["timeout"], arg["filter"]
        ),
        parameters=(
            Parameter(
                name="since",
                kind=Whole(least=-1, most=2**53),
                default=-1,
                doc="The number of the first event that is wanted: what `next` was in the answer "
                "before; beyond 32 bits a double. -1: what happens from now on.",
            ),
            Parameter(
                name="timeout",
                kind=Seconds(least_s=0, most_s=WAIT_MAX_S),
                default=60,
                doc="How long to wait at most where there is none yet.",
            ),
            Parameter(
                name="filter", kind=_FILTER, default={}, doc="Which events; all if not given."
            ),
        ),
        returns="struct",
        answer=f"`events`, the oldest first, at most {PAGE}: structs of `number`, `at` (seconds "
        "since 1970), `kind`, `vm` and `uuid` (`''` where it is about no VM), `detail` (a struct, "
        "by kind). `next`: what to pass as `since` in the next call. `lost`: events are missing "
        f"before these, since only the last {KEPT} are kept, and none over a restart of the "
        "daemon: look anew at whatever you follow.",
        doc="Wait for what happens on this host, and answer it at once when it does; `events` is "
        "empty when the time has passed. The kinds and their details are in "
        "docs/events-and-tasks.md.",
        example="host.waitEvents(-1, 60, {'kinds': ['vm-state', 'agent-*'], 'vms': ['worker *']})",
        only_waits=True,
    ),
)
