"""How the process keeps memory that large frames take again and again."""

from __future__ import annotations

_KEPT_BYTES = 4 << 20


def keep_freed_memory() -> None:
    """Let glibc keep a little of what is freed, twice `_KEPT_BYTES` at most.

    Otherwise each body of 1 MiB takes fresh pages from the kernel and gives them back: that is most
    of what passing it on costs. glibc learns from the largest block that it has seen freed; this
    one is never written to, so it takes no memory.
    """
    _ = bytes(_KEPT_BYTES)
