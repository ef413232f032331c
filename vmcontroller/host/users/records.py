"""Users, and the text of the file that keeps them. No I/O.

One line for each, of four fields between colons; lines that begin with # are comments:

    NAME:ROLES:PASSWORD:TOKENS

ROLES are names between commas, PASSWORD is what `passwords.hash_password` made or nothing, TOKENS
are SHA-256 sums in hex between commas.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable
from dataclasses import dataclass
from typing import Final

from vmcontroller.common.door_config import ROLES
from vmcontroller.common.errors import ConfigError
from vmcontroller.host.users.passwords import check_kept, hash_token

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")

NAME_ALLOWED: Final = "1 to 64 letters, digits, and . _ - @"

HEAD: Final = """\
# Users of vmcontroller-host, written by `vmcontroller-host passwd`.
# NAME:ROLES:PASSWORD:TOKENS
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """One user."""

    name: str
    roles: frozenset[str]
    password: str = ""
    """What is kept of it; empty: there is none."""
    tokens: tuple[str, ...] = ()
    """What is kept of each."""


class Users:
    """All users, by name and by token."""

    def __init__(self, users: Iterable[User] = ()) -> None:
        self._by_name = {user.name: user for user in users}
        self._by_token = {kept: user for user in self._by_name.values() for kept in user.tokens}

    def __len__(self) -> int:
        return len(self._by_name)

    def all(self) -> list[User]:
        """Return all, by name."""
        return [user for _, user in sorted(self._by_name.items())]

    def named(self, name: str) -> User | None:
        """Return the user of this name."""
        return self._by_name.get(name)

    def of_token(self, token: str) -> User | None:
        """Return the user whose token this is."""
        return self._by_token.get(hash_token(token))

    def with_user(self, user: User) -> Users:
        """Return the same, with this user added or changed."""
        return Users([*self._by_name.values(), user])

    def without(self, name: str) -> Users:
        """Return the same without one."""
        return Users(user for user in self._by_name.values() if user.name != name)


def check_name(name: str) -> None:
    """Raise ValueError for what can't be a user's name."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"a name must be {NAME_ALLOWED}")


def parse(text: str, source: str) -> Users:
    """Return the users of the file's text.

    Raises ConfigError that names the line; what stands there is a secret and not shown.
    """
    users: dict[str, User] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            user = _user(line, taken=users)
        except ValueError as error:
            raise ConfigError(source, f"line {number}", str(error)) from None
        users[user.name] = user
    return Users(users.values())


def _user(line: str, taken: Container[str]) -> User:
    fields = line.split(":")
    if len(fields) != 4:
        raise ValueError("must be NAME:ROLES:PASSWORD:TOKENS")
    name, roles, password, tokens = (field.strip() for field in fields)
    check_name(name)
    if name in taken:
        raise ValueError("the name is there already")
    for role in _items(roles):
        if role not in ROLES:
            raise ValueError(f"a role must be one of {', '.join(ROLES)}, not {role!r:.40}")
    if password:
        check_kept(password)
    if not all(_SHA256.fullmatch(kept) for kept in _items(tokens)):
        raise ValueError("a token must be a SHA-256 in hex")
    return User(
        name=name,
        roles=frozenset(_items(roles)),
        password=password,
        tokens=tuple(_items(tokens)),
    )


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def text_of(users: Users) -> str:
    """Return the text of a file with these users."""
    lines = [
        ":".join(
            [
                user.name,
                ",".join(role for role in ROLES if role in user.roles),
                user.password,
                ",".join(user.tokens),
            ]
        )
        for user in users.all()
    ]
    return HEAD + "".join(f"{line}\n" for line in lines)
