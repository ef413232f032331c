"""The rights of guests: they speak to the host only, and hear what is for all or for themselves.

A connection for bulk hears its own bulk topic and answers where copies are answered, no more.
A monitor, where there is a login for it, hears the topic of events, which no guest does.
"""

from __future__ import annotations

from collections.abc import Callable
from hmac import compare_digest

from typing_extensions import override

from vmcontroller.common.config import BrokerConfig
from vmcontroller.common.credentials import Credential
from vmcontroller.common.destinations import (
    CONNECTIONS,
    EVENTS,
    REQUESTS,
    RESPONSES,
    bulk_of,
    requests_of,
)
from vmcontroller.common.model import GuestId
from vmcontroller.host.broker.rights import Principal, Rights, Role

_OF_GUESTS = frozenset((RESPONSES, CONNECTIONS))


class VmRights(Rights):
    """`who` says which guest has this login and passcode; None is nobody's.

    `monitor` is what monitors log in with; None: there are none.
    """

    def __init__(
        self, who: Callable[[str, str], GuestId | None], monitor: Credential | None = None
    ) -> None:
        self._who = who
        self._monitor = monitor

    @override
    def authenticate(self, login: str, passcode: str, peer: str) -> Principal | None:
        if self._monitor is not None and login == self._monitor.login:
            is_it = compare_digest(passcode.encode(), self._monitor.passcode.encode())
            return Principal(role=Role.MONITOR) if is_it else None
        guest = self._who(login, passcode)
        return None if guest is None else Principal(role=Role.GUEST, id=guest)

    @override
    def may_send(self, principal: Principal, destination: str) -> bool:
        if principal.bulk:
            return destination == RESPONSES
        if principal.role is Role.MONITOR:
            return False
        return principal.role is Role.HOST or destination in _OF_GUESTS

    @override
    def may_subscribe(self, principal: Principal, destination: str) -> bool:
        if principal.role is Role.HOST:
            return True
        if principal.role is Role.MONITOR:
            return destination == EVENTS
        if principal.id is None:
            return False
        if principal.bulk:
            return destination == bulk_of(principal.id)
        return destination in {REQUESTS, requests_of(principal.id)}


def monitor_of(config: BrokerConfig) -> Credential | None:
    """Return what monitors log in with at the embedded broker, if there are to be any."""
    if not config.monitor_username:
        return None
    return Credential(login=config.monitor_username, passcode=config.monitor_password)
