"""Starting a process, and telling clearly why one could not be started. Not how it ends."""

from __future__ import annotations

import contextlib
import enum
import errno
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vmcontroller.common.errors import VMControllerError


class StartProblem(enum.Enum):
    """Why a process was not started."""

    NOT_FOUND = enum.auto()
    NOT_EXECUTABLE = enum.auto()
    BAD_DIRECTORY = enum.auto()
    USER_REFUSED = enum.auto()
    NICE_REFUSED = enum.auto()
    NO_MEANS = enum.auto()
    """No processes, memory or descriptors left."""


class StartFailed(VMControllerError):
    """The process was not started; nothing of it remains."""

    def __init__(self, problem: StartProblem, detail: str) -> None:
        super().__init__(detail)
        self.problem = problem
        self.detail = detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whom a child runs as; None is whom the caller runs as."""

    uid: int | None
    gid: int | None
    groups: tuple[int, ...] | None = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to start: descriptors stay the caller's, -3 (subprocess.DEVNULL) is /dev/null."""

    argv: Sequence[str]
    """The first is looked up in the PATH of `env`."""
    env: Mapping[str, str]
    """The whole environment."""
    cwd: str = ""
    """Empty is the caller's."""
    stdin: int = subprocess.DEVNULL
    stdout: int = subprocess.DEVNULL
    stderr: int = subprocess.DEVNULL
    account: Account | None = None
    """None is the caller's."""
    umask: int = -1
    """-1 is the caller's."""
    nice: int = 0
    """Added to the caller's niceness."""
    sealed: bool = False
    """No descriptor of the caller above 2 would be inherited (see `seal`): none need be closed."""


def seal() -> None:
    """See to it that neither a descriptor above 2 that this process was given is inherited from it,
    nor that it ignores a signal, as what was started by nohup or behind a shell's & does: who asks
    for that signal to be sent means it. Main thread only.
    """
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            with contextlib.suppress(OSError):
                os.set_inheritable(int(name), False)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            # Still without effect here; but an exec makes the default of what is handled.
            signal.signal(number, lambda _number, _frame: None)


def spawn(launch: Launch) -> int:
    """Start a process, leader of a session and group of its own; return its pid.

    Raises StartFailed. The caller is blocked for a millisecond or less (measured: 0.14 ms,
    whatever its size: the child is made by vfork), and must wait for the child some time.
    """
    return _niced(launch) if launch.nice else _spawned(launch)


def _niced(launch: Launch) -> int:
    """Start it from a thread that has the niceness asked for: so has all that it ever starts.

    Who may not lower its niceness could not give back what it had taken on.
    """
    outcome: list[int | StartFailed] = []

    def spawn() -> None:
        try:
            own = os.getpriority(os.PRIO_PROCESS, 0)
            os.setpriority(os.PRIO_PROCESS, 0, own + launch.nice)
            outcome.append(_spawned(launch))
        except StartFailed as error:
            outcome.append(error)
        except OSError as error:
            detail = f"{launch.nice}: {error.strerror}"
            outcome.append(StartFailed(StartProblem.NICE_REFUSED, detail))

    thread = threading.Thread(target=spawn, name="nice")
    thread.start()
    thread.join()
    if not outcome:
        raise StartFailed(StartProblem.NO_MEANS, "not started")
    if isinstance(outcome[0], StartFailed):
        raise outcome[0]
    return outcome[0]


def _spawned(launch: Launch) -> int:
    pid = _quickly_spawned(launch)
    if pid is not None:
        return pid
    popen = _popen(launch)
    # From here on Popen must never reap it: with a return code it takes the child for waited.
    popen.returncode = 0
    return popen.pid


_places: dict[tuple[str, str], str] = {}
"""Where a command was found by a PATH."""


