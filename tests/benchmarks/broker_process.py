"""Our broker as a process of its own: python -m tests.benchmarks.broker_process PORT [ADDRESS…].

The users of tests/integration/brokers.py may do anything. Who logs in as a MAC address is a guest,
with the rules and the rates of guests.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from typing_extensions import override

from tests.integration.own_broker import UserRights
from vmcontroller.common.model import guest_id
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.rights import Principal, Role
from vmcontroller.host.broker.service import BrokerService
from vmcontroller.host.broker.vm_rights import VmRights

GUESTS_PASSCODE = "a guest"


class BenchRights(UserRights):
    """Two kinds of peers, each asked about at every CONNECT, SEND and SUBSCRIBE."""

    def __init__(self, host: tuple[str, str], guests: tuple[str, str]) -> None:
        super().__init__(host, guests)
        self._guests = VmRights(lambda *_: None)

    @override
    def authenticate(self, login: str, passcode: str, peer: str) -> Principal | None:
        if passcode == GUESTS_PASSCODE:
            return Principal(role=Role.GUEST, id=guest_id(login))
        return super().authenticate(login, passcode, peer)

    @override
    def may_send(self, principal: Principal, destination: str) -> bool:
        rights = self._guests if principal.role is Role.GUEST else super()
        return rights.may_send(principal, destination)

    @override
    def may_subscribe(self, principal: Principal, destination: str) -> bool:
        rights = self._guests if principal.role is Role.GUEST else super()
        return rights.may_subscribe(principal, destination)


def main(port: int, addresses: Sequence[str]) -> None:
    """Serve on loopback and these addresses until killed."""
    from tests.integration.brokers import USERS

    broker = BrokerService(
        reactor=reactor, rights=BenchRights(*USERS), limits=BrokerLimits(connections=10_000)
    )
    broker.startService()
    everywhere = ["127.0.0.1", *addresses]
    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(broker.listen(everywhere, port)))
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
