"""The client's side of a STOMP session: calls in, octets and events out.

No socket, no reactor; the time is an argument, in seconds of a clock that never goes back.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from vmcontroller.common.errors import NotConnected, ProtocolError
from vmcontroller.common.stomp.frames import HEART_BEAT, Frame, Version, encode, quoted
from vmcontroller.common.stomp.heartbeat import HeartBeats, agree, parse_heart_beat
from vmcontroller.common.stomp.parser import Limits, Parser

ACCEPTED_VERSIONS: Final = ",".join(Version)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What CONNECT says of us; an empty login or passcode is left out."""

    login: str = ""
    passcode: str = field(default="", repr=False)
    host: str = "/"
    """The virtual host. RabbitMQ refuses one that does not exist, and always has `/`."""
    more: tuple[tuple[str, str], ...] = ()
    """Headers of our own, which brokers that don't know them ignore."""


@dataclass(frozen=True, slots=True)
class Message:
    """What came to one of our subscriptions."""

    destination: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Connected:
    """The broker has accepted us and chosen the version."""

    version: Version
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class MessageReceived:
    """A MESSAGE has come."""

    message: Message


@dataclass(frozen=True, slots=True)
class ReceiptReceived:
    """The broker has done what the frame with this receipt asked for."""

    receipt_id: str


@dataclass(frozen=True, slots=True)
class ErrorReceived:
    """The broker gives up on us and will close the connection."""

    text: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def detail(self) -> str:
        """The message, and the body's first line where that says more: RabbitMQ's does."""
        first = next(iter(self.body.decode(errors="replace").strip().splitlines()), "").strip()
        if not self.text or not first or first in self.text:
            return self.text or first
        return f"{self.text}: {first:.200}"


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The broker has done all that was sent before our DISCONNECT; the connection may be closed."""


Event = Connected | MessageReceived | ReceiptReceived | ErrorReceived | Disconnected


class State(enum.Enum):
    """Where a session stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    DISCONNECTING = "disconnecting"
    CLOSED = "closed"


_AFTER_CONNECTED: Final = frozenset(("MESSAGE", "RECEIPT", "ERROR"))
_ALLOWED: Final[Mapping[State, frozenset[str]]] = {
    State.IDLE: frozenset(),
    State.CONNECTING: frozenset(("CONNECTED", "ERROR")),
    State.CONNECTED: _AFTER_CONNECTED,
    State.DISCONNECTING: _AFTER_CONNECTED,
    State.CLOSED: frozenset(),
}