def _quickly_spawned(launch: Launch) -> int | None:
    """Start what needs nothing that posix_spawn can't do: half the time of Popen.

    None where it does, and also where it fails: then Popen tells what is wrong.
    """
    plain = launch.sealed and not launch.cwd and launch.account is None and launch.umask < 0
    streams = (launch.stdin, launch.stdout, launch.stderr)
    if not plain or any(0 <= fd <= 2 for fd in streams):
        return None
    place = _place(launch)
    if not place:
        return None
    try:
        return os.posix_spawn(
            place,
            tuple(launch.argv),
            launch.env,
            file_actions=[_redirection(fd, number) for number, fd in enumerate(streams)],
            setsid=True,
            setsigdef=_NOT_IGNORED,
        )
    except (OSError, ValueError, NotImplementedError):
        _places.pop((launch.env.get("PATH", os.defpath), launch.argv[0]), None)
        return None


_NOT_IGNORED = (signal.SIGPIPE, signal.SIGXFSZ)
"""What Python ignores, and a command should not."""


def _redirection(fd: int, number: int) -> tuple[object, ...]:
    if fd == subprocess.DEVNULL:
        return (os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0)
    return (os.POSIX_SPAWN_DUP2, fd, number)


def _place(launch: Launch) -> str:
    """Return the file that a command is by the PATH of its environment; empty for none."""
    command = launch.argv[0]
    if "/" in command:
        return command
    path = launch.env.get("PATH", os.defpath)
    known = _places.get((path, command))
    if known is not None:
        return known
    for folder in path.split(":"):
        place = os.path.join(folder, command)
        if folder.startswith("/") and _runs(place):
            if len(_places) >= 256:
                _places.clear()
            return _places.setdefault((path, command), place)
    return ""


def _runs(place: str) -> bool:
    try:
        return os.path.isfile(place) and os.access(place, os.X_OK)
    except ValueError:
        return False


def _popen(launch: Launch) -> subprocess.Popen[bytes]:
    account = launch.account or Account(uid=None, gid=None, groups=None)
    try:
        return subprocess.Popen(  # noqa: S603 - no shell: the words are not interpreted
            launch.argv,
            env=launch.env,
            # As bytes, so that the error's filename tells the directory from the command.
            cwd=os.fsencode(launch.cwd) or None,
            stdin=launch.stdin,
            stdout=launch.stdout,
            stderr=launch.stderr,
            start_new_session=True,
            user=account.uid,
            group=account.gid,
            extra_groups=account.groups,
            umask=launch.umask,
        )
    except OSError as error:
        raise _start_failed(launch, error) from error
    except ValueError as error:  # NUL in a word, "=" in a variable's name, a lone surrogate
        problem = StartProblem.NOT_EXECUTABLE
        if "\0" in launch.cwd:
            problem = StartProblem.BAD_DIRECTORY
        raise StartFailed(problem, str(error)) from error


def _start_failed(launch: Launch, error: OSError) -> StartFailed:
    command = launch.argv[0]
    text = os.strerror(error.errno or errno.EIO)
    if isinstance(error.filename, str):
        return _exec_failed(launch, error, f"{command!r}: {text}")
    if error.errno in {errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE}:
        return StartFailed(StartProblem.NO_MEANS, text)
    if launch.account is not None and error.errno == errno.EPERM:
        account = launch.account
        who = f"gid {account.gid}" if account.uid is None else f"uid {account.uid}"
        return StartFailed(StartProblem.USER_REFUSED, f"{who}: {text}")
    return StartFailed(StartProblem.BAD_DIRECTORY, f"{launch.cwd!r}: {text}")


def _exec_failed(launch: Launch, error: OSError, detail: str) -> StartFailed:
    command = launch.argv[0]
    if not command:
        return StartFailed(StartProblem.NOT_FOUND, "the command is empty")
    if error.errno not in {errno.ENOENT, errno.ENOTDIR}:
        return StartFailed(StartProblem.NOT_EXECUTABLE, detail)
    folders = [""] if "/" in command else os.get_exec_path(launch.env)
    base = launch.cwd or "."
    if any(os.path.isfile(os.path.join(base, f, command)) for f in folders):
        return StartFailed(
            StartProblem.NOT_EXECUTABLE, f"{command!r}: the interpreter it names does not exist"
        )
    return StartFailed(StartProblem.NOT_FOUND, detail)
