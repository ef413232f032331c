"""A service that keeps one session to a broker: subscribes, reconnects, hands over messages.

It does not repeat what was sent on a connection that was lost; whoever needs an answer asks again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from twisted.application.service import Service
from twisted.internet import task
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.logger import Logger, LogLevel
from typing_extensions import override

from vmcontroller.common.errors import NotConnected, VMControllerError
from vmcontroller.common.stomp.delays import ReconnectDelays
from vmcontroller.common.stomp.frames import quoted
from vmcontroller.common.stomp.parser import Limits
from vmcontroller.common.stomp.protocol import StompProtocol
from vmcontroller.common.stomp.session import (
    ClientSession,
    Connected,
    Credentials,
    Disconnected,
    ErrorReceived,
    Event,
    Message,
    MessageReceived,
    ReceiptReceived,
)

__all__ = ["Credentials", "Message", "ReconnectDelays", "StompClient"]

CONNECT_DEADLINE_S: Final = 30.0
"""From the beginning of an attempt until the session is ready."""

STEADY_S: Final = 5.0
"""A session that lived so long was a good one: the next attempt comes soon after its end. Two
agents with one identity, each of which ends the other's session, get slower and slower."""

DISCONNECT_DEADLINE_S: Final = 2.0
"""How long a stop waits for the broker to confirm our DISCONNECT, and then for the close."""


