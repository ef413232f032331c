"""How long to wait between attempts to reach a broker. Pure but for its dice."""

from __future__ import annotations

from random import Random


class ReconnectDelays:
    """How long to wait before the next attempt: doubling, with jitter, up to a maximum.

    With jitter a thousand guests do not come back to a restarted host in the same instant.
    """

    def __init__(
        self, *, first_s: float = 0.25, most_s: float = 10.0, random: Random | None = None
    ) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._random = random or Random()  # noqa: S311 - spreads load, guards nothing
        self._next_s = first_s

    def reset(self) -> None:
        """Begin anew: there was a good session."""
        self._next_s = self._first_s

    def next_s(self) -> float:
        """Return the seconds to wait, between half and the whole of the current delay."""
        delay_s = self._next_s
        self._next_s = min(delay_s * 2, self._most_s)
        return delay_s * self._random.uniform(0.5, 1.0)
