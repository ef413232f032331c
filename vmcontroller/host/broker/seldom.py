"""Decides which log lines are written, of those that a peer can cause without end."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

_MOST_KEYS = 1000
"""Remembered at once; addresses can be made up, too. What comes beyond shares one."""


@dataclass(slots=True)
class _Window:
    began: float
    lines: int = 0
    left_out: int = 0


class Seldom:
    """Lets some lines through in each interval, separately for each key, and counts the others."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._windows: dict[tuple[str, str], _Window] = {}

    def due(self, kind: str, host: str, *, interval_s: float, lines: int = 1) -> str | None:
        """Return None to leave this line out, else what to add to it about those left out before.

        `lines` of this kind and host may be written in `interval_s`.
        """
        now = self._clock.seconds()
        window = self._window(kind, host, now, interval_s)
        left_out = 0
        if now - window.began >= interval_s:
            left_out = window.left_out
            window.began, window.lines, window.left_out = now, 0, 0
        if window.lines >= lines:
            window.left_out += 1
            return None
        window.lines += 1
        return f" ({left_out} such lines were left out)" if left_out else ""

    def _window(self, kind: str, host: str, now: float, interval_s: float) -> _Window:
        window = self._windows.get((kind, host))
        if window is not None:
            return window
        if len(self._windows) >= _MOST_KEYS:
            self._drop_old(now - interval_s)
        if len(self._windows) >= _MOST_KEYS:
            host = "others"
        return self._windows.setdefault((kind, host), _Window(now))

    def _drop_old(self, before: float) -> None:
        for key in [key for key, window in self._windows.items() if window.began <= before]:
            del self._windows[key]
