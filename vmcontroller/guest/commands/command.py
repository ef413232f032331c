"""One command of the host as a child process: its pipes, its time limit, its end."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from twisted.internet.interfaces import IDelayedCall

from vmcontroller.common import process
from vmcontroller.common.model import CommandResult, CommandSpec
from vmcontroller.common.words.commands import STREAMS
from vmcontroller.guest.commands import launching
from vmcontroller.guest.commands.spool import StreamSpool
from vmcontroller.guest.commands.streams import ICommandReactor, OutputPipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long ending commands are waited for."""

    kill_after_s: float = 5.0
    """From SIGTERM to SIGKILL, when the time limit has passed."""
    pipe_grace_s: float = 1.0
    """How long a background process may hold the pipes after the command itself has ended."""
    stop_grace_s: float = 1.0
    """From SIGTERM to SIGKILL, when the agent stops."""


DEFAULT_PATIENCE = Patience()


class Command:
    """Runs once: its output goes to the spools, and `on_end` is called when all of it is there."""

    def __init__(
        self,
        *,
        reactor: ICommandReactor,
        cmd_id: str,
        spec: CommandSpec,
        spools: Mapping[str, StreamSpool],
        on_output: Callable[[], None],
        on_end: Callable[[CommandResult], None],
        now: Callable[[], float],
        patience: Patience = DEFAULT_PATIENCE,
    ) -> None:
        self._reactor = reactor
        self._cmd_id = cmd_id
        self._spec = spec
        self._spools = spools
        self._on_output = on_output
        self._on_end = on_end
        self._now = now
        self._patience = patience
        self._child: process.Child | None = None
        self._pipes: list[OutputPipe] = []
        self._timer: IDelayedCall | None = None
        self._grace: IDelayedCall | None = None
        self._timed_out = False
        self._began = now()
        self._duration_s = 0.0
        self._over = False

    def start(self, env: Mapping[str, str]) -> int:
        """Start it in the agent's environment `env`; return its pid.

        Raises launching.Refused, and then `on_end` is never called.
        """
        try:
            pid = self._start(env)
        except process.StartFailed as error:
            raise launching.refused(error) from error
        except OSError as error:
            raise launching.Refused(126, "NO_RESOURCES", str(error.strerror)) from error
        if self._spec.timeout_s:
            self._timer = self._reactor.callLater(self._spec.timeout_s, self._time_is_up)
        return pid

    def _start(self, env: Mapping[str, str]) -> int:
        spec = self._spec
        account, of_user = launching.account_of(spec)
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as on_failure:
            stdin = ours.enter_context(launching.stdin_of(spec))
            reads, writes = [], []
            for _ in STREAMS:
                read, write = os.pipe2(os.O_CLOEXEC)
                on_failure.callback(os.close, read)
                ours.callback(os.close, write)
                os.set_blocking(read, False)
                reads.append(read)
                writes.append(write)
            launch = process.Launch(
                argv=(spec.cmd, *spec.args),
                env=launching.environment(env, of_user, spec.env),
                cwd=spec.path,
                stdin=stdin,
                stdout=writes[0],
                stderr=writes[1],
                account=account,
            )
            self._child = process.start(self._reactor, launch, self._exited)
            on_failure.pop_all()
        for stream, read in zip(STREAMS, reads, strict=True):
            self._pipes.append(self._pipe(stream, read))
        return self._child.pid

    def _pipe(self, stream: str, fd: int) -> OutputPipe:
        def on_data(data: bytes) -> None:
            self._spools[stream].append(data)
            self._on_output()

        return OutputPipe(self._reactor, fd, on_data, self._end_when_all_is_read)

    def terminate(self) -> None:
        """Ask it, and what it started in its group, to end."""
        if self._child is not None:
            self._child.signal_group(signal.SIGTERM)

    def kill(self) -> None:
        """End it, and what it started in its group."""
        if self._child is not None:
            self._child.signal_group(signal.SIGKILL)

    def _time_is_up(self) -> None:
        self._timed_out = True
        self.terminate()
        self._timer = self._reactor.callLater(self._patience.kill_after_s, self.kill)

    def _exited(self, _: process.Exit) -> None:
        self._duration_s = self._now() - self._began
        if self._timer is not None and self._timer.active() and not self._children_remain():
            self._timer.cancel()
        for pipe in tuple(self._pipes):
            pipe.drain()
        if any(pipe.open for pipe in self._pipes):
            self._grace = self._reactor.callLater(self._patience.pipe_grace_s, self._give_up_pipes)
        else:
            self._end_when_all_is_read()

    def _children_remain(self) -> bool:
        """Tell whether the time limit has still something to kill."""
        return self._timed_out and self._child is not None and self._child.group_remains()

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
        if self._grace is not None and self._grace.active():
            self._grace.cancel()
        self._on_end(
            CommandResult(
                cmd_id=self._cmd_id,
                finished=not ended.by_signal,
                exit_code_or_signal=ended.code_or_signal,
                resources=ended.resources,
                stdout_bytes=self._spools["stdout"].size_bytes,
                stderr_bytes=self._spools["stderr"].size_bytes,
                truncated=any(spool.truncated for spool in self._spools.values()),
                timed_out=self._timed_out,
                duration_s=round(self._duration_s, 6),
            )
        )
