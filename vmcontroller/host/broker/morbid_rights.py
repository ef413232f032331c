"""MorbidQ's rights plug-in: a module with a class `Parms`, asked who logs in and what each may do.

Written anew after MorbidQ's interface; `c` is to create a destination, `r` to subscribe, `w` to
send.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from twisted.cred.checkers import FilePasswordDB
from twisted.cred.credentials import UsernamePassword
from typing_extensions import override

from vmcontroller.common.errors import ConfigError
from vmcontroller.common.stomp.frames import quoted
from vmcontroller.host.broker.rights import Principal, Rights, Role

Groups = Sequence[str]
QueueRights = Callable[[Groups, str], Collection[str]]
"""From somebody's groups and a destination to the rights there, of "crw"."""

MOST_QUEUES = 10_000
"""Destinations remembered as created; of more, the oldest would have to be created again."""

_FILE_OPTIONS = ("delim", "usernameField", "passwordField", "caseSensitive", "hash", "cache")


class ParmsLike(Protocol):
    """What a rights module's `Parms` must have; `group_config` may be left out."""

    def checker_config(self) -> Mapping[str, Any]:
        """Return `sec_type`: any, test (usr0 with pwd0 and so on) or file (`filename`)."""
        ...

    def get_group_access_rights(self) -> QueueRights:
        """Return the function that says what groups may do with a destination."""
        ...


class Parms:
    """MorbidQ's defaults, to be inherited from: anybody may do anything, each is its own group."""

    def checker_config(self) -> Mapping[str, Any]:
        return {"sec_type": "any"}

    def group_config(self) -> Callable[[str], Groups]:
        return lambda name: [name]

    def get_group_access_rights(self) -> QueueRights:
        return _everything


def _everything(_groups: Groups, _queue: str) -> Collection[str]:
    return "crw"


class QueueError(Exception):
    """A right is missing; `code` is FAILC, FAILR or FAILW, as in MorbidQ."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class MessageQueueManager:
    """Who may do what with destinations, and which have been created.

    Rights that are set here, before or after a factory is made with it, are those that count.
    """

    def __init__(self) -> None:
        self.queue_rights: QueueRights | None = None
        self._created: dict[str, None] = {}

    def set_queue_rights(self, queue_rights: QueueRights) -> None:
        """Let this function decide from now on."""
        self.queue_rights = queue_rights

    def get_list_of_queues(self) -> list[str]:
        """Return the destinations that somebody has sent or subscribed to, sorted."""
        return sorted(self._created)

    def test_queue_rights(self, groups: Groups, qname: str, right: str) -> None:
        """Raise QueueError unless the groups have this right on the destination."""
        if self.queue_rights is None or right not in self.queue_rights(groups, qname):
            raise QueueError(f"FAIL{right.upper()}")

    def allows(self, groups: Groups, qname: str, right: str) -> bool:
        """Tell whether they may read or write it, or create it to do so; then it is created."""
        try:
            self.test_queue_rights(groups, qname, right)
            if qname not in self._created:
                self.test_queue_rights(groups, qname, "c")
        except QueueError:
            return False
        if qname not in self._created:
            if len(self._created) >= MOST_QUEUES:
                del self._created[next(iter(self._created))]
            self._created[qname] = None
        return True


@dataclass(frozen=True, slots=True, kw_only=True)
class User(Principal):
    """Somebody who has logged in; without a login the name is empty."""

    name: str
    groups: Groups

    @override
    def __str__(self) -> str:
        return f"user {quoted(self.name)}"


class MorbidRights(Rights):
    """Asks a `Parms` who may log in, and a MessageQueueManager what they may do."""

    def __init__(self, parms: ParmsLike, mqm: MessageQueueManager) -> None:
        self._accepts = _checker(parms.checker_config())
        group_config = getattr(parms, "group_config", None)
        self._groups_of: Callable[[str], Groups] = (
            group_config() if group_config is not None else lambda _name: ["NoGroup"]
        )
        self._mqm = mqm
        if mqm.queue_rights is None:
            mqm.set_queue_rights(parms.get_group_access_rights())

    @override
    def authenticate(self, login: str, passcode: str, peer: str) -> Principal | None:
        if not self._accepts(login, passcode):
            return None
        return User(role=Role.ANYONE, name=login, groups=self._groups_of(login))

    @override
    def may_send(self, principal: Principal, destination: str) -> bool:
        return self._mqm.allows(_groups(principal), destination, "w")

    @override
    def may_subscribe(self, principal: Principal, destination: str) -> bool:
        return self._mqm.allows(_groups(principal), destination, "r")


def _groups(principal: Principal) -> Groups:
    return principal.groups if isinstance(principal, User) else ()


def load_parms(filename: str | None) -> ParmsLike:
    """Return the `Parms` of a rights module, given by its path with or without `.py`.

    Its directory is put at the end of sys.path, as its own imports may need. Without a file it is
    the default. Raises ConfigError.
    """
    if not filename:
        return Parms()
    path = os.path.abspath(filename if filename.endswith(".py") else f"{filename}.py")
    folder, file = os.path.split(path)
    if folder not in sys.path:
        sys.path.append(folder)
    spec = importlib.util.spec_from_file_location(file.removesuffix(".py"), path)
    assert spec is not None and spec.loader is not None  # noqa: PT018 - both for one reason: .py
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
        parms: ParmsLike = module.Parms()
    except Exception as error:
        raise ConfigError(path, "", f"{type(error).__name__}: {error}") from error
    return parms


def _checker(config: Mapping[str, Any]) -> Callable[[str, str], bool]:
    """Return what tells whether a login and passcode are right."""
    kind = config.get("sec_type")
    if kind == "any":
        return lambda _login, _passcode: True
    if kind == "test":
        known = {f"usr{n}": f"pwd{n}" for n in range(config.get("id_count", 10))}
        return lambda login, passcode: known.get(login) == passcode
    if kind == "file":
        return _file_checker(config)
    # MorbidQ let anybody in here.
    raise ConfigError("Parms", "sec_type", f"{kind!r} is not one of any, test, file")


def _file_checker(config: Mapping[str, Any]) -> Callable[[str, str], bool]:
    filename = config.get("filename")
    if not filename or not os.access(filename, os.R_OK):
        raise ConfigError("Parms", "filename", f"{filename!r} cannot be read")
    options = {name: config[name] for name in _FILE_OPTIONS if name in config}
    if isinstance(options.get("delim"), str):
        options["delim"] = options["delim"].encode()
    database = FilePasswordDB(filename, **options)  # type: ignore[no-untyped-call]

    def accepts(login: str, passcode: str) -> bool:
        answers: list[object] = []
        pair = UsernamePassword(login.encode(), passcode.encode())
        _ = database.requestAvatarId(pair).addCallbacks(answers.append, lambda _refused: None)
        return bool(answers)

    return accepts
