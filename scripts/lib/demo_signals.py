"""How the demo is interrupted: never between making something and knowing of it."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator


class Interrupted(BaseException):
    """A signal has asked the demo to stop; the exit status says which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


class Signals:
    """SIGINT, SIGTERM and SIGHUP raise Interrupted, but not within a call that makes something."""

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        self._holding = False
        self._came: int | None = None
        for number in self.numbers:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, self._received)

    def _received(self, number: int, _frame: object) -> None:
        if self._holding and self._came is None:
            self._came = number
            os.write(2, b"    stopping after this step\n")  # print may be what was interrupted
            return
        raise Interrupted(number)

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Let one signal wait until the end of this; a second one is impatient."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False
        if self._came is not None:
            raise Interrupted(self._came)

    def ignore(self) -> None:
        """From now on."""
        for number in self.numbers:
            signal.signal(number, signal.SIG_IGN)
