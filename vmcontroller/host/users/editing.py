"""What `vmcontroller-host passwd` does to the file of users, and what it says of it. Blocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from vmcontroller.common.door_config import ROLES
from vmcontroller.common.errors import VMControllerError
from vmcontroller.host.users.passwords import (
    PASSWORD_MAX_BYTES,
    hash_password,
    hash_token,
    new_token,
)
from vmcontroller.host.users.records import User, Users, check_name
from vmcontroller.host.users.user_file import change_users, read_users

TOKEN_ID_CHARS = 8
"""So much of what is kept of a token names it; nothing can be made of it."""


class Refused(VMControllerError):
    """It can't be done so; the text says why."""


def roles_of(text: str) -> frozenset[str]:
    """Return the roles in `read,exec`; raises Refused."""
    found = [item.strip() for item in text.split(",") if item.strip()]
    wrong = [item for item in found if item not in ROLES]
    if wrong or not found:
        raise Refused(f"--roles takes some of {','.join(ROLES)}, not {text!r}")
    return frozenset(found)


def set_password(path: str, name: str, password: str, roles: frozenset[str] | None) -> str:
    """Add a user, or change their password and, if given, roles; return what was done.

    Raises Refused, ConfigError. Takes some 200 ms.
    """
    _check(name)
    if not password:
        raise Refused("the password is empty")
    if len(password.encode()) > PASSWORD_MAX_BYTES:
        raise Refused(f"the password is longer than {PASSWORD_MAX_BYTES} bytes")
    kept = hash_password(password)
    return _change(path, name, roles, lambda user: replace(user, password=kept))


def is_there(path: str, name: str) -> bool:
    """Tell whether the file has this user; raises ConfigError."""
    return read_users(path).named(name) is not None


def check_new(path: str, name: str, roles: frozenset[str] | None) -> None:
    """Raise Refused where `set_password` would, before a password is asked for."""
    _check(name)
    if roles is None and not is_there(path, name):
        raise Refused(f"{name!r} is new: say what they may do with --roles")


def set_roles(path: str, name: str, roles: frozenset[str]) -> str:
    """Change a user's roles alone; raises Refused for one that is not there, ConfigError."""
    if read_users(path).named(name) is None:
        raise Refused(f"there is no user {name!r} in {path}")
    return _change(path, name, roles, lambda user: user)


def add_token(path: str, name: str, roles: frozenset[str] | None) -> tuple[str, str]:
    """Give a user one more token; return it, and what was done. Raises Refused, ConfigError."""
    _check(name)
    token = new_token()
    kept = hash_token(token)
    said = _change(path, name, roles, lambda user: replace(user, tokens=(*user.tokens, kept)))
    return token, said


def revoke(path: str, name: str, token_id: str) -> str:
    """Take a token from a user; `token_id` is as `list_lines` shows it. Raises as the others."""

    def without(users: Users) -> Users:
        user = users.named(name)
        kept = [] if user is None else [each for each in user.tokens if each.startswith(token_id)]
        if user is None or len(kept) != 1 or len(token_id) < TOKEN_ID_CHARS:
            raise Refused(f"{name!r} has no token {token_id!r}; --list names them")
        return users.with_user(
            replace(user, tokens=tuple(each for each in user.tokens if each != kept[0]))
        )

    change_users(path, without)
    return f"{name} has a token less"


def remove(path: str, name: str) -> str:
    """Remove a user; raises Refused for one that is not there, ConfigError."""

    def without(users: Users) -> Users:
        if users.named(name) is None:
            raise Refused(f"there is no user {name!r} in {path}")
        return users.without(name)

    change_users(path, without)
    return f"{name} is removed"


def list_lines(path: str) -> list[str]:
    """Return a line for each user; raises ConfigError."""
    lines = []
    for user in read_users(path).all():
        has = ["a password"] if user.password else []
        has += [f"the token {kept[:TOKEN_ID_CHARS]}" for kept in user.tokens]
        lines.append(f"{user.name}: {_shown(user.roles)}; {', '.join(has) or 'no way to log in'}")
    return lines


def _change(
    path: str, name: str, roles: frozenset[str] | None, change: Callable[[User], User]
) -> str:
    said = ""

    def changed(users: Users) -> Users:
        nonlocal said
        user = users.named(name)
        done = "added" if user is None else "changed"
        if user is None:
            if roles is None:
                raise Refused(f"{name!r} is new: say what they may do with --roles")
            user = User(name=name, roles=roles)
        user = change(user if roles is None else replace(user, roles=roles))
        said = f"{name} is {done}: {_shown(user.roles)}"
        return users.with_user(user)

    change_users(path, changed)
    return said


def _check(name: str) -> None:
    try:
        check_name(name)
    except ValueError as error:
        raise Refused(str(error)) from None


def _shown(roles: frozenset[str]) -> str:
    return ",".join(role for role in ROLES if role in roles) or "no role"
