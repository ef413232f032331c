"""Commands in guests as one thing: begun, fed, followed while they run, signalled, ended.

Output and stdin have threads and connections of their own; callbacks run in the caller's thread.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from vmcontroller.client.answers import Result
from vmcontroller.client.calls import Calls
from vmcontroller.client.errors import ClientError, Fault
from vmcontroller.client.feeding import Feeder, Source
from vmcontroller.client.patience import PATIENCE_S, Patience

PAGE_BYTES: Final = 2**20
POLL_S: Final = 30.0
PAGES: Final = 8
"""So many of each stream are held at most, for a callback that is slow."""
SLICE_S: Final = 1.0

Sink = Callable[[bytes], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Completed:
    """How a command ended."""

    cmd_id: str
    exit_code: int
    """-1 when a signal ended it, and when it is lost."""
    signal: int
    """The signal that ended it; 0: none."""
    lost: bool
    """Nobody knows how it ended: `error` says why."""
    timed_out: bool
    truncated: bool
    """Output is missing, beyond a limit."""
    error: str
    """Why it never ran, was lost, or what of its output could not be kept."""
    stdout: bytes
    """What no callback took."""
    stderr: bytes
    result: Result

    @property
    def exit_status(self) -> int:
        """As a shell has it: the exit code, or 128 and the signal."""
        return 128 + self.signal if self.signal else self.exit_code


def completed(result: Result, stdout: bytes = b"", stderr: bytes = b"") -> Completed:
    """Read a result that is final."""
    lost = result["state"] == "lost"
    by_signal = not lost and not result["finished"]
    number = int(result["exitCodeOrSignal"])
    return Completed(
        cmd_id=result["cmd-id"],
        exit_code=-1 if lost or by_signal else number,
        signal=number if by_signal else 0,
        lost=lost,
        timed_out=bool(result.get("timedOut")),
        truncated=bool(result.get("truncated")),
        error=result["error"],
        stdout=stdout,
        stderr=stderr,
        result=result,
    )


class _Reader:
    """Reads one stream of a command, in a thread of its own."""

    def __init__(
        self, calls: Calls, cmd_id: str, stream: str, patience: Patience, pages: _Pages
    ) -> None:
        self._calls = calls
        self._cmd_id = cmd_id
        self._stream = stream
        self._patience = patience
        self._pages = pages
        self._offset = 0
        self._thread = threading.Thread(target=self._run, name=f"{stream} {cmd_id}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._calls.abort()
        self._thread.join(5)
        self._calls.close()

    def _run(self) -> None:
        try:
            while not self._patience.stopped:
                asked_s = time.monotonic()
                page = self._patience.ask(self._page)
                if page:
                    self._offset += len(page)
                    self._pages.put(self._stream, page)
                elif time.monotonic() - asked_s < POLL_S:
                    break  # there will be none
            self._pages.put(self._stream, None)
        except Exception as error:  # noqa: BLE001 - raised where the pages are taken
            self._pages.put(self._stream, error)

    def _page(self) -> bytes:
        return self._calls.get_cmd_output(
            self._cmd_id, self._stream, self._offset, PAGE_BYTES, POLL_S
        )


class _Pages:
    """Output on its way to whoever takes it; bounded."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[str, bytes | Exception | None]] = queue.SimpleQueue()
        self._room = threading.Semaphore(2 * PAGES)

    def put(self, stream: str, page: bytes | Exception | None) -> None:
        self._room.acquire()
        self._queue.put((stream, page))

    def get(self) -> tuple[str, bytes | Exception | None]:
        found = self._queue.get()
        self._room.release()
        return found

    def drop(self) -> None:
        """Let whoever puts something go on: nothing is taken any more."""
        self._room.release(PAGES)


class Running:
    """A command that was begun."""

    def __init__(self, calls: Calls, cmd_id: str) -> None:
        self.cmd_id = cmd_id
        self._calls = calls
        self._signals: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._signaller: threading.Thread | None = None
        self.signal_failed: Callable[[str, ClientError], object] = lambda *_: None
        """Called, in another thread, with a signal that could not be sent, and why."""

    def signal(self, name: str) -> None:
        """Send a signal, soon: from a signal handler, from any thread, while `follow` waits."""
        self._signals.put(name)

    def follow(
        self,
        on_stdout: Sink | None = None,
        on_stderr: Sink | None = None,
        *,
        stdin: Source | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Completed:
        """Pass on what it prints as it comes, until it has ended.

        What has no callback is collected. Callbacks are called in this thread; what they raise is
        raised, and the command goes on then. While the daemon is away for less than `patience_s`
        this waits, and nothing is missing or there twice.
        """
        pages, patience = _Pages(), Patience(patience_s)
        self._start_signaller()
        feeder = Feeder(self._calls.clone(), self.cmd_id, stdin) if stdin is not None else None
        readers = [
            _Reader(self._calls.clone(), self.cmd_id, stream, patience, pages)
            for stream in ("stdout", "stderr")
        ]
        kept = {"stdout": bytearray(), "stderr": bytearray()}
        sinks = {
            "stdout": on_stdout or kept["stdout"].extend,
            "stderr": on_stderr or kept["stderr"].extend,
        }
        try:
            self._pass_on(pages, sinks)
            result = self._end(patience)
        finally:
            patience.stop()
            pages.drop()
            for reader in readers:
                reader.stop()
            if feeder is not None:
                feeder.stop()
            self._signals.put("")
        if feeder is not None and feeder.error is not None and not result["error"]:
            result["error"] = f"its stdin ended early: {feeder.error}"
        return completed(result, bytes(kept["stdout"]), bytes(kept["stderr"]))

    def _pass_on(self, pages: _Pages, sinks: dict[str, Sink]) -> None:
        left = set(sinks)
        while left:
            stream, page = pages.get()
            if isinstance(page, Exception):
                raise page
            if page is None:
                left.discard(stream)
            else:
                sinks[stream](page)

    def _end(self, patience: Patience) -> Result:
        while True:
            # In slices, so that a signal handler of the caller's comes to its turn.
            result = patience.ask(lambda: self._calls.wait_cmd(self.cmd_id, SLICE_S))
            if result["state"] in {"ended", "lost"}:
                return result

    def _start_signaller(self) -> None:
        calls = self._calls.clone()

        def run() -> None:
            while name := self._signals.get():
                try:
                    calls.kill_cmd(self.cmd_id, name)
                except ClientError as error:
                    self.signal_failed(name, error)
            calls.close()

        self._signaller = threading.Thread(target=run, name="signals", daemon=True)
        self._signaller.start()

    def kill(self, signal: str = "KILL") -> None:
        """Send a signal now; that it has ended already is no error."""
        with contextlib.suppress(Fault):
            self._calls.kill_cmd(self.cmd_id, signal)

    def forget(self) -> None:
        """Drop its result and output on the host, if it has ended."""
        with contextlib.suppress(Fault):
            self._calls.forget_cmd(self.cmd_id)