class ClientSession:
    """One session with a broker, good for one connection.

    What must be sent is returned as octets. `receive` takes what has come; it returns events in
    order and raises ProtocolError when the broker breaks a rule. Verbs other than `connect` raise
    NotConnected outside a session.
    """

    def __init__(
        self,
        *,
        credentials: Credentials | None = None,
        heart_beat_s: float = 10.0,
        limits: Limits | None = None,
    ) -> None:
        self.state = State.IDLE
        self.version = Version.V1_0
        self.awaited_receipts: set[str] = set()
        self._credentials = credentials or Credentials()
        self._heart_beat_s = heart_beat_s
        self._parser = Parser(limits=limits)
        self._beats = HeartBeats(send_s=0, receive_s=0, now=0)
        self._receipts = 0
        self._subscriptions = 0
        self._last_receipt = ""

    @property
    def tick_s(self) -> float:
        """How often `tick` wants to be called, known once connected; 0 is never."""
        return self._beats.tick_s

    def connect(self) -> bytes:
        """Return the CONNECT frame that begins the session."""
        me = self._credentials
        interval_ms = round(self._heart_beat_s * 1000)
        headers = [
            ("accept-version", ACCEPTED_VERSIONS),
            ("host", me.host),
            ("heart-beat", f"{interval_ms},{interval_ms}"),
        ]
        if me.login:
            headers.append(("login", me.login))
        if me.passcode:
            headers.append(("passcode", me.passcode))
        headers += me.more
        octets = encode(Frame("CONNECT", tuple(headers)), Version.V1_0)
        self.state = State.CONNECTING
        return octets

    def subscribe(self, destination: str) -> bytes:
        """Return a SUBSCRIBE frame (ack: auto) that asks for a receipt."""
        self._subscriptions += 1
        headers = (
            ("id", str(self._subscriptions)),
            ("destination", destination),
            ("ack", "auto"),
            ("receipt", self._new_receipt()),
        )
        return self._encode("SUBSCRIBE", headers)

    def send(self, destination: str, body: bytes, headers: Mapping[str, str]) -> bytes:
        """Return a SEND frame. Raises ProtocolError for a header that cannot be carried."""
        return self._encode("SEND", (("destination", destination), *headers.items()), body)

    def disconnect(self) -> bytes:
        """Return a DISCONNECT frame; `Disconnected` comes when the broker has done everything."""
        self._last_receipt = self._new_receipt()
        octets = self._encode("DISCONNECT", (("receipt", self._last_receipt),))
        self.state = State.DISCONNECTING
        return octets

    def receive(self, data: bytes, now: float) -> Iterator[Event]:
        """Take octets from the broker; yield what they mean, in order.

        Raises ProtocolError at a fault, after all that preceded it has been yielded.
        """
        self._beats.heard(now)
        parser = self._parser
        parser.push(data)
        while (frame := parser.next_frame()) is not None:
            if frame.command not in _ALLOWED[self.state]:
                raise ProtocolError(f"{frame.command} from the broker while {self.state.value}")
            yield self._event(frame, now)

    def tick(self, now: float) -> bytes:
        """Return a heart-beat if one is due. Raises ProtocolError when the broker is silent."""
        if silent_s := self._beats.silent_s(now):
            raise ProtocolError(f"nothing has come from the broker for {silent_s:.1f} s")
        return HEART_BEAT if self._beats.is_due(now) else b""

    def _new_receipt(self) -> str:
        self._receipts += 1
        receipt_id = f"r{self._receipts}"
        self.awaited_receipts.add(receipt_id)
        return receipt_id

    def _encode(
        self, command: str, headers: tuple[tuple[str, str], ...], body: bytes = b""
    ) -> bytes:
        if self.state is not State.CONNECTED:
            raise NotConnected(f"{command} cannot be sent while {self.state.value}")
        octets = encode(Frame(command, headers, body), self.version)
        self._beats.spoke()
        return octets

    def _event(self, frame: Frame, now: float) -> Event:
        # The first of repeated headers wins.
        headers = dict(reversed(frame.headers))
        match frame.command:
            case "MESSAGE":
                if "destination" not in headers:
                    raise ProtocolError("a MESSAGE without a destination")
                return MessageReceived(Message(headers["destination"], headers, frame.body))
            case "RECEIPT":
                return self._receipt(headers)
            case "CONNECTED":
                return self._connected(headers, now)
            case _:
                self.state = State.CLOSED
                return ErrorReceived(headers.get("message", ""), headers, frame.body)

    def _receipt(self, headers: Mapping[str, str]) -> Event:
        receipt_id = headers.get("receipt-id", "")
        if receipt_id not in self.awaited_receipts:
            raise ProtocolError(f"a RECEIPT that nothing asked for: {quoted(receipt_id)}")
        self.awaited_receipts.remove(receipt_id)
        if receipt_id == self._last_receipt:
            self.state = State.CLOSED
            return Disconnected()
        return ReceiptReceived(receipt_id)

    def _connected(self, headers: Mapping[str, str], now: float) -> Event:
        chosen = headers.get("version", Version.V1_0)
        try:
            self.version = Version(chosen)
        except ValueError:
            raise ProtocolError(
                f"the broker chose version {quoted(chosen)}; we offered {ACCEPTED_VERSIONS}"
            ) from None
        self._parser.version = self.version
        can_s, wants_s = parse_heart_beat(headers.get("heart-beat", "0,0"))
        self._beats = HeartBeats(
            send_s=agree(self._heart_beat_s, wants_s),
            receive_s=agree(self._heart_beat_s, can_s),
            now=now,
        )
        self.state = State.CONNECTED
        return Connected(self.version, headers)
