"""What a connection needs of the broker that it belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from twisted.internet.interfaces import IReactorTime

from vmcontroller.common.stomp.frames import Frame
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.peers import Peer
from vmcontroller.host.broker.rates import Budget
from vmcontroller.host.broker.rights import Principal
from vmcontroller.host.broker.stats import Reason, Traffic

if TYPE_CHECKING:
    from vmcontroller.host.broker.protocol import BrokerConnection


class Exchange(Protocol):
    """The broker, as its connections see it."""

    limits: BrokerLimits
    clock: IReactorTime
    traffic: Traffic

    def opened(self, connection: BrokerConnection) -> str:
        """Note a new connection. Returns why it may not stay, or nothing."""
        ...

    def line_due(self, kind: str, connection: BrokerConnection) -> str | None:
        """Say whether to log something that a peer can cause again and again.

        Returns None to leave it out, else what to add about those left out before.
        """
        ...

    def authenticate(self, login: str, passcode: str, peer: str, *, bulk: bool) -> Principal | None:
        """Say who it is, or None to refuse; `bulk`: it is to be a guest's second connection."""
        ...

    def joined(self, connection: BrokerConnection, peer: Peer) -> Budget | None:
        """Note that its session has begun. Returns what it may send; None is without limit."""
        ...

    def receive(self, peer: Peer, frame: Frame) -> bool:
        """Do what the frame asks. Returns whether the sender must not be read for now.

        Raises ProtocolError, AccessDenied.
        """
        ...

    def too_full(self, connection: BrokerConnection) -> None:
        """Note that more waits for the host than should; its senders are to be held."""
        ...

    def drained(self, connection: BrokerConnection) -> None:
        """Note that some of what waited for it has been written."""
        ...

    def left(self, connection: BrokerConnection) -> None:
        """Note that its session, if any, is over: nothing will be written to it any more."""
        ...

    def closed(self, connection: BrokerConnection) -> None:
        """Note that the connection is gone."""
        ...

    def dropped(self, connection: BrokerConnection, reason: Reason, detail: str) -> None:
        """Note that it is told why it must go."""
        ...
