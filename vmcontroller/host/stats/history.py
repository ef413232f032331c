"""The last figures of one machine, oldest first, and the answer made of them. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from vmcontroller.host.hypervisor.stats import Counters
from vmcontroller.host.stats.figures import GUEST, Figure, guest_figures, host_figures

INT_MOST = 2**31 - 1
"""What an int of XML-RPC can be; larger numbers are doubles."""


class Series:
    """The last `keep` values of one figure, eight bytes each."""

    __slots__ = ("_keep", "_next", "_values", "last_s", "last_wall_s", "scale", "unit")

    def __init__(self, unit: str, scale: int, keep: int) -> None:
        self.unit = unit
        self.scale = scale
        self.last_s = 0.0
        """When the newest one was taken, by the daemon's clock."""
        self.last_wall_s = 0.0
        """The same by the time of day as it was then."""
        self._keep = keep
        self._next = 0
        self._values = array("d")

    def add(self, value: float, at_s: float, wall_s: float) -> None:
        """Take one more; the oldest goes when there are `keep`."""
        self.last_s, self.last_wall_s = at_s, wall_s
        if len(self._values) < self._keep:
            self._values.append(value)
            return
        self._values[self._next] = value
        self._next = (self._next + 1) % self._keep

    def values(self, most: int) -> list[float]:
        """Return the newest `most`, the oldest of them first."""
        ordered = self._values[self._next :] + self._values[: self._next]
        return ordered[-most:].tolist() if most else []


class MachineHistory:
    """What is known of one machine's figures.

    Times are of the daemon's own clock, which never jumps; `wall_s` are seconds since 1970.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._series: dict[str, Series] = {}
        self._before: Counters | None = None
        self._guest_said_s = float("-inf")

    def counted(self, counters: Counters, at_s: float, wall_s: float) -> None:
        """Take a reading of the hypervisor's."""
        self._add(host_figures(self._before, counters), at_s, wall_s)
        self._before = counters

    def said(self, said: Mapping[str, float], said_s: float, wall_s: float) -> None:
        """Take what the agent said last; what was taken before is not taken again."""
        if said and said_s > self._guest_said_s:
            self._guest_said_s = said_s
            self._add(guest_figures(said), said_s, wall_s)

    def drop_before(self, time_s: float) -> None:
        """Forget figures that were taken last before that."""
        for name in [name for name, series in self._series.items() if series.last_s < time_s]:
            del self._series[name]

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return not self._series

    def answer(self, machine: str, pattern: str, most: int) -> list[dict[str, Any]]:
        """Return the figures whose name matches, sorted by it, with the newest `most` values."""
        return [
            {
                "name": name,
                "object": GUEST if name.startswith(f"{GUEST}.") else machine,
                "unit": series.unit,
                "scale": series.scale,
                "values": [_wire(value) for value in values],
                "values_as_string": _shown(values, series),
                "at": series.last_wall_s,
            }
            for name, series in sorted(self._series.items())
            if fnmatchcase(name, pattern)
            for values in [series.values(most)]
        ]

    def _add(self, figures: Iterable[Figure], at_s: float, wall_s: float) -> None:
        for figure in figures:
            series = self._series.get(figure.name)
            if series is None:
                series = Series(figure.unit, figure.scale, self._keep)
                self._series[figure.name] = series
            series.add(figure.value, at_s, wall_s)


def _wire(value: float) -> int | float:
    return int(value) if abs(value) <= INT_MOST else value


def _shown(values: list[float], series: Series) -> str:
    """Write values as VirtualBox' own collector of figures did, for clients of old."""
    if series.scale == 1:
        texts = [f"{value:.0f} {series.unit}".rstrip() for value in values]
    else:
        texts = [f"{value / series.scale:.2f}{series.unit}" for value in values]
    return f"[{', '.join(texts)}]"
