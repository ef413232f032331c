"""A slot directory: what BOINC's client has put there, and what it wants to find."""

from __future__ import annotations

import fcntl
import os
import sys
import threading
import time
from pathlib import Path
from typing import Final

from vmcontroller.client.boinc import links
from vmcontroller.client.boinc.deciding import Later
from vmcontroller.client.boinc.init_data import LARGEST_BYTES, InitData, parse_init_data
from vmcontroller.client.boinc.messages import (
    FINISH_FILE,
    INIT_DATA_FILE,
    LOCK_FILE,
    STDERR_FILE,
    TEMPORARY_EXIT_FILE,
    ExitCode,
    finish_text,
    temporary_exit_text,
)
from vmcontroller.client.boinc.progress import (
    FILE_NAME,
    Ending,
    Progress,
    dump,
    load,
    write_whole,
)

LOCK_S: Final = 35.0
"""How long the wrapper before this one gets to end, as BOINC's own library gives."""


def say(text: str) -> None:
    """Write a line for people, in the form of BOINC's own."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} ({os.getpid()}): {text}\n")
    sys.stderr.flush()


def into_stderr_file(slot: Path) -> None:
    """Let all that is written for people end up where BOINC's client reads it."""
    descriptor = os.open(slot / STDERR_FILE, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 2)
    os.close(descriptor)


class Slot:
    """A slot directory, and what is read and written there. The methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, name: str, most_bytes: int) -> bytes:
        """Return a file of the slot, or the beginning of one that is too large."""
        with links.resolve(self.path, name).open("rb") as file:
            return file.read(most_bytes + 1)

    def told(self) -> InitData | None:
        """Return what the client says of the job; None: there is no client."""
        try:
            return parse_init_data((self.path / INIT_DATA_FILE).read_bytes()[:LARGEST_BYTES])
        except OSError:
            return None

    def lock(self) -> int | None:
        """Keep any other wrapper out of this slot; None if one is there, and stays there."""
        descriptor = os.open(self.path / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o660)
        deadline_s = time.monotonic() + LOCK_S
        while True:
            try:
                fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if time.monotonic() > deadline_s:
                    os.close(descriptor)
                    return None
                threading.Event().wait(1)
            else:
                return descriptor

    def progress(self) -> Progress | None:
        """Return what the wrapper before this one has written down."""
        try:
            return load((self.path / FILE_NAME).read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            say(f"{error}; the job begins anew")
            return None

    def keep(self, progress: Progress) -> None:
        """Write the progress down."""
        write_whole(self.path / FILE_NAME, dump(progress))

    def finish(self, ending: Ending) -> int:
        """Tell the client that the job is done; return the exit code."""
        if ending.code != ExitCode.ABORTED_BY_CLIENT:
            write_whole(self.path / FINISH_FILE, finish_text(ending.code, ending.message))
        say(f"finished with {ending.code} {ending.message}")
        return ending.code

    def leave(self, later: Later | None) -> int:
        """Tell the client not to start the job again at once; return the exit code."""
        if later is not None:
            text = temporary_exit_text(later.delay_s, later.reason)
            write_whole(self.path / TEMPORARY_EXIT_FILE, text)
            say(f"to be started again in {later.delay_s:.0f} s: {later.reason}")
        return ExitCode.OK
