"""Our broker as a program of its own: python -m tests.integration.own_broker PORT.

It knows the users of brokers.py. Nobody may use /topic/forbidden and /queue/forbidden.
"""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from typing_extensions import override

from vmcontroller.common.logs import start_logging
from vmcontroller.host.broker.rights import OpenRights, Principal
from vmcontroller.host.broker.service import BrokerService

FORBIDDEN = frozenset(("/topic/forbidden", "/queue/forbidden"))


class TestRights(OpenRights):
    """Anyone with one of these passwords may do anything, but for what is forbidden to all."""

    def __init__(self, *users: tuple[str, str]) -> None:
        self._users = frozenset(users)

    @override
    def authenticate(self, login: str, passcode: str, peer: str) -> Principal | None:
        known = (login, passcode) in self._users
        return super().authenticate(login, passcode, peer) if known else None

    @override
    def may_send(self, principal: Principal, destination: str) -> bool:
        return destination not in FORBIDDEN

    @override
    def may_subscribe(self, principal: Principal, destination: str) -> bool:
        return destination not in FORBIDDEN


def main(port: int) -> None:
    """Serve until killed."""
    from tests.integration.brokers import USERS  # noqa: PLC0415 - it imports what starts this

    start_logging(sys.stderr, debug=False)
    broker = BrokerService(reactor=reactor, rights=TestRights(*USERS))
    broker.startService()
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(broker.listen(["127.0.0.1"], port)))
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
