"""Running a program of the host to its end, with a deadline; nothing it started is left behind."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred

from vmcontroller.common import process
from vmcontroller.common.spawning import Launch

SAID_BYTES = 2000

RunProgram = Callable[[Sequence[str], float], Awaitable["Ended"]]
"""`await run(argv, deadline_s)`; raises spawning.StartFailed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a program ended."""

    succeeded: bool
    said: str
    """The end of what it wrote to its stderr; that it took too long, if it did."""


def runner(reactor: Any) -> RunProgram:  # Any: two interfaces of it
    """Return what runs programs by this reactor."""

    async def run(argv: Sequence[str], deadline_s: float) -> Ended:
        said = os.memfd_create("stderr", os.MFD_CLOEXEC)
        try:
            exit_ = await _ended(reactor, argv, said, deadline_s)
            size = os.fstat(said).st_size
            text = os.pread(said, SAID_BYTES, max(0, size - SAID_BYTES)).decode(errors="replace")
        finally:
            os.close(said)
        if exit_ is None:
            return Ended(succeeded=False, said=f"did not end within {deadline_s:g} s")
        if exit_.status == 0:
            return Ended(succeeded=True, said=text.strip())
        how = "ended by signal" if exit_.by_signal else "exit code"
        return Ended(succeeded=False, said=text.strip() or f"{how} {exit_.code_or_signal}")

    return run


async def _ended(
    reactor: Any, argv: Sequence[str], stderr: int, deadline_s: float
) -> process.Exit | None:
    """Return its exit; None when it had to be killed. Cancelled, it is killed, too."""
    launch = Launch(
        argv=argv,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        stderr=stderr,
        umask=0o077,  # what it makes is a guest's, and nobody else's on this host
    )
    waiting: Deferred[process.Exit] = Deferred()
    gone: Deferred[process.Exit] = Deferred()
    late: list[bool] = []

    def ended(exit_: process.Exit) -> None:
        gone.callback(exit_)
        if not waiting.called:
            waiting.callback(exit_)

    def too_late() -> None:
        late.append(True)
        _kill(child.pid)

    child = process.start(reactor, launch, ended)
    timer = reactor.callLater(deadline_s, too_late)
    try:
        exit_ = await waiting
    except BaseException:
        if child.exit is None:
            _kill(child.pid)
            await gone  # or it might still write a file after that was removed
        raise
    finally:
        if timer.active():
            timer.cancel()
    return None if late else exit_


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
