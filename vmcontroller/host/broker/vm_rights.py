"""The rights of guests: they speak to the host only, and hear what is for all or for themselves.

A connection for bulk hears its own bulk topic and answers where copies are answered, no more.
"""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import override

from vmcontroller.common.destinations import (
    CONNECTIONS,
    REQUESTS,
    RESPONSES,
    bulk_of,
    requests_of,
)
from vmcontroller.common.model import GuestId
from vmcontroller.host.broker.rights import Principal, Rights, Role

_OF_GUESTS = frozenset((RESPONSES, CONNECTIONS))


class VmRights(Rights):
    """`who` says which guest has this login and passcode; None is nobody's."""

    def __init__(self, who: Callable[[str, str], GuestId | None]) -> None:
        self._who = who

    @override
    def authenticate(self, login: str, passcode: str, peer: str) -> Principal | None:
        guest = self._who(login, passcode)
        return None if guest is None else Principal(role=Role.GUEST, id=guest)

    @override
    def may_send(self, principal: Principal, destination: str) -> bool:
        if principal.bulk:
            return destination == RESPONSES
        return principal.role is Role.HOST or destination in _OF_GUESTS

    @override
    def may_subscribe(self, principal: Principal, destination: str) -> bool:
        if principal.role is Role.HOST:
            return True
        if principal.id is None:
            return False
        if principal.bulk:
            return destination == bulk_of(principal.id)
        return destination in {REQUESTS, requests_of(principal.id)}
