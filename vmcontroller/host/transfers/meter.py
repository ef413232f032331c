"""How fast a copy goes, and how long it may take still. No clock: `now_s` is an argument."""

from __future__ import annotations

from collections import deque
from typing import Final

SPAN_S: Final = 5.0
"""The rate is that of the last seconds."""

STEP_S: Final = 0.25


class Meter:
    """Takes in how much is done, whenever something is, and tells the rate."""

    def __init__(self) -> None:
        self._marks: deque[tuple[float, int]] = deque()

    def note(self, now_s: float, done_bytes: int) -> None:
        """Take in that so much is done now."""
        marks = self._marks
        if marks and done_bytes < marks[-1][1]:
            marks.clear()  # it was begun anew
        if not marks or now_s - marks[-1][0] >= STEP_S:
            marks.append((now_s, done_bytes))
            while len(marks) > 2 and marks[1][0] <= now_s - SPAN_S:
                marks.popleft()

    def rest(self) -> None:
        """Forget all: nothing goes on now."""
        self._marks.clear()

    def rate(self, now_s: float, done_bytes: int) -> float:
        """Return bytes per second."""
        if not self._marks:
            return 0.0
        since_s, before_bytes = self._marks[0]
        if now_s - since_s < STEP_S:
            return 0.0
        return max(0.0, (done_bytes - before_bytes) / (now_s - since_s))


def estimate_s(left_bytes: int, rate_bytes_per_s: float) -> float:
    """Return how many seconds so much takes at this rate; -1 where it does not move."""
    if left_bytes <= 0:
        return 0.0
    return left_bytes / rate_bytes_per_s if rate_bytes_per_s >= 1 else -1.0
