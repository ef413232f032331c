"""What the typed methods stand on: one call by its wire name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol, Self

UNLIMITED: Final = float("inf")
"""For what takes as long as it takes: the daemon has a deadline of its own, or tells progress."""
NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
"""The default of options."""


class Caller(Protocol):
    """Who can call a method of the daemon."""

    def call(self, method: str, *params: object, wait_s: float = 0) -> Any:
        """Call a method by its wire name, and return its answer.

        `wait_s` is how long the daemon may wait by itself before it answers. Raises a Fault, or
        another ClientError when there was no answer.
        """
        ...

    def clone(self) -> Self:
        """Return another caller of the same daemon, for another thread."""
        ...

    def abort(self) -> None:
        """From another thread: let the call that is under way fail."""
        ...

    def close(self) -> None:
        """Hang up; the next call connects again."""
        ...
