"""Peers of a broker on in-memory transports that can be slow, and a broker to go with them."""

from __future__ import annotations

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes.logins import credulous_rights
from vmcontroller.common.stomp.frames import Frame, Version, encode
from vmcontroller.common.stomp.parser import Limits, Parser
from vmcontroller.host.broker.factory import StompFactory
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.rights import OpenRights, Principal, Role


class SlowTransport(StringTransport):
    """Like a TCP transport: says stop above 64 KiB, and resume when all has been written.

    What has been written leaves at once unless `stuck`; then `unstick` lets it go.
    """

    stuck = False
    half_closed = False
    aborted = False

    def __init__(self, peer_port):
        super().__init__(peerAddress=IPv4Address("TCP", "10.0.0.2", peer_port), lenient=True)

    def write(self, data):
        super().write(data)
        self._check()

    def writeSequence(self, data):
        super().writeSequence(data)
        self._check()

    def _check(self):
        if self.stuck and self.producer and len(self.value()) > 1 << 16:
            self.producer.pauseProducing()

    def loseWriteConnection(self):
        self.half_closed = True

    def abortConnection(self):
        self.aborted = True
        super().abortConnection()


class Peer:
    """One connection, played by the test: `say` frames, `hear` frames."""

    def __init__(self, connection, port=1000):
        self.connection = connection
        self.wire = SlowTransport(port)
        self.parser = Parser(limits=Limits(body_bytes=1 << 30))
        connection.makeConnection(self.wire)

    def say(self, command, *headers, body=b""):
        """Send a frame, encoded for the version of the session."""
        self.raw(encode(Frame(command, headers, body), self.parser.version))

    def raw(self, octets):
        """Send octets."""
        self.connection.dataReceived(octets)

    def hear(self):
        """Return the frames that have come since the last time."""
        octets = self.wire.value()
        self.wire.clear()
        return self.parser.feed(octets)

    def bodies(self):
        """Return the bodies of the messages that have come."""
        return [frame.body for frame in self.hear() if frame.command == "MESSAGE"]

    def connect(self, version="1.2", **headers):
        """Begin a session; return the CONNECTED frame."""
        pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.say("CONNECT", ("accept-version", version), ("host", "/"), *pairs)
        [connected] = self.hear()
        self.parser.version = Version(version)
        return connected

    def subscribe(self, destination, subscription_id="0", ack="auto", **headers):
        """Subscribe; see to it that nothing was wrong."""
        extra = tuple(headers.items())
        self.say(
            "SUBSCRIBE",
            ("destination", destination),
            ("id", subscription_id),
            ("ack", ack),
            *extra,
        )
        assert not self.is_closing, self.hear()

    def send(self, destination, body=b"", **headers):
        """Send a message."""
        self.say("SEND", ("destination", destination), *headers.items(), body=body)

    @property
    def is_closing(self):
        """The broker will say no more."""
        return self.wire.half_closed

    def error(self):
        """Return the ERROR frame, which must be the last, after which the broker closes."""
        frame = self.hear()[-1]
        assert frame.command == "ERROR", frame
        assert self.is_closing
        return frame

    def unstick(self):
        """Read everything; return the frames."""
        frames = []
        self.wire.stuck = False
        while True:
            more = self.hear()
            frames += more
            producer = self.wire.producer
            if producer is not None:
                producer.resumeProducing()
            if not more and not self.wire.value():
                return frames

    def lose(self):
        """End the connection."""
        self.connection.connectionLost(Failure(ConnectionDone()))


class BrokerCase(SynchronousTestCase):
    """A broker on a Clock. `rights` and `limits` may be set by subclasses or before `start`."""

    rights = OpenRights()
    limits = BrokerLimits()

    def setUp(self):
        self.start(self.limits)

    def start(self, limits):
        """Begin anew with these limits."""
        self.clock = Clock()
        self.factory = StompFactory(reactor=self.clock, rights=self.rights, limits=limits)
        self.ports = iter(range(1000, 9000))

    def accept(self, host="10.0.0.2"):
        """Return the broker's end of a new connection from there, or None: closed at once."""
        kind = IPv6Address if ":" in host else IPv4Address
        return self.factory.buildProtocol(kind("TCP", host, next(self.ports)))

    def peer(self, host="10.0.0.2"):
        """Return a new connection without a session."""
        return Peer(self.accept(host))

    def session(self, version="1.2", host="10.0.0.2", **headers):
        """Return a new connection with a session."""
        peer = self.peer(host)
        peer.connect(version, **headers)
        return peer


class VmBrokerCase(BrokerCase):
    """A broker with the rules for guests, and the host connected in-process."""

    rights = credulous_rights()

    def host(self):
        """Return the daemon's own session."""
        peer = Peer(self.factory.build("in-process", Principal(role=Role.HOST)))
        peer.connect()
        return peer

    def guest(self, number=1, host="10.0.0.2"):
        """Return the session of a guest."""
        return self.session(host=host, login=f"52:54:00:00:00:{number:02x}")
