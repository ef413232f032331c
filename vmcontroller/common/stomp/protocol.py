"""The Twisted end of a client session: transport to session, session to callbacks, heart-beats."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet import task
from twisted.internet.interfaces import IConsumer, IPushProducer, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import implementer

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.session import ClientSession, Connected, Event
from vmcontroller.common.transports import send_at_once, widen


class IStreamTransport(ITCPTransport, IConsumer, IPushProducer):
    """What Twisted's TCP and Unix transports are: either direction can be told to stop."""


@implementer(IPushProducer)
class StompProtocol(Protocol):
    """One connection. Events go to `on_event`, the end of it (once) to `on_lost` with a reason.

    `paused` is true while the transport has more to write than it likes; `on_resumed` tells the end
    of that. `wide` is for files. `write` sends octets that the session has made.
    """

    _log = Logger()
    transport: IStreamTransport

    def __init__(
        self,
        *,
        session: ClientSession,
        clock: IReactorTime,
        on_event: Callable[[Event], None],
        on_resumed: Callable[[], None],
        on_lost: Callable[[str], None],
        wide: bool = False,
    ) -> None:
        self.session = session
        self.paused = False
        self._wide = wide
        self._clock = clock
        self._on_event = on_event
        self._on_resumed = on_resumed
        self._on_lost = on_lost
        self._reason = ""
        self._ticking = task.LoopingCall(self._tick)
        self._ticking.clock = clock

    @override
    def connectionMade(self) -> None:
        send_at_once(self.transport)
        if self._wide:
            widen(self.transport)
        self.transport.registerProducer(self, streaming=True)
        self.write(self.session.connect())

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._reason:
            return
        try:
            for event in self.session.receive(data, self._clock.seconds()):
                if isinstance(event, Connected) and self.session.tick_s:
                    _ = self._ticking.start(self.session.tick_s, now=False)
                self._on_event(event)
        except ProtocolError as error:
            self.drop(str(error))

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._ticking.running:
            self._ticking.stop()
        self._on_lost(self._reason or reason.getErrorMessage())

    def write(self, octets: bytes) -> None:
        """Send octets of the session."""
        self.transport.write(octets)

    def drop(self, reason: str) -> None:
        """Close at once, whatever is still to be written; `reason` is what `on_lost` hears."""
        self._reason = self._reason or reason
        self.transport.abortConnection()

    def close(self, reason: str) -> None:
        """Close when everything has been written."""
        self._reason = self._reason or reason
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False
        self._on_resumed()

    def stopProducing(self) -> None:
        self.paused = False

    def _tick(self) -> None:
        try:
            beat = self.session.tick(self._clock.seconds())
            if beat:
                self.write(beat)
        except ProtocolError as error:
            self.drop(str(error))
