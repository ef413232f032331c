"""Who a peer of the broker is, and where it may send and subscribe. Pure rules, no I/O."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from vmcontroller.common.model import GuestId


class Role(enum.Enum):
    """What kind of peer has connected."""

    HOST = "host"
    """The daemon itself; it comes in-process and is never dropped for being slow."""
    GUEST = "guest"
    MONITOR = "monitor"
    """Hears what happens on the host, and says nothing."""
    ANYONE = "anyone"
    """A peer of a broker without rules (OpenRights)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a connection belongs to, for as long as it lasts."""

    role: Role
    id: GuestId | None = None
    """Of a guest; what `from` says on its messages."""
    bulk: bool = False
    """It is the guest's second connection, for what files hold."""

    @property
    def kind(self) -> str:
        """What connections are counted as: `host`, `guest`, `bulk`, `anyone`."""
        return "bulk" if self.bulk else self.role.value

    @override
    def __str__(self) -> str:
        said = f"{self.role.value} {self.id}" if self.id else self.role.value
        return f"{said} (bulk)" if self.bulk else said


class Rights(Protocol):
    """The broker asks this about every CONNECT, SEND and SUBSCRIBE."""

    def authenticate(self, login: str, passcode: str, peer: str) -> Principal | None:
        """Return who connects from the address `peer`, or None to refuse. Empty is not given."""
        ...

    def may_send(self, principal: Principal, destination: str) -> bool:
        """Tell whether this principal may SEND there. Asked for every message: be quick."""
        ...

    def may_subscribe(self, principal: Principal, destination: str) -> bool:
        """Tell whether this principal may SUBSCRIBE to it."""
        ...


class OpenRights(Rights):
    """Anyone may do anything, as MorbidQ had it by default: for other uses of the broker."""

    @override
    def authenticate(self, login: str, passcode: str, peer: str) -> Principal | None:
        return Principal(role=Role.ANYONE)

    @override
    def may_send(self, principal: Principal, destination: str) -> bool:
        return True

    @override
    def may_subscribe(self, principal: Principal, destination: str) -> bool:
        return True
