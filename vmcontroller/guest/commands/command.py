"""One command of the host as a child process: its pipes, its time limit, its end."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from twisted.internet.interfaces import IDelayedCall

from vmcontroller.common import process
from vmcontroller.common.model import CommandResult, CommandSpec
from vmcontroller.common.spawning import Launch, StartFailed
from vmcontroller.common.words.commands import STREAMS
from vmcontroller.common.words.running import CmdStdinRoom
from vmcontroller.guest.commands import launching
from vmcontroller.guest.commands.feed import StdinFeed
from vmcontroller.guest.commands.orphans import Orphans
from vmcontroller.guest.commands.spool import StreamSpool
from vmcontroller.guest.commands.streams import ICommandReactor, OutputPipe
from vmcontroller.guest.commands.tree import Tree
from vmcontroller.guest.commands.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long things are waited for."""

    listen_after_s: float = 0.01
    """From a command's start to listening at its pipes: what has ended by then costs the reactor
    one turn instead of three."""
    quick_s: float = 0.05
    """What has ended by then was quick, and only its end is told."""
    pipe_grace_s: float = 1.0
    """How long a background process may hold the pipes after the command itself has ended."""
    stop_grace_s: float = 1.0
    """From SIGTERM to SIGKILL, when the agent stops."""


DEFAULT_PATIENCE = Patience()


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What all commands of an agent share."""

    reactor: ICommandReactor
    env: Mapping[str, str]
    """What commands inherit."""
    orphans: Orphans
    now: Callable[[], float]
    """A monotonic clock, in seconds."""
    adopts: bool = False
    """Whether orphans come to this process."""
    sealed: bool = False
    """Whether this process has no descriptor to inherit (spawning.seal)."""
    patience: Patience = DEFAULT_PATIENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """Whom a command tells what: of output, of its life, of its leader's end, and of its own."""

    output: Callable[[], None]
    slow: Callable[[], None]
    """It has not ended quickly."""
    exited: Callable[[], None]
    """The process has been waited for; output may follow."""
    end: Callable[[CommandResult], None]
    """Called once, when all output is in the spools."""
    stdin: Callable[[CmdStdinRoom], None]


@dataclass(slots=True)
class _Timers:
    limit: IDelayedCall | None = None
    grace: IDelayedCall | None = None
    patience: IDelayedCall | None = None
    """Until its pipes are listened at, then until it is no longer quick."""


class _Pipes:
    """Descriptors on their way to a child."""

    def __init__(self) -> None:
        self.childs: list[int] = []
        """To be closed here, when it has its own or could not be started."""
        self.own: list[int] = []
        """To be closed if it could not be started."""

    def pipe(self, *, child_reads: bool = False) -> tuple[int, int]:
        """Make a pipe; return the child's end and our own, which doesn't block."""
        read, write = os.pipe2(os.O_CLOEXEC)
        childs, own = (read, write) if child_reads else (write, read)
        self.childs.append(childs)
        self.own.append(own)
        os.set_blocking(own, False)
        return childs, own


