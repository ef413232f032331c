"""How often an address may be wrong: a few times at once, and then ever so often."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

AT_ONCE: Final = 10
EVERY_S: Final = 5.0
"""One more guess is allowed after so long: 17,000 a day."""
_MOST: Final = 10_000


class Failures:
    """Counts, by address, what was wrong lately."""

    def __init__(self) -> None:
        self._clean_at_s: OrderedDict[str, float] = OrderedDict()
        """When an address will have no failures any more."""

    def wait_s(self, address: str, now_s: float) -> float:
        """Return how long the address has to wait before it is looked at again; 0: not at all."""
        clean_at_s = self._clean_at_s.get(address, now_s)
        return max(0.0, clean_at_s - (AT_ONCE - 1) * EVERY_S - now_s)

    def note(self, address: str, now_s: float) -> None:
        """Count one failure."""
        clean_at_s = max(now_s, self._clean_at_s.pop(address, now_s)) + EVERY_S
        self._clean_at_s[address] = clean_at_s
        if len(self._clean_at_s) > _MOST:
            self._clean_at_s.popitem(last=False)
