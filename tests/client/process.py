"""The command as a process of its own, also on a terminal."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("vmcontroller"))
DEADLINE_S = 300
"""For the slowest: a copy of 100 MB into an emulated guest on a machine that does more."""


class CommandLine:
    """The command, with a daemon's URL in its environment."""

    ran: set[str] = set()  # noqa: RUF012 - of all instances: which commands were run
    """The first words of all that was run."""

    def __init__(self, url: str, **more: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
        coverage = {name: value for name, value in os.environ.items() if "COV" in name}
        self.environment = {
            **kept,
            **coverage,
            "VMCONTROLLER_URL": url,
            "TERM": "xterm",
            "COLUMNS": "120",
            "LANG": "C.UTF-8",
            **more,
        }

    def start(self, *words: str, **more) -> subprocess.Popen[bytes]:
        """Begin a run, with pipes."""
        self.ran.add(next((word for word in words if not word.startswith("-")), ""))
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([COMMAND, *words], env=self.environment, **{**pipes, **more})

    def run(self, *words: str, stdin: bytes | None = None, **more) -> subprocess.CompletedProcess:
        """Run it to its end."""
        if stdin is not None:
            more["stdin"] = subprocess.PIPE
        with self.start(*words, **more) as process:
            try:
                out, err = process.communicate(stdin, DEADLINE_S)
            except subprocess.TimeoutExpired as error:
                process.kill()
                raise AssertionError(f"{words} goes on after {DEADLINE_S} s") from error
        return subprocess.CompletedProcess(words, process.returncode, out, err)

    def good(self, *words: str, **more) -> str:
        """Run what must work and say nothing on standard error; return what it prints."""
        done = self.run(*words, **more)
        assert (done.returncode, done.stderr) == (0, b""), (words, done)
        return done.stdout.decode()

    def terminal(self, *words: str) -> Terminal:
        """Begin a run on a terminal."""
        self.ran.add(words[0])
        return Terminal([COMMAND, *words], self.environment)


class Terminal:
    """A process on a pseudo-terminal: what it shows, and what is typed."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        pid, self._fd = pty.fork()
        if pid == 0:
            os.execve(words[0], words, environment)
        self._pid = pid
        self.shown = b""
        termios.tcsetwinsize(self._fd, (40, 120))

    def type(self, keys: bytes) -> None:
        """Type something; Ctrl-C is the octet 3."""
        os.write(self._fd, keys)

    def until(self, wanted: bytes) -> None:
        """Wait until it shows something."""
        deadline = time.monotonic() + DEADLINE_S
        while wanted not in self.shown:
            if not self._read(deadline):
                raise AssertionError(f"it ended, and never showed {wanted!r}: {self.shown!r}")

    def end(self) -> tuple[int, bytes]:
        """Wait until it ends; return its exit status and all it has shown."""
        deadline = time.monotonic() + DEADLINE_S
        while self._read(deadline):
            pass
        _, status = os.waitpid(self._pid, 0)
        os.close(self._fd)
        return os.waitstatus_to_exitcode(status), self.shown

    def _read(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._fd], [], [], left)[0]:
            os.kill(self._pid, signal.SIGKILL)
            raise AssertionError(f"nothing more for {DEADLINE_S} s: {self.shown[-2000:]!r}")
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return False
        self.shown += data
        return bool(data)
