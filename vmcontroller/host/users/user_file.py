"""The file of users on the disk. Everything here blocks on it, for a moment."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Final

from twisted.logger import Logger

from vmcontroller.common.errors import ConfigError
from vmcontroller.host.users.records import Users, parse, text_of

MAX_BYTES: Final = 4 * 2**20

_Stamp = tuple[int, int, int, int]


class UserFile:
    """The users, as the file says now: it is read again when it has changed.

    Whatever is wrong with it later, nobody is in it then: it is not guessed who may still come in.
    """

    _log = Logger()

    def __init__(self, path: str) -> None:
        self.path = path
        self.state: tuple[int, Users] = (0, Users())
        """The users, and a number that is another with each change of them."""
        self._stamp: _Stamp | None = None
        self._reading = Lock()

    def open(self) -> None:
        """Read it, where it is there. Raises ConfigError."""
        self._stamp = _stamp_of(self.path)
        self._set(read_users(self.path))

    def refresh(self) -> None:
        """Read it again if it has changed. Never raises: what is wrong is logged, once.

        May be called in any thread.
        """
        with self._reading:
            stamp = _stamp_of(self.path)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            try:
                users = read_users(self.path)
            except ConfigError as error:
                self._log.error("{error}: until then nobody can log in", error=str(error))
                users = Users()
            else:
                self._log.info("{path}: {count} users", path=self.path, count=len(users))
            self._set(users)

    def _set(self, users: Users) -> None:
        self.state = self.state[0] + 1, users


def read_users(path: str) -> Users:
    """Return the users of a file; none where there is no file.

    Raises ConfigError for one that others may read or write, or that can't be read or understood.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return Users()
    except OSError as error:
        raise ConfigError(path, "", f"cannot be read: {error.strerror}") from error
    try:
        _check(os.fstat(descriptor), path)
        with open(descriptor, "rb", closefd=False) as file:
            octets = file.read(MAX_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(octets) > MAX_BYTES:
        raise ConfigError(path, "", f"is larger than {MAX_BYTES} bytes")
    try:
        text = octets.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(path, "", f"is not UTF-8 text: {error.reason}") from None
    return parse(text, path)


def change_users(path: str, change: Callable[[Users], Users]) -> None:
    """Put the file in place anew, whole and synced, mode 0600, with the users changed.

    Two that change it at once do so one after the other. Raises ConfigError, and what `change`
    raises.
    """
    try:
        folder = Path(path).parent
        folder.mkdir(mode=0o755, parents=True, exist_ok=True)
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            _replace(path, text_of(change(read_users(path))))
            os.fsync(lock)
        finally:
            os.close(lock)
    except OSError as error:
        raise ConfigError(path, "", f"cannot be written: {error.strerror}") from error


def _replace(path: str, text: str) -> None:
    new = Path(path).with_name(Path(path).name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
        try:
            owner = os.stat(path)
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        except FileNotFoundError:
            pass
    new.replace(path)


def _check(facts: os.stat_result, path: str) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise ConfigError(path, "", "is no file")
    if stat.S_IMODE(facts.st_mode) & 0o077:
        mode = f"{stat.S_IMODE(facts.st_mode):04o}"
        raise ConfigError(path, "", f"must have mode 0600, not {mode}: it keeps passwords")
    if facts.st_uid not in {0, os.geteuid()}:
        raise ConfigError(
            path, "", f"must be root's or the daemon's, not that of uid {facts.st_uid}"
        )


def _stamp_of(path: str) -> _Stamp | None:
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_ino, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns
