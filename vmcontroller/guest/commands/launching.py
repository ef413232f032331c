"""From what the host asked to run to what can be started: environment, stdin, user."""

from __future__ import annotations

import grp
import os
import pwd
import stat
import subprocess
from collections.abc import Mapping

from vmcontroller.common.errors import VMControllerError
from vmcontroller.common.model import CommandSpec
from vmcontroller.common.spawning import Account, StartFailed, StartProblem
from vmcontroller.common.whole_writes import write_all
from vmcontroller.guest.commands.processes import MARKER

_PUBLISHED = {
    StartProblem.NOT_FOUND: (127, "COMMAND_NOT_FOUND"),
    StartProblem.NOT_EXECUTABLE: (126, "COMMAND_NOT_EXECUTABLE"),
    StartProblem.BAD_DIRECTORY: (126, "BAD_PATH"),
    StartProblem.USER_REFUSED: (126, "USER_REFUSED"),
    StartProblem.NICE_REFUSED: (126, "NICE_REFUSED"),
    StartProblem.NO_MEANS: (126, "NO_RESOURCES"),
}

_MARKS = "VMCONTROLLER_"
"""How their names begin: that of a VM of the backend `local`, and that of an outer command."""


class Refused(VMControllerError):
    """A command never ran; `exit_code` is the shell's for such a case (126, 127)."""

    def __init__(self, exit_code: int, word: str, detail: str) -> None:
        super().__init__(f"{word}: {detail}")
        self.exit_code = exit_code


def refused(error: StartFailed) -> Refused:
    """Return what the host is told of a failed start."""
    exit_code, word = _PUBLISHED[error.problem]
    return Refused(exit_code, word, error.detail)


def account_of(spec: CommandSpec) -> tuple[Account | None, dict[str, str]]:
    """Return whom to run as (None: as the agent) and the variables that go with it.

    Raises Refused (NO_SUCH_USER, NO_SUCH_GROUP).
    """
    gid = _gid_of(spec.group) if spec.group else None
    if not spec.user:
        if gid is None or gid == os.getegid():
            return None, {}
        return Account(uid=None, gid=gid, groups=None), {}
    try:
        entry = pwd.getpwnam(spec.user)
    except (KeyError, ValueError):
        raise Refused(126, "NO_SUCH_USER", repr(spec.user)) from None
    env = {
        "HOME": entry.pw_dir,
        "USER": entry.pw_name,
        "LOGNAME": entry.pw_name,
        "SHELL": entry.pw_shell,
    }
    wanted_gid = entry.pw_gid if gid is None else gid
    if entry.pw_uid == os.geteuid() and gid in {None, os.getegid()}:
        return None, env
    groups = tuple(os.getgrouplist(entry.pw_name, wanted_gid))
    return Account(uid=entry.pw_uid, gid=wanted_gid, groups=groups), env


def _gid_of(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except (KeyError, ValueError):
        raise Refused(126, "NO_SUCH_GROUP", repr(name)) from None


def environment(
    own: Mapping[str, str], of_user: Mapping[str, str], spec: CommandSpec, mark: str
) -> dict[str, str]:
    """Return the agent's environment with the user's variables, with what was asked for, and the
    mark by which its tree is known. A command's that replaces the agent's keeps only the marks by
    which others know the agent and all below it.
    """
    marks = {name: value for name, value in own.items() if name.startswith(_MARKS)}
    inherited = marks if spec.replace_env else {**own, **of_user}
    return {**inherited, **spec.env, MARKER: mark}


def open_stdin(spec: CommandSpec) -> int:
    """Return a descriptor for the child's stdin, which the caller closes: -3 is /dev/null.

    The bytes of `spec.stdin` (at most a frame) go into memory that the child reads as a file, so
    that nobody has to write to a child that doesn't read. Of a stdin that stays open, whoever
    calls makes a pipe. Raises Refused (NO_SUCH_FILE).
    """
    if spec.file_for_stdin:
        return _open_file(spec)
    if spec.stdin:
        return _in_memory(spec.stdin)
    return subprocess.DEVNULL


def _open_file(spec: CommandSpec) -> int:
    # Relative to the command's directory, as a shell's "<" would be. Non-blocking, so that a
    # FIFO without a writer doesn't stop the agent; the child gets it as an ordinary descriptor.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        fd = os.open(os.path.join(spec.path, spec.file_for_stdin), flags)
    except OSError as error:
        detail = f"{spec.file_for_stdin!r}: {error.strerror}"
        raise Refused(126, "NO_SUCH_FILE", detail) from error
    except ValueError as error:
        raise Refused(126, "NO_SUCH_FILE", f"{spec.file_for_stdin!r}: {error}") from error
    if stat.S_ISDIR(os.fstat(fd).st_mode):
        os.close(fd)
        raise Refused(126, "NO_SUCH_FILE", f"{spec.file_for_stdin!r}: is a directory")
    os.set_blocking(fd, True)
    return fd


def _in_memory(data: bytes) -> int:
    fd = os.memfd_create("stdin", os.MFD_CLOEXEC)
    write_all(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
