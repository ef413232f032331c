"""Who a peer of the broker is, and where it may send and subscribe. Pure rules, no I/O."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

from typing_extensions import override

from vmcontroller.common.destinations import CONNECTIONS, REQUESTS, RESPONSES, requests_of
from vmcontroller.common.errors import BadArgument
from vmcontroller.common.model import GuestId, guest_id


class Role(enum.Enum):
    """What kind of peer has connected."""

    HOST = "host"
    """The daemon itself; it comes in-process and is never dropped for being slow."""
    GUEST = "guest"
    ANYONE = "anyone"
    """A peer of a broker without rules (OpenRights)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who a connection belongs to, for as long as it lasts."""

    role: Role
    id: GuestId | None = None
    """Of a guest; what `from` says on its messages."""

    @override
    def __str__(self) -> str:
        return f"{self.role.value} {self.id}" if self.id else self.role.value


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


_OF_GUESTS = frozenset((RESPONSES, CONNECTIONS))


class VmRights(Rights):
    """Guests speak to the host only and hear only what is for all or for themselves."""

    @override
    def authenticate(self, login: str, passcode: str, peer: str) -> Principal | None:
        # The login says which guest it is; this is the place that decides whether to believe it.
        try:
            return Principal(role=Role.GUEST, id=guest_id(login))
        except BadArgument:
            return None

    @override
    def may_send(self, principal: Principal, destination: str) -> bool:
        return principal.role is Role.HOST or destination in _OF_GUESTS

    @override
    def may_subscribe(self, principal: Principal, destination: str) -> bool:
        if principal.role is Role.HOST:
            return True
        return principal.id is not None and destination in {REQUESTS, requests_of(principal.id)}


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
