"""The conversation with BOINC's client, in a thread of its own: no call of a daemon delays it."""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from vmcontroller.client.boinc.channel import (
    FILE_NAME,
    MAP_BYTES,
    Buffer,
    Channel,
    receive,
    send,
)
from vmcontroller.client.boinc.init_data import InitData
from vmcontroller.client.boinc.messages import SILENT_FOR_S, Control, Status, controlled

TURN_S: Final = 0.1
"""How often the client's messages are looked for, as BOINC's own library does."""
STATUS_S: Final = 1.0
CLIENT_S: Final = 10.0
"""How often one looks whether the client still lives."""
LAST_WORDS_S: Final = 2.0
"""How long the client gets to take the last status."""


def is_alive(pid: int) -> bool:
    """Tell whether a process is there, whoever's it is."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


class ClientLink:
    """Hears what the client wants, and tells it how far the job is."""

    def __init__(
        self,
        buffer: Buffer,
        told: InitData,
        *,
        now_s: Callable[[], float] = time.monotonic,
        lives: Callable[[int], bool] = is_alive,
    ) -> None:
        """`lives` tells whether a process is there."""
        self._buffer = buffer
        self._told = told
        self._now_s = now_s
        self._lives = lives
        self._lock = threading.Lock()
        self._control = Control()
        self._status: Status | None = None
        self._heard_s = self._looked_s = self._said_s = now_s()
        self._ending = threading.Event()
        self._news = threading.Event()

    def turn(self) -> None:
        """Take what the client has said, and say what is to be said."""
        now_s = self._now_s()
        self._hear(now_s)
        with self._lock:
            status = None if self._control.suspended else self._status
            if status is not None and now_s - self._said_s >= STATUS_S and self._say(status):
                self._said_s = now_s

    def _hear(self, now_s: float) -> None:
        control = before = self.control
        message = receive(self._buffer, Channel.PROCESS_CONTROL_REQUEST)
        if message is not None:
            control = controlled(control, message)
        message = receive(self._buffer, Channel.HEARTBEAT)
        if message is not None and "<heartbeat/>" in message:
            self._heard_s = now_s
        if self._is_gone(now_s):
            control = Control(suspended=control.suspended, gone=True)
        if control != before:
            with self._lock:
                self._control = control
            self._news.set()

    def _is_gone(self, now_s: float) -> bool:
        if not self._told.client_pid:
            return now_s - self._heard_s > SILENT_FOR_S
        if now_s - self._looked_s < CLIENT_S:
            return False
        self._looked_s = now_s
        return not self._lives(self._told.client_pid)

    def _say(self, status: Status) -> bool:
        told = self._told
        text = status.message(told.fraction_done_start, told.fraction_done_end)
        return send(self._buffer, Channel.APP_STATUS, text)

    @property
    def control(self) -> Control:
        """What the client wants now."""
        with self._lock:
            return self._control

    def ask_to_quit(self) -> None:
        """Do as if the client had asked for it: somebody else has, by a signal."""
        with self._lock:
            self._control = controlled(self._control, "<quit/>")
        self._news.set()

    def report(self, status: Status) -> None:
        """Tell the client, as soon as it has taken what it was told before."""
        with self._lock:
            self._status = status

    def rest(self, longest_s: float) -> None:
        """Wait so long, or until the client wants something else than before."""
        self._news.wait(longest_s)
        self._news.clear()

    def run(self) -> None:
        """Turn until `stop`; for a thread."""
        while not self._ending.wait(TURN_S):
            self.turn()

    def stop(self) -> None:
        """Say the last status, if the client takes it in time, and say no more."""
        self._ending.set()
        with self._lock:
            status = self._status
        deadline_s = self._now_s() + LAST_WORDS_S
        while status is not None and not self._say(status) and self._now_s() < deadline_s:
            threading.Event().wait(TURN_S)


def attached(slot: Path, told: InitData | None) -> ClientLink | None:
    """Return the link to the client of a slot; None: there is none, the job runs by itself."""
    if told is None:
        return None
    try:
        descriptor = os.open(slot / FILE_NAME, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(descriptor).st_size < MAP_BYTES:
            return None
        return ClientLink(mmap.mmap(descriptor, MAP_BYTES), told)
    finally:
        os.close(descriptor)


def alone() -> ClientLink:
    """Return a link to nobody: its messages stay where they are, and nobody wants anything."""
    return ClientLink(bytearray(MAP_BYTES), InitData(client_pid=os.getpid()))
