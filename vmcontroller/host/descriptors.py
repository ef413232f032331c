"""The process's own limit of open files and connections, raised as far as the system lets it."""

from __future__ import annotations

import contextlib
import resource

MOST_DESCRIPTORS = 65536
"""More than the broker's most connections could ever use; some programs that a child runs go
through all numbers up to the limit."""


def raise_descriptor_limit() -> int:
    """Raise the soft RLIMIT_NOFILE to the hard one, 65536 at most. Returns what it is now.

    Never lowers it; where the system refuses, it stays as it is.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return MOST_DESCRIPTORS
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft < wanted:
        # Refused where the hard limit is above the kernel's fs.nr_open of today.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def shared_descriptors(descriptors: int, door_connections: int) -> tuple[int, int]:
    """Return how many the rest of the daemon has, and how many connections the API may have.

    The API listens on two addresses, with so many connections to each; where descriptors are few,
    it gets a quarter of them.
    """
    connections = max(16, min(door_connections, descriptors // 8))
    return descriptors - 2 * connections, connections
