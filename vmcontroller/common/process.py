"""Child processes that Twisted's reactor learns the end of through a pidfd.

Not `reactor.spawnProcess`: that forks the whole interpreter in Python, reaps by SIGCHLD and
throws away what wait4 says of the child's resources. Linux 5.3 or newer.
"""

from __future__ import annotations

import os
import resource
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from vmcontroller.common.spawning import Launch, StartFailed, StartProblem, spawn

RESOURCES = (
    "ru_utime",
    "ru_stime",
    "ru_maxrss",
    "ru_ixrss",
    "ru_idrss",
    "ru_isrss",
    "ru_minflt",
    "ru_majflt",
    "ru_nswap",
    "ru_inblock",
    "ru_oublock",
    "ru_msgsnd",
    "ru_msgrcv",
    "ru_nsignals",
    "ru_nvcsw",
    "ru_nivcsw",
)
"""The names of resource.struct_rusage, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a child ended."""

    status: int
    """As wait4 gives it."""
    usage: resource.struct_rusage
    """Of that child and of the children it waited for. `ru_maxrss` is never below the memory of
    whoever started it: Linux counts what the process had before its exec."""

    @property
    def by_signal(self) -> bool:
        """True when a signal ended it."""
        return os.WIFSIGNALED(self.status)

    @property
    def code_or_signal(self) -> int:
        """The exit code, or the number of the signal."""
        return abs(os.waitstatus_to_exitcode(self.status))

    @property
    def resources(self) -> dict[str, float]:
        """The sixteen figures by name; times in seconds, ru_maxrss in KiB."""
        return {name: getattr(self.usage, name) for name in RESOURCES}


@implementer(IReadDescriptor)
class ExitWatch:
    """Calls back once when a process has ended; it need not be a child of ours."""

    def __init__(
        self,
        reactor: IReactorFDSet,
        pid: int,
        on_exit: Callable[[], None],
        has_ended: Callable[[], bool] | None = None,
    ) -> None:
        """Begin to watch; ProcessLookupError when there is no process `pid`.

        `has_ended` is a cheaper way to tell than to ask the kernel about the pidfd.
        """
        self._reactor = reactor
        self._fd = os.pidfd_open(pid)
        self._on_exit = on_exit
        self._has_ended = has_ended or self._is_readable
        reactor.addReader(self)

    def stop(self) -> None:
        """Watch no more; it may be called at any time."""
        if self._fd >= 0:
            self._reactor.removeReader(self)
            os.close(self._fd)
            self._fd = -1

    def fileno(self) -> int:
        return self._fd

    def doRead(self) -> None:
        # The reactor may mean another descriptor that had this number earlier in its turn.
        if self._fd >= 0 and self._has_ended():
            self.stop()
            self._on_exit()

    def _is_readable(self) -> bool:
        poll = select.poll()
        poll.register(self._fd, select.POLLIN)
        return bool(poll.poll(0))

    def connectionLost(self, reason: Failure) -> None:
        """Go on watching when the reactor tells of a hang-up that wasn't ours."""
        if self._fd >= 0 and isinstance(reason.value, ConnectionDone):
            self._reactor.addReader(self)
        else:
            self.stop()

    def logPrefix(self) -> str:
        return "pidfd"


def watch_exit(reactor: IReactorFDSet, pid: int, callback: Callable[[], None]) -> ExitWatch:
    """Call `callback` once when process `pid` has ended, child or not; `stop()` gives up.

    Raises ProcessLookupError when there is none (any more). Whoever can't be sure that `pid` is
    still the process it means compares its start time after this call: from here on it is held.
    """
    return ExitWatch(reactor, pid, callback)


class Child:
    """A running child, leader of a session and process group of its own."""

    def __init__(self, reactor: IReactorFDSet, pid: int, on_exit: Callable[[Exit], None]) -> None:
        self.pid = pid
        self.exit: Exit | None = None
        self._on_exit = on_exit
        self._watch = ExitWatch(reactor, pid, self._ended, self._reap)

    def _reap(self) -> bool:
        pid, status, usage = os.wait4(self.pid, os.WNOHANG)
        if pid:
            self.exit = Exit(status=status, usage=usage)
        return pid != 0

    def _ended(self) -> None:
        if self.exit is not None:
            self._on_exit(self.exit)

    def unwatch(self) -> None:
        """Take no more notice of its end; for a caller that ends before it."""
        self._watch.stop()


def start(reactor: IReactorFDSet, launch: Launch, on_exit: Callable[[Exit], None]) -> Child:
    """Start a child; `on_exit` is called from the reactor, once, when it has been reaped.

    Raises spawning.StartFailed.
    """
    pid = spawn(launch)
    try:
        return Child(reactor, pid, on_exit)
    except OSError as error:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise StartFailed(StartProblem.NO_MEANS, str(error.strerror)) from error
