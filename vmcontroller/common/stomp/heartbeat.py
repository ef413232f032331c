"""Heart-beats of STOMP 1.1 and 1.2 for either side: when to send one, when the peer is gone."""

from __future__ import annotations

import re
from typing import Final

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import quoted

_PAIR: Final = re.compile("([0-9]{1,9}),([0-9]{1,9})")

TOLERANCE: Final = 2.0
"""Silence of this many agreed intervals means the peer is gone; the texts ask for a margin."""


def parse_heart_beat(text: str) -> tuple[float, float]:
    """Return what a `heart-beat` header offers and asks for, in seconds; 0 is none.

    Raises ProtocolError unless it is two numbers of milliseconds with a comma between them.
    """
    found = _PAIR.fullmatch(text)
    if found is None:
        raise ProtocolError(
            f"heart-beat {quoted(text)} is not two numbers of milliseconds such as 10000,10000"
        )
    return int(found[1]) / 1000, int(found[2]) / 1000


def agree(mine_s: float, theirs_s: float) -> float:
    """Return the interval of one direction: the larger one, or none when either side has none."""
    return max(mine_s, theirs_s) if mine_s and theirs_s else 0.0


class HeartBeats:
    """The beats of one connection. `now` is in seconds of any clock that never goes back.

    Call `tick` every `tick_s` (0: never). `spoke` is only a flag, so that it costs nothing per
    message; the margin of `tick` makes up for not knowing the exact time.
    """

    def __init__(self, *, send_s: float, receive_s: float, now: float) -> None:
        self._send_s = send_s
        self._silence_s = receive_s * TOLERANCE
        self._heard = now
        self._spoke = now
        self._has_spoken = False
        ticks = [interval / 4 for interval in (send_s, receive_s) if interval]
        self.tick_s = min(ticks, default=0.0)

    def heard(self, now: float) -> None:
        """Note that octets have come, whichever."""
        self._heard = now

    def spoke(self) -> None:
        """Note that octets have been sent."""
        self._has_spoken = True

    def silent_s(self, now: float) -> float:
        """Return for how long the peer has been silent if that is too long, else 0."""
        silent_s = now - self._heard
        return silent_s if self._silence_s and silent_s >= self._silence_s else 0.0

    def is_due(self, now: float) -> bool:
        """Tell whether a beat must be sent now; the caller then sends it. Once per tick."""
        if not self._send_s:
            return False
        if self._has_spoken:
            self._has_spoken = False
            self._spoke = now
            return False
        # What was sent may have been sent up to one tick before it was noted, and the next chance
        # comes one tick later.
        if now + 2 * self.tick_s < self._spoke + self._send_s:
            return False
        self._spoke = now
        return True
