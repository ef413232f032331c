"""How long a copy tries to go on: as long as there is progress, and a while without."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from vmcontroller.client.errors import (
    ClientError,
    ConnectionLost,
    GuestUnreachable,
    NotConnected,
    Unreachable,
)
from vmcontroller.client.patience import Patience

T = TypeVar("T")

PATIENCE_S: Final = 120.0
PAUSE_S: Final = 1.0
TEMPORARY: Final = (ConnectionLost, GuestUnreachable, NotConnected, Unreachable)
"""What may be over soon: a daemon that is restarted, an agent that is away."""


class Persistence:
    """Tries again after what may be over soon, until nothing has got on for PATIENCE_S."""

    def __init__(self) -> None:
        self._rest = Patience()
        self._failing_since_s: float | None = None
        self._begun = False

    def went_on(self) -> None:
        """Note that there is progress."""
        self._begun = True
        self._failing_since_s = None

    def tries(self, work: Callable[[], object]) -> bool:
        """Do it; tell whether it went well, or has to be tried again. Raises what is final."""
        try:
            work()
        except TEMPORARY as error:
            self._failed(error)
            return False
        self.went_on()
        return True

    def ask(self, work: Callable[[], T]) -> T:
        """Return what it returns, after as many tries as there may be."""
        while True:
            try:
                found = work()
            except TEMPORARY as error:
                self._failed(error)
            else:
                self._begun = True
                return found

    def _failed(self, error: ClientError) -> None:
        now_s = time.monotonic()
        if not self._begun:
            raise error  # who was never there is not waited for: that is `wait_ready`
        if self._failing_since_s is None:
            self._failing_since_s = now_s
        if now_s - self._failing_since_s >= PATIENCE_S:
            raise error
        self._rest.rest(PAUSE_S)
