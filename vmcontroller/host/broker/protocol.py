"""One connection to the broker: transport, parser, heart-beats, deadlines. Routing is elsewhere."""

from __future__ import annotations

import uuid

from twisted.internet import task
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override

from vmcontroller.common.errors import AccessDenied, ProtocolError
from vmcontroller.common.stomp.frames import HEART_BEAT, Frame, Version, encode
from vmcontroller.common.stomp.heartbeat import HeartBeats
from vmcontroller.common.stomp.parser import Parser
from vmcontroller.common.stomp.protocol import IStreamTransport
from vmcontroller.common.transports import send_at_once
from vmcontroller.host.broker.exchange import Exchange
from vmcontroller.host.broker.handshake import welcome
from vmcontroller.host.broker.messages import RelayedMessage
from vmcontroller.host.broker.outbox import Outbox
from vmcontroller.host.broker.peers import Peer
from vmcontroller.host.broker.rates import Budget
from vmcontroller.host.broker.rights import Principal, Role
from vmcontroller.host.broker.stats import Reason

_TURN_FRAMES = 64  # of one guest, before others have their turn


class BrokerConnection(Protocol):
    """The broker's end of one connection, from its first octet to its last.

    `principal` is given when the wiring itself says who is at the other end; then CONNECT needs no
    login. `host` is what connections from the same place have in common, see `counted_host`.
    """

    _log = Logger()
    transport: IStreamTransport
    outbox: Outbox

    def __init__(
        self,
        exchange: Exchange,
        *,
        address: str,
        host: str = "",
        principal: Principal | None = None,
    ) -> None:
        self.peer: Peer | None = None
        self.address = address
        self.host = host
        self.is_in_process = principal is not None
        self._exchange = exchange
        self._clock = exchange.clock
        self._limits = exchange.limits
        self._principal = principal
        self._parser = Parser(limits=exchange.limits.frame)
        self._beats = HeartBeats(send_s=0, receive_s=0, now=0)
        self._ticking = task.LoopingCall(self._tick)
        self._ticking.clock = exchange.clock
        self._deadline: IDelayedCall | None = None
        self._closing = False
        self._is_held = False
        self._traffic = exchange.traffic
        self._budget: Budget | None = None
        self._slowed: IDelayedCall | None = None  # until then it is not read
        self._ignored_bytes = 0
        self._reason = ""

    @override
    def connectionMade(self) -> None:
        send_at_once(self.transport)
        self.outbox = Outbox(self.transport, self._drained)
        self._deadline = self._clock.callLater(self._limits.connect_s, self._too_late)
        refusal = self._exchange.opened(self)
        if refusal:
            self.fail(refusal, drop="too-many")

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._closing:
            self._ignored_bytes += len(data)
            if self._ignored_bytes > self._limits.linger_bytes:
                self.transport.pauseProducing()
            return
        now_s = self._clock.seconds()
        self._beats.heard(now_s)
        self._traffic.look(now_s)
        self._traffic.bytes_in += len(data)
        self._parser.push(data)
        self._read_frames(len(data))

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end_session()
        self._cancel_deadline()
        self.outbox.discard()
        self._exchange.closed(self)
        more = self._exchange.line_due("gone", self)
        if more is not None:
            self._log.info(
                "{address} ({who}) is gone: {reason}{more}",
                address=self.address,
                who=self.peer.principal if self.peer else "no session",
                reason=self._reason or reason.getErrorMessage(),
                more=more,
            )

    def deliver(self, head: bytes, message: RelayedMessage | None = None) -> None:
        """Write octets and a message's, or let them wait; see BrokerLimits.outbox_bytes."""
        if self._closing:
            return
        tail = b"" if message is None or self.peer is None else message.tail(self.peer.version)
        self.outbox.write(head, tail)
        self._traffic.frames_out += 1
        self._traffic.bytes_out += len(head) + len(tail)
        self._beats.spoke()
        if self.outbox.size_bytes > self._limits.outbox_bytes:
            self._overflow()

    def fail(self, reason: str, frame: Frame | None = None, *, drop: Reason | None = None) -> None:
        """Tell the peer why in an ERROR frame (about `frame`, if any), then close.

        It is counted as a drop of that kind, if any.
        """
        if self._closing:
            return
        if drop is not None:
            self._exchange.dropped(self, drop, reason)
        headers = [("message", reason), ("content-type", "text/plain")]
        receipt_id = frame.header("receipt") if frame else None
        if receipt_id is not None:
            headers.insert(0, ("receipt-id", receipt_id))
        version = self.peer.version if self.peer else Version.V1_0
        if self.peer is None:
            headers.append(("version", ",".join(Version)))
        error = Frame("ERROR", tuple(headers), f"{reason}\n".encode())
        self.outbox.write(encode(error, version), b"")
        self.close(reason)

    def close(self, reason: str) -> None:
        """End the session, let the peer read what has been written, then close.

        Half-closing first matters: closing with unread octets of the peer would reset the
        connection, and the peer might never see the ERROR (STOMP 1.2, "Connection Lingering").
        """
        if self._closing:
            return
        self._reason = reason
        self._end_session()
        self._cancel_deadline()
        self.outbox.finish()
        self.transport.resumeProducing()
        self._deadline = self._clock.callLater(
            self._limits.linger_s, self.transport.abortConnection
        )

    def release(self) -> None:
        """Read again after having been held."""
        if self._closing or not self._is_held:
            return
        self._is_held = False
        self._read_again()
        self._read_frames(0)

    @property
    def is_unread(self) -> bool:
        """It is held, or slowed down."""
        return self._is_held or self._slowed is not None

    def _read_again(self) -> None:
        if not (self._closing or self.is_unread):
            self._beats.heard(self._clock.seconds())
            self.transport.resumeProducing()

    def _spend(self, frames: int, octets: int) -> None:
        self._traffic.frames_in += frames
        if self._budget is None or self._closing:
            return
        wait_s = self._budget.spend(frames, octets, self._clock.seconds())
        if wait_s:
            self._traffic.drops["rate-held"] += 1
        if wait_s or frames == _TURN_FRAMES:
            self.transport.pauseProducing()
            self._slowed = self._clock.callLater(wait_s, self._waited)

    def _waited(self) -> None:
        assert self._budget is not None
        wait_s = self._budget.spend(0, 0, self._clock.seconds())
        if wait_s:
            self._slowed = self._clock.callLater(wait_s, self._waited)
        else:
            self._slowed = None
            self._read_again()
            self._read_frames(0)

    def _read_frames(self, octets: int) -> None:
        frame: Frame | None = None
        frames = 0
        try:
            while not (self._closing or self.is_unread):
                if frames == _TURN_FRAMES and self._budget is not None:
                    break
                frame = None
                frame = self._parser.next_frame()
                if frame is None:
                    break
                frames += 1
                self._received(frame)
        except ProtocolError as error:
            self.fail(str(error), frame, drop="protocol-error")
        except AccessDenied as error:
            drop: Reason = "login-refused" if self.peer is None else "access-denied"
            self.fail(str(error), frame, drop=drop)
        self._spend(frames, octets)

    def _received(self, frame: Frame) -> None:
        if self.peer is None:
            self._begin_session(frame)
        elif self._exchange.receive(self.peer, frame):
            self._is_held = True
            self.transport.pauseProducing()
        if frame.command == "DISCONNECT":
            self.close("disconnected")

    def _begin_session(self, frame: Frame) -> None:
        agreed = welcome(
            frame,
            authenticate=self._authenticate,
            session=uuid.uuid4().hex,
            heart_beat_s=self._limits.heart_beat_s,
        )
        self._cancel_deadline()
        self._parser.version = agreed.version
        self.peer = Peer(principal=agreed.principal, version=agreed.version, address=self.address)
        self._beats = HeartBeats(
            send_s=agreed.send_s, receive_s=agreed.receive_s, now=self._clock.seconds()
        )
        if self._beats.tick_s:
            _ = self._ticking.start(self._beats.tick_s, now=False)
        more = self._exchange.line_due("came", self)
        if more is not None:
            self._log.info(
                "{address} has connected as {principal}, STOMP {version}{more}",
                address=self.address,
                principal=agreed.principal,
                version=agreed.version,
                more=more,
            )
        self.deliver(agreed.connected)
        if agreed.principal.bulk:
            self.outbox.widen()
        self._budget = self._exchange.joined(self, self.peer)

    def _authenticate(self, login: str, passcode: str, bulk: bool) -> Principal | None:
        if self._principal is not None:
            return self._principal
        return self._exchange.authenticate(login, passcode, self.address, bulk=bulk)

    def _end_session(self) -> None:
        if self._closing:
            return
        self._closing = True
        self._parser = Parser()  # half a frame must not wait for the collector of cycles
        if self._ticking.running:
            self._ticking.stop()
        if self._slowed is not None:
            self._slowed.cancel()
            self._slowed = None
        self._exchange.left(self)

    def _overflow(self) -> None:
        if self.peer is not None and self.peer.principal.role is Role.HOST:
            self._exchange.too_full(self)
            return
        waiting_bytes = self.outbox.size_bytes
        self.outbox.discard()
        reason = f"too slow: {waiting_bytes} bytes waited for you to read them"
        self.fail(reason, drop="slow-consumer")

    def _drained(self) -> None:
        if not self._closing:
            self._exchange.drained(self)

    def _too_late(self) -> None:
        self.fail(f"no CONNECT within {self._limits.connect_s:g} s", drop="silent")

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()

    def _tick(self) -> None:
        now = self._clock.seconds()
        if self._beats.is_due(now) and self.outbox.is_free:
            self.outbox.write(HEART_BEAT, b"")
        silent_s = 0.0 if self.is_unread else self._beats.silent_s(now)  # unread is unheard
        if silent_s:
            self.fail(f"nothing has come from you for {silent_s:.1f} s", drop="silent")
