"""Calls: what a VM uses, and what it shows."""

from __future__ import annotations

from vmcontroller.client.answers import ConsolePage, Display, Figure
from vmcontroller.client.caller import Caller

SCREEN_S = 60.0
"""A screen of a busy host takes its time."""


class FigureCalls(Caller):
    """Figures, screen and serial console."""

    def get_performance_data(self, vm: str) -> list[Figure]:
        """Return a VM's figures, as the original did."""
        answer: list[Figure] = self.call("getPerformanceData", vm)
        return answer

    def get_stats(self, vm: str, key: str = "*") -> list[Figure]:
        """Return those of a VM's figures whose name matches a pattern, such as 'cpu*'."""
        answer: list[Figure] = self.call("getStats", vm, key)
        return answer

    def get_display(self, vm: str) -> Display:
        """Return how a VM's screen is reached."""
        answer: Display = self.call("getDisplay", vm)
        return answer

    def take_screenshot(self, vm: str) -> bytes:
        """Return what a VM's screen shows, a PNG."""
        answer: bytes = self.call("takeScreenshot", vm, wait_s=SCREEN_S)
        return answer

    def get_console_log(self, vm: str, offset: int = 0, length: int = 65536) -> ConsolePage:
        """Return what a VM has written to its serial console, from `offset` on."""
        answer: ConsolePage = self.call("getConsoleLog", vm, offset, length)
        return answer
