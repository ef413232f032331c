"""The table of methods: figures."""

from __future__ import annotations

from typing import Final

from vmcontroller.host.callers import READ
from vmcontroller.host.xmlrpc.kinds import Text
from vmcontroller.host.xmlrpc.method import Method, Parameter
from vmcontroller.host.xmlrpc.parameters import VM

_FIGURE: Final = (
    "An array of structs, sorted by name: `name`, such as `cpu.time`; `object`, the VM's name for "
    "what its hypervisor says and `guest` for what its agent says; `unit` (`%`, `KiB`, `B`, `B/s` "
    "or empty), `scale` (a value divided by it is in that unit), `values` (the oldest first; ints, "
    "beyond 32 bits doubles), `values_as_string`, and `at`, when the newest was taken (seconds "
    "since 1970)."
)

STATS_METHODS: Final = (
    Method(
        name="getPerformanceData",
        role=READ,
        target=lambda door, arg: door.operations.get_performance_data(arg["vm"]),
        parameters=(VM,),
        returns="array",
        answer=f"{_FIGURE} There are 15 values at most.",
        doc="Tell what a VM has used lately: CPU, memory, disks, network, and what its agent says "
        "of the guest. A figure that can't be had is left out; of a VM that never ran while the "
        "daemon did there is none.",
        example="host.getPerformanceData('worker 1')[0]['values']",
    ),
    Method(
        name="getStats",
        role=READ,
        target=lambda door, arg: door.operations.get_stats(arg["vm"], arg["key"]),
        parameters=(
            VM,
            Parameter(
                name="key",
                kind=Text(max_chars=200),
                default="*",
                doc="A pattern that the names must match: `*`, `?` and `[…]` as in a shell.",
            ),
        ),
        returns="array",
        answer=f"{_FIGURE} All that is kept: `stats.keep` values, one each `stats.interval`.",
        doc="Tell what a VM has used, with its history. A reading that could not be made leaves no "
        "value.",
        example="host.getStats('worker 1', 'cpu.*')",
    ),
)
