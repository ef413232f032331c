"""How long guests were away while their VMs ran. No clock: times are arguments."""

from __future__ import annotations

from collections.abc import Mapping

from vmcontroller.common.model import GuestId


class Absences:
    """Adds up the time in which a VM ran and its agent was not heard."""

    def __init__(self, longest_s: float) -> None:
        self._longest_s = longest_s
        self._away_s: dict[GuestId, float] = {}
        self._looked_s: float | None = None

    def look(self, now_s: float, away: Mapping[GuestId, bool]) -> list[GuestId]:
        """Return those that are away for too long now.

        `away` has all guests that are not there, and whether their VMs run: while a VM is paused
        or saved its time stands still. A guest that is there again begins anew.
        """
        passed_s = 0.0 if self._looked_s is None else now_s - self._looked_s
        self._looked_s = now_s
        self._away_s = {
            guest: self._away_s[guest] + (passed_s if runs else 0.0)
            if guest in self._away_s
            else 0.0
            for guest, runs in away.items()
        }
        return [guest for guest, away_s in self._away_s.items() if away_s > self._longest_s]
