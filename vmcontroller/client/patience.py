"""Going on after a connection that broke: what may be asked twice is asked again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from vmcontroller.client.errors import ConnectionLost, NotConnected, TimedOut, Unreachable

T = TypeVar("T")

PATIENCE_S: Final = 120.0
"""A daemon that is updated or restarted is there again long before that."""
FIRST_S: Final = 0.1
MOST_S: Final = 5.0


class Patience:
    """Asks again while the daemon is away, for a while; only for calls that change nothing."""

    def __init__(self, patience_s: float = PATIENCE_S) -> None:
        self._patience_s = patience_s
        self._stop = threading.Event()

    def stop(self) -> None:
        """Let whoever waits fail now. From any thread."""
        self._stop.set()

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stop.is_set()

    def rest(self, seconds: float) -> bool:
        """Wait; tell whether to go on."""
        return not self._stop.wait(seconds)

    def ask(self, call: Callable[[], T]) -> T:
        """Return what `call` returns, after as many tries as the time allows."""
        since_s, pause_s = 0.0, FIRST_S
        while True:
            try:
                return call()
            except (Unreachable, ConnectionLost, NotConnected) as error:
                now_s = time.monotonic()
                since_s = since_s or now_s
                tired = now_s - since_s >= self._patience_s
                if tired or isinstance(error, TimedOut) or not self.rest(pause_s):
                    raise
                pause_s = min(2 * pause_s, MOST_S)
