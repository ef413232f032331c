"""How fast a guest may send: a budget that time fills and sending empties. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """What one guest may send, on average and at once."""

    frames_per_s: float = 2000.0
    burst_frames: float = 10_000.0
    bytes_per_s: float = 256 << 20
    burst_bytes: float = 512 << 20


class Budget:
    """What one guest may still send. It may be overdrawn: who has, waits until it is even again."""

    __slots__ = ("_bytes", "_frames", "_rates", "_then_s")

    def __init__(self, rates: Rates, now_s: float) -> None:
        self._rates = rates
        self._frames = rates.burst_frames
        self._bytes = rates.burst_bytes
        self._then_s = now_s

    def spend(self, frames: int, octets: int, now_s: float) -> float:
        """Take what has come; return for how many seconds nothing more should be read."""
        self._fill(now_s)
        self._frames -= frames
        self._bytes -= octets
        if self._frames >= 0 and self._bytes >= 0:
            return 0.0
        rates = self._rates
        return max(-self._frames / rates.frames_per_s, -self._bytes / rates.bytes_per_s)

    def is_full(self, now_s: float) -> bool:
        """Tell whether a new one would be the same."""
        self._fill(now_s)
        rates = self._rates
        return self._frames >= rates.burst_frames and self._bytes >= rates.burst_bytes

    def _fill(self, now_s: float) -> None:
        rates, passed_s = self._rates, now_s - self._then_s
        self._then_s = now_s
        self._frames = min(rates.burst_frames, self._frames + passed_s * rates.frames_per_s)
        self._bytes = min(rates.burst_bytes, self._bytes + passed_s * rates.bytes_per_s)