class Command:
    """Runs once: its output goes to the spools."""

    def __init__(
        self,
        *,
        cmd_id: str,
        spec: CommandSpec,
        spools: Mapping[str, StreamSpool],
        mark: str,
        around: Surroundings,
        told: Told,
    ) -> None:
        self._cmd_id = cmd_id
        self._spec = spec
        self._spools = spools
        self._mark = mark
        self._around = around
        self._told = told
        self._child: process.Child | None = None
        self._tree: Tree | None = None
        self._pipes: list[OutputPipe] = []
        self._timers = _Timers()
        self._timed_out = False
        self._began = around.now()
        self._duration_s = 0.0
        self._over = False
        self.usage = Usage()
        self.feed: StdinFeed | None = None
        """Its stdin, if that was to stay open."""

    def start(self) -> int:
        """Start it; return its pid.

        Raises launching.Refused, and then nobody is told anything.
        """
        try:
            child = self._start()
        except StartFailed as error:
            raise launching.refused(error) from error
        except OSError as error:
            raise launching.Refused(126, "NO_RESOURCES", str(error.strerror)) from error
        self._child = child
        self._tree = Tree(
            mark=self._mark,
            leader=child.pid,
            orphans=self._around.orphans,
            adopts=self._around.adopts,
        )
        clock, patience = self._around.reactor, self._around.patience
        if self._spec.timeout_s:
            self._timers.limit = clock.callLater(self._spec.timeout_s, self._time_is_up)
        self._timers.patience = clock.callLater(patience.listen_after_s, self._listen)
        return child.pid

    def _start(self) -> process.Child:
        spec, around = self._spec, self._around
        account, of_user = launching.account_of(spec)
        pipes = _Pipes()
        try:
            stdin, feed_fd = self._stdin(pipes)
            stdout, own_out = pipes.pipe()
            stderr, own_err = pipes.pipe()
            launch = Launch(
                argv=(spec.cmd, *spec.args),
                env=launching.environment(around.env, of_user, spec, self._mark),
                cwd=spec.path,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                account=account,
                umask=spec.umask,
                nice=spec.nice,
                sealed=around.sealed,
            )
            child = process.start(around.reactor, launch, self._exited)
        except BaseException:
            _close(pipes.own)
            raise
        finally:
            _close(pipes.childs)
        for stream, fd in zip(STREAMS, (own_out, own_err), strict=True):
            self._pipes.append(self._output(stream, fd))
        if feed_fd >= 0:
            self.feed = StdinFeed(
                around.reactor,
                cmd_id=self._cmd_id,
                fd=feed_fd,
                first=spec.stdin,
                say=self._told.stdin,
            )
        return child

    def _stdin(self, pipes: _Pipes) -> tuple[int, int]:
        """Return what the child reads, and where we write (-1: nowhere)."""
        if not self._spec.stdin_open:
            stdin = launching.open_stdin(self._spec)
            if stdin >= 0:
                pipes.childs.append(stdin)
            return stdin, -1
        if self._spec.file_for_stdin:
            raise launching.Refused(126, "BAD_STDIN", "a file, and open: it can be only one")
        return pipes.pipe(child_reads=True)

    def _output(self, stream: str, fd: int) -> OutputPipe:
        def on_data(data: bytes) -> None:
            self._spools[stream].append(data)
            self._told.output()

        return OutputPipe(self._around.reactor, fd, on_data, self._end_when_all_is_read)

    def _listen(self) -> None:
        for pipe in self._pipes:
            pipe.begin()
        patience = self._around.patience
        self._timers.patience = self._around.reactor.callLater(
            patience.quick_s - patience.listen_after_s, self._told.slow
        )

    def signal(self, signum: signal.Signals) -> int:
        """Send a signal to it and all that it has started; return to how many."""
        if self._tree is None or self._over:
            return 0
        if signum == signal.SIGKILL:
            return self._tree.kill(self._around.reactor)
        return self._tree.signal(signum)

    def measure(self) -> dict[str, float]:
        """Return what it uses now, and has used; the names are those of USAGE."""
        members = self._tree.members().values() if self._tree is not None else ()
        return self.usage.measure(tuple(members))

    def _time_is_up(self) -> None:
        self._timed_out = True
        if self._tree is not None:
            self._tree.signal(signal.SIGTERM)
            # Also of those that the command has left behind, when it has ended by then.
            self._timers.limit = self._around.reactor.callLater(
                self._spec.kill_after_s, self._tree.kill, self._around.reactor
            )

    def _exited(self, _: process.Exit) -> None:
        self._duration_s = self._around.now() - self._began
        if self._tree is not None:
            self._tree.leader_waited_for = True
        _cancel(self._timers.patience)
        self._told.exited()
        if not (self._timed_out and self._tree is not None and self._tree.members()):
            _cancel(self._timers.limit)
        if self.feed is not None:
            self.feed.close()
        for pipe in tuple(self._pipes):
            pipe.drain()
        if any(pipe.open for pipe in self._pipes):
            for pipe in self._pipes:
                pipe.begin()
            self._timers.grace = self._around.reactor.callLater(
                self._around.patience.pipe_grace_s, self._give_up_pipes
            )
        else:
            self._end_when_all_is_read()

    def _give_up_pipes(self) -> None:
        for pipe in self._pipes:
            pipe.drain()
            pipe.close()
        self._end_when_all_is_read()

    def _end_when_all_is_read(self) -> None:
        ended = self._child.exit if self._child is not None else None
        if ended is None or self._over or any(pipe.open for pipe in self._pipes):
            return
        self._over = True
        _cancel(self._timers.grace)
        self._told.end(
            CommandResult(
                cmd_id=self._cmd_id,
                finished=not ended.by_signal,
                exit_code_or_signal=ended.code_or_signal,
                resources=self.usage.total(ended.resources),
                stdout_bytes=self._spools["stdout"].size_bytes,
                stderr_bytes=self._spools["stderr"].size_bytes,
                truncated=any(spool.truncated for spool in self._spools.values()),
                timed_out=self._timed_out,
                duration_s=round(self._duration_s, 6),
            )
        )


def _close(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def _cancel(timer: IDelayedCall | None) -> None:
    if timer is not None and timer.active():
        timer.cancel()