class StompClient(Service):
    """Keeps one session to a broker, reconnecting with growing, jittered delays.

    `on_connected` comes when the broker has confirmed every subscription; messages that arrive
    before that are held until then. `credentials` and `subscriptions` may be asked for at each
    connection; the latter are given the headers of CONNECTED, and may raise VMControllerError to
    give the connection up. `on_lost` comes once for each `on_connected`, with the reason;
    `on_failed` for each attempt that came to no session. `wide` is for files.
    An exception of a callback is logged and ends nothing.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        endpoint: IStreamClientEndpoint,
        reactor: IReactorTime,
        credentials: Credentials | Callable[[], Credentials] | None = None,
        subscriptions: Sequence[str] | Callable[[Mapping[str, str]], Sequence[str]],
        on_message: Callable[[Message], None],
        on_connected: Callable[[], None],
        on_lost: Callable[[str], None],
        on_failed: Callable[[str], None] = lambda _reason: None,
        heart_beat_s: float = 10.0,
        limits: Limits | None = None,
        delays: ReconnectDelays | None = None,
        wide: bool = False,
    ) -> None:
        self.connected = False
        self._endpoint = endpoint
        self._clock = reactor
        self._credentials = credentials
        self._subscriptions = subscriptions
        self._on_message = on_message
        self._on_connected = on_connected
        self._on_lost = on_lost
        self._on_failed = on_failed
        self._heart_beat_s = heart_beat_s
        self._limits = limits
        self._delays = delays or ReconnectDelays()
        self._wide = wide
        self._protocol: StompProtocol | None = None
        self._deadline: IDelayedCall | None = None
        self._early: list[Message] = []
        self._waiting: list[Deferred[None]] = []
        self._life: Deferred[None] | None = None
        self._sessions = 0
        self._ready_since_s = 0.0
        self._complaint = ""

    @override
    def startService(self) -> None:
        super().startService()  # type: ignore[no-untyped-call]
        self._life = Deferred.fromCoroutine(self._keep_connected())

    @override
    def stopService(self) -> Deferred[None]:
        """Stop retrying; end the session with DISCONNECT and its receipt, or after a deadline.

        Fires when the connection is closed.
        """
        super().stopService()  # type: ignore[no-untyped-call]
        life, protocol = self._life, self._protocol
        self._life = None
        if life is None:
            return succeed(None)
        if protocol is None:
            life.cancel()
        elif self.connected:
            protocol.write(protocol.session.disconnect())
            self._set_deadline(DISCONNECT_DEADLINE_S, "no answer to DISCONNECT")
        else:
            protocol.drop("stopping")
        return life

    def send(self, destination: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a message; it may be lost with the connection.

        Raises NotConnected, and ProtocolError for a header that STOMP cannot carry.
        """
        protocol = self._ready()
        protocol.write(protocol.session.send(destination, body, headers))

    async def writable(self) -> None:
        """Return when the connection takes more without piling it up in memory.

        Raises NotConnected when there is none, or it is lost while waiting.
        """
        if self._ready().paused:
            waiting: Deferred[None] = Deferred(self._waiting.remove)
            self._waiting.append(waiting)
            await waiting

    def _ready(self) -> StompProtocol:
        if self._protocol is None or not self.connected or not self.running:
            raise NotConnected("there is no session with the broker")
        return self._protocol

    async def _keep_connected(self) -> None:
        while self.running:
            sessions = self._sessions
            reason = await self._one_connection()
            if self.running and sessions == self._sessions:
                self._call(self._on_failed, reason)
            if not self.running:
                return
            delay_s = self._delays.next_s()
            # The first time it is a warning: a wrong password does not mend itself.
            self._log.emit(
                LogLevel.info if reason == self._complaint else LogLevel.warn,
                "no session with the broker ({reason}); next attempt in {delay_s:.2f} s",
                reason=quoted(reason),
                delay_s=delay_s,
            )
            self._complaint = reason
            try:
                await task.deferLater(self._clock, delay_s)
            except CancelledError:
                return

    async def _one_connection(self) -> str:
        """Connect, live through the session, return why it ended."""
        lost: Deferred[str] = Deferred()
        begun_s = self._clock.seconds()
        factory = Factory.forProtocol(lambda: self._build_protocol(lost))
        factory.noisy = False
        connecting = self._endpoint.connect(factory)
        try:
            await connecting.addTimeout(CONNECT_DEADLINE_S, self._clock)
        except Exception as error:  # noqa: BLE001 - whatever an endpoint fails with: no connection
            self._protocol = None
            return str(error) or type(error).__name__
        left_s = CONNECT_DEADLINE_S - (self._clock.seconds() - begun_s)
        if not lost.called and not self.connected:
            self._set_deadline(left_s, f"no session within {CONNECT_DEADLINE_S:g} s")
        return await lost

    def _build_protocol(self, lost: Deferred[str]) -> StompProtocol:
        credentials = self._credentials
        session = ClientSession(
            credentials=credentials() if callable(credentials) else credentials,
            heart_beat_s=self._heart_beat_s,
            limits=self._limits,
        )
        self._early = []

        def on_lost(reason: str) -> None:
            self._lost(reason)
            lost.callback(reason)

        self._protocol = StompProtocol(
            session=session,
            clock=self._clock,
            on_event=self._event,
            on_resumed=self._resumed,
            on_lost=on_lost,
            wide=self._wide,
        )
        return self._protocol

    def _event(self, event: Event) -> None:
        protocol = self._protocol
        assert protocol is not None
        match event:
            case MessageReceived(message):
                if self.connected:
                    self._call(self._on_message, message)
                else:
                    self._early.append(message)
            case Connected(_, headers):
                self._subscribe(protocol, headers)
            case ReceiptReceived():
                self._ready_if_confirmed(protocol)
            case ErrorReceived():
                protocol.drop(f"the broker says: {event.detail}")
            case Disconnected():
                protocol.close("disconnected")

    def _subscribe(self, protocol: StompProtocol, headers: Mapping[str, str]) -> None:
        wanted = self._subscriptions
        try:
            destinations = wanted(headers) if callable(wanted) else wanted
        except VMControllerError as error:
            protocol.drop(str(error))
            return
        for destination in destinations:
            protocol.write(protocol.session.subscribe(destination))
        self._ready_if_confirmed(protocol)

    def _ready_if_confirmed(self, protocol: StompProtocol) -> None:
        if self.connected or protocol.session.awaited_receipts:
            return
        self._set_deadline(None)
        self._ready_since_s = self._clock.seconds()
        self._sessions += 1
        self.connected = True
        self._complaint = ""
        self._log.info("session with the broker, STOMP {version}", version=protocol.session.version)
        self._call(self._on_connected)
        early, self._early = self._early, []
        for message in early:
            self._call(self._on_message, message)

    def _lost(self, reason: str) -> None:
        self._set_deadline(None)
        self._protocol = None
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.errback(NotConnected(f"the connection to the broker was lost: {reason}"))
        if self.connected:
            self.connected = False
            if self._clock.seconds() - self._ready_since_s >= STEADY_S:
                self._delays.reset()
            self._call(self._on_lost, reason)

    def _resumed(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    def _set_deadline(self, deadline_s: float | None, reason: str = "") -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None
        if deadline_s is not None:
            assert self._protocol is not None
            self._deadline = self._clock.callLater(deadline_s, self._protocol.drop, reason)

    def _call(self, callback: Callable[..., None], *args: object) -> None:
        try:
            callback(*args)
        except Exception:  # noqa: BLE001 - a fault of the application must not end the session
            self._log.failure("a callback of the STOMP client failed")
