"""Our broker as a program of its own: python -m tests.integration.own_broker PORT.

It knows the users of brokers.py and what they may do. Nobody may use /topic/forbidden.
"""

from __future__ import annotations

import re
import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from typing_extensions import override

from vmcontroller.common.destinations import CONNECTIONS, REQUESTS, RESPONSES
from vmcontroller.common.logs import start_logging
from vmcontroller.host.broker.rights import Principal, Rights, Role
from vmcontroller.host.broker.service import BrokerService

FORBIDDEN = "/topic/forbidden"
OF_GUESTS = re.compile(rf"{REQUESTS}(\.[0-9a-f]{{12}})?")


class UserRights(Rights):
    """One user is the host, who may do anything but what is forbidden; the other is all guests."""

    def __init__(self, host: tuple[str, str], guests: tuple[str, str]) -> None:
        self._users = {host: Principal(role=Role.ANYONE), guests: Principal(role=Role.GUEST)}

    @override
    def authenticate(self, login: str, passcode: str, peer: str) -> Principal | None:
        return self._users.get((login, passcode))

    @override
    def may_send(self, principal: Principal, destination: str) -> bool:
        if principal.role is Role.GUEST:
            return destination in {CONNECTIONS, RESPONSES}
        return destination != FORBIDDEN

    @override
    def may_subscribe(self, principal: Principal, destination: str) -> bool:
        if principal.role is Role.GUEST:
            return OF_GUESTS.fullmatch(destination) is not None
        return destination != FORBIDDEN


def main(port: int) -> None:
    """Serve until killed."""
    from tests.integration.brokers import USERS  # noqa: PLC0415 - it imports what starts this

    start_logging(sys.stderr, debug=False)
    broker = BrokerService(reactor=reactor, rights=UserRights(*USERS))
    broker.startService()
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(broker.listen(["127.0.0.1"], port)))
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
