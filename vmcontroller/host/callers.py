"""Who calls, and what they may. Not how they prove it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmcontroller.common.door_config import ROLES
from vmcontroller.common.errors import AccessDenied

READ, OPERATE, EXEC, FILES, ADMIN = "read", "operate", "exec", "files", "admin"
"""The roles, as the configuration and the file of users name them (common.door_config.ROLES)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Whoever makes a call, once that is known."""

    name: str
    """As the log names them."""
    roles: frozenset[str]
    address: str = ""
    """Where they call from, for the log."""
    client: str = ""
    """Whose calls are counted together; empty: their name is."""
    reason: str = ""
    """Why they call, in their own words."""

    @property
    def key(self) -> str:
        """Whose calls are counted together."""
        return self.client or self.name

    @property
    def all_roles(self) -> tuple[str, ...]:
        """Every role that they have, of one's own or by another."""
        return tuple(role for role in ROLES if self.may(role))

    def may(self, role: str) -> bool:
        """Tell whether they have a role: `admin` has all, and whoever has any may `read`."""
        return role in self.roles or ADMIN in self.roles or (role == READ and bool(self.roles))

    def must(self, role: str, what: str) -> None:
        """Raise AccessDenied where they have not the role that `what` needs."""
        if not self.may(role):
            raise AccessDenied(f"{what} needs the role {role!r}, which {self.name!r} has not")


ANYONE: Final = Caller(name="anonymous", roles=frozenset({ADMIN}))
"""A caller of an address that the configuration opens to everybody."""
