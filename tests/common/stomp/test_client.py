"""The client service: subscribing, reconnecting, back-pressure and its end, with a Clock."""

from __future__ import annotations

from random import Random

from twisted.internet import defer, error
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from vmcontroller.common.errors import NotConnected, ProtocolError
from vmcontroller.common.stomp.client import (
    CONNECT_DEADLINE_S,
    DISCONNECT_DEADLINE_S,
    STEADY_S,
    Credentials,
    ReconnectDelays,
    StompClient,
)
from vmcontroller.common.stomp.frames import Frame, Version, encode
from vmcontroller.common.stomp.parser import Parser
from vmcontroller.common.transports import WIDE_BYTES


class Wire(StringTransport):
    """The broker's end of one connection, played by the test."""

    def __init__(self, protocol):
        super().__init__()
        self.protocol = protocol
        self.parser = Parser(version=Version.V1_2)

    def sent(self):
        """Return the frames that the client has sent since the last time."""
        octets = self.value()
        self.clear()
        return self.parser.feed(octets)

    def say(self, command, *headers, body=b""):
        """Send a frame to the client."""
        self.protocol.dataReceived(encode(Frame(command, headers, body), Version.V1_2))

    def lose(self):
        """End the connection."""
        self.protocol.connectionLost(Failure(error.ConnectionDone()))


@implementer(IStreamClientEndpoint)
class ScriptedEndpoint:
    """Each attempt waits for the test to accept or refuse it."""

    def __init__(self):
        self.attempts = []

    def connect(self, factory):
        attempt = defer.Deferred()
        self.attempts.append((factory, attempt))
        return attempt

    def accept(self):
        """Let the last attempt succeed; return its wire."""
        factory, attempt = self.attempts[-1]
        protocol = factory.buildProtocol(None)
        wire = Wire(protocol)
        protocol.makeConnection(wire)
        attempt.callback(protocol)
        return wire

    def refuse(self):
        """Let the last attempt fail."""
        self.attempts[-1][1].errback(Failure(error.ConnectionRefusedError()))


class Least(Random):
    """Jitter at its least."""

    def uniform(self, a, b):
        return a


class ClientCase(SynchronousTestCase):
    subscriptions = ("/topic/a", "/topic/b")

    def setUp(self):
        self.clock = Clock()
        self.endpoint = ScriptedEndpoint()
        self.events = []
        self.client = StompClient(
            endpoint=self.endpoint,
            reactor=self.clock,
            credentials=Credentials(login="me"),
            subscriptions=self.subscriptions,
            on_message=lambda message: self.events.append(message.body),
            on_connected=lambda: self.events.append("connected"),
            on_lost=self.events.append,
            delays=ReconnectDelays(first_s=1.0, most_s=8.0, random=Least()),
        )
        self.client.startService()

    def session(self):
        """Bring the current attempt to a session; return its wire."""
        wire = self.endpoint.accept()
        wire.sent()
        wire.say("CONNECTED", ("version", "1.2"), ("heart-beat", "5000,5000"))
        for frame in wire.sent():
            wire.say("RECEIPT", ("receipt-id", frame.header("receipt")))
        return wire


class SessionTests(ClientCase):
    def test_connected_means_subscribed(self):
        """`on_connected` comes when the last subscription is confirmed, not before."""
        wire = self.endpoint.accept()
        [connect] = wire.sent()
        self.assertEqual(connect.header("login"), "me")
        wire.say("CONNECTED", ("version", "1.2"))
        first, second = wire.sent()
        self.assertEqual(first.header("destination"), "/topic/a")
        self.assertEqual(second.header("destination"), "/topic/b")
        wire.say("RECEIPT", ("receipt-id", first.header("receipt")))
        self.assertFalse(self.client.connected)
        wire.say("RECEIPT", ("receipt-id", second.header("receipt")))
        self.assertTrue(self.client.connected)
        self.assertEqual(self.events, ["connected"])

    def test_messages_before_that_are_held(self):
        """What comes between two receipts is handed over after `on_connected`, in order."""
        wire = self.endpoint.accept()
        wire.sent()
        wire.say("CONNECTED", ("version", "1.2"))
        subscribes = wire.sent()
        for number, frame in enumerate(subscribes):
            wire.say("MESSAGE", ("destination", "/topic/a"), body=b"%d" % number)
            wire.say("RECEIPT", ("receipt-id", frame.header("receipt")))
        wire.say("MESSAGE", ("destination", "/topic/a"), body=b"2")
        self.assertEqual(self.events, ["connected", b"0", b"1", b"2"])

    def test_send(self):
        """Goes out at once while connected."""
        wire = self.session()
        self.client.send("/topic/x", b"PING", {"to": "52:54"})
        [frame] = wire.sent()
        self.assertEqual((frame.header("to"), frame.body), ("52:54", b"PING"))

    def test_send_without_a_session(self):
        """Raises NotConnected: before, and after it."""
        with self.assertRaises(NotConnected):
            self.client.send("/topic/x", b"", {})
        self.session().lose()
        with self.assertRaises(NotConnected):
            self.client.send("/topic/x", b"", {})

    def test_a_header_that_cannot_be_sent(self):
        """Is the caller's fault, and the session goes on."""
        wire = self.session()
        with self.assertRaises(ProtocolError):
            self.client.send("/topic/x", b"", {"a": "\0"})
        self.assertTrue(self.client.connected)
        self.assertEqual(wire.sent(), [])

    def test_exceptions_of_callbacks_are_logged(self):
        """A bug in the application ends neither the session nor the next message."""
        wire = self.session()
        self.client._on_message = lambda message: self.events.append(1 / len(message.body))
        wire.say("MESSAGE", ("destination", "/topic/a"))
        wire.say("MESSAGE", ("destination", "/topic/a"), body=b"x")
        self.assertEqual(self.events, ["connected", 1.0])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_an_error_frame_ends_the_session(self):
        """`on_lost` hears what the broker said."""
        wire = self.session()
        wire.say("ERROR", ("message", "go away"))
        self.assertTrue(wire.disconnected)
        wire.lose()
        self.assertEqual(self.events, ["connected", "the broker says: go away"])
        self.assertFalse(self.client.connected)

    def test_a_broken_broker_is_dropped(self):
        """Rubbish ends the connection with a reason; what preceded it was delivered."""
        wire = self.session()
        message = encode(Frame("MESSAGE", (("destination", "/topic/a"),), b"x"), Version.V1_2)
        wire.protocol.dataReceived(message + b"RUBBISH\n\n\0")
        self.assertTrue(wire.disconnected)
        wire.protocol.dataReceived(message)
        wire.lose()
        self.assertEqual(self.events[:2], ["connected", b"x"])
        self.assertIn("RUBBISH", self.events[2])
        self.assertEqual(len(self.events), 3)

    def test_heart_beats(self):
        """Sent as agreed; a silent broker is left after twice the interval."""
        wire = self.session()
        self.clock.pump([2.5] * 5)
        self.assertIn(b"\n", wire.value())
        self.assertFalse(wire.disconnected)
        self.clock.pump([2.5] * 3)
        self.assertTrue(wire.disconnected)
        wire.lose()
        self.assertIn("20.0 s", self.events[-1])
        self.assertEqual(len(self.clock.getDelayedCalls()), 1)


class ReconnectTests(ClientCase):
    def test_delays_grow_to_a_maximum(self):
        """Refused attempts wait twice as long each time, up to the most."""
        waited = []
        for _ in range(6):
            self.endpoint.refuse()
            [call] = self.clock.getDelayedCalls()
            waited.append(call.getTime() - self.clock.seconds())
            self.clock.advance(waited[-1])
        self.assertEqual(waited, [0.5, 1.0, 2.0, 4.0, 4.0, 4.0])
        self.assertEqual(len(self.endpoint.attempts), 7)
        self.assertEqual(self.events, [])

    def test_a_session_resets_the_delay(self):
        """And a lost one is sought again, with `on_lost` between."""
        for _ in range(3):
            self.endpoint.refuse()
            self.clock.advance(4.0)
        wire = self.session()
        self.clock.advance(STEADY_S)
        wire.lose()
        self.assertEqual(len(self.endpoint.attempts), 4)
        self.clock.advance(0.5)
        self.assertEqual(len(self.endpoint.attempts), 5)
        self.session()
        self.assertEqual(self.events[0], "connected")
        self.assertEqual(self.events[2:], ["connected"])

    def test_a_short_session_does_not_reset_the_delay(self):
        """Two that end each other's sessions do it ever more slowly."""
        for attempts, delay_s in ((2, 0.5), (3, 1.0), (4, 2.0)):
            self.session().lose()
            self.clock.advance(delay_s - 0.1)
            self.assertEqual(len(self.endpoint.attempts), attempts - 1)
            self.clock.advance(0.1)
            self.assertEqual(len(self.endpoint.attempts), attempts)

    def test_a_connection_without_a_session_does_not_reset_it(self):
        """A broker that accepts and then drops is not hammered."""
        for _ in range(2):
            self.endpoint.accept().lose()
            self.clock.advance(1.0)
        self.assertEqual(len(self.endpoint.attempts), 3)
        self.endpoint.accept().lose()
        self.clock.advance(1.9)
        self.assertEqual(len(self.endpoint.attempts), 3)
        self.assertEqual(self.events, [])

    def test_an_attempt_without_connected_is_dropped(self):
        """Within thirty seconds from its beginning, TCP connect included."""
        self.clock.advance(20.0)
        wire = self.endpoint.accept()
        self.clock.advance(CONNECT_DEADLINE_S - 20.0 - 0.1)
        self.assertFalse(wire.disconnected)
        self.clock.advance(0.1)
        self.assertTrue(wire.disconnected)
        wire.lose()
        self.clock.advance(1.0)
        self.assertEqual(len(self.endpoint.attempts), 2)

    def test_an_endpoint_that_never_answers(self):
        """Is given up after thirty seconds and tried again."""
        self.clock.advance(CONNECT_DEADLINE_S)
        self.clock.advance(1.0)
        self.assertEqual(len(self.endpoint.attempts), 2)

    def test_a_session_has_no_deadline(self):
        """The thirty seconds end with `on_connected`."""
        wire = self.session()
        for _ in range(8):
            self.clock.advance(4.9)
            wire.protocol.dataReceived(b"\n")
        self.assertFalse(wire.disconnected)

    def test_jitter_is_between_half_and_whole(self):
        """So a thousand guests do not come back at once, and none comes back too late."""
        delays = ReconnectDelays(first_s=1.0, most_s=1.0, random=Random(1))
        drawn = [delays.next_s() for _ in range(200)]
        self.assertGreaterEqual(min(drawn), 0.5)
        self.assertLessEqual(max(drawn), 1.0)
        self.assertGreater(max(drawn) - min(drawn), 0.4)

    def test_the_default_delays(self):
        """The first retry comes within half a second, the later ones within ten."""
        delays = ReconnectDelays(random=Random(1))
        drawn = [delays.next_s() for _ in range(20)]
        self.assertTrue(0.1 <= drawn[0] <= 0.5)
        self.assertTrue(5.0 <= drawn[-1] <= 10.0)


class FailedTests(SynchronousTestCase):
    def test_each_attempt_that_comes_to_nothing(self):
        """Is told with the reason; a session that is lost is not one of them, nor is a stop."""
        failed = []
        clock, endpoint = Clock(), ScriptedEndpoint()
        client = StompClient(
            endpoint=endpoint,
            reactor=clock,
            subscriptions=(),
            on_message=lambda message: None,
            on_connected=lambda: None,
            on_lost=lambda reason: None,
            on_failed=failed.append,
            wide=True,
        )
        client.startService()
        endpoint.refuse()
        self.assertEqual(len(failed), 1)
        clock.advance(1)
        wire = endpoint.accept()
        wire.say("ERROR", ("message", "no room"))
        wire.lose()
        self.assertIn("no room", failed[1])
        clock.advance(1)
        wire = endpoint.accept()
        self.assertEqual(wire.bufferSize, WIDE_BYTES)
        wire.say("CONNECTED", ("version", "1.2"))
        wire.lose()
        clock.advance(1)
        self.successResultOf(client.stopService())
        self.assertEqual(len(failed), 2)


class BackPressureTests(ClientCase):
    def test_writable_waits_for_the_transport(self):
        """At once when it takes more, else when it resumes."""
        wire = self.session()
        self.successResultOf(self.client.writable())
        wire.producer.pauseProducing()
        waiting = defer.ensureDeferred(self.client.writable())
        self.assertNoResult(waiting)
        wire.producer.resumeProducing()
        self.successResultOf(waiting)

    def test_writable_fails_with_the_connection(self):
        """Whoever waits hears NotConnected, and so does who comes later."""
        wire = self.session()
        wire.producer.pauseProducing()
        waiting = defer.ensureDeferred(self.client.writable())
        wire.lose()
        self.failureResultOf(waiting, NotConnected)
        self.failureResultOf(defer.ensureDeferred(self.client.writable()), NotConnected)

    def test_waiting_may_be_cancelled(self):
        """A caller with a deadline of its own leaves nothing behind."""
        wire = self.session()
        wire.producer.pauseProducing()
        waiting = defer.ensureDeferred(self.client.writable())
        waiting.cancel()
        self.failureResultOf(waiting, defer.CancelledError)
        wire.producer.resumeProducing()


class StopTests(ClientCase):
    def test_stop_disconnects_with_a_receipt(self):
        """The broker has taken everything before the connection is closed."""
        wire = self.session()
        stopped = self.client.stopService()
        [frame] = wire.sent()
        self.assertEqual(frame.command, "DISCONNECT")
        with self.assertRaises(NotConnected):
            self.client.send("/topic/x", b"", {})
        self.assertFalse(wire.disconnecting)
        wire.say("RECEIPT", ("receipt-id", frame.header("receipt")))
        self.assertTrue(wire.disconnecting)
        self.assertNoResult(stopped)
        wire.lose()
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.events, ["connected", "disconnected"])

    def test_stop_does_not_wait_for_ever(self):
        """A broker that does not answer is left after the deadline."""
        wire = self.session()
        stopped = self.client.stopService()
        self.clock.advance(DISCONNECT_DEADLINE_S)
        self.assertTrue(wire.disconnected)
        wire.lose()
        self.successResultOf(stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_connecting(self):
        """The attempt is given up."""
        self.successResultOf(self.client.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_while_waiting_to_retry(self):
        """No further attempt."""
        self.endpoint.refuse()
        self.successResultOf(self.client.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.endpoint.attempts), 1)

    def test_stop_before_connected(self):
        """A half-made session is dropped, without `on_lost`."""
        wire = self.endpoint.accept()
        stopped = self.client.stopService()
        self.assertTrue(wire.disconnected)
        wire.lose()
        self.successResultOf(stopped)
        self.assertEqual(self.events, [])

    def test_stop_without_start(self):
        """And a second stop: nothing to do."""
        self.successResultOf(self.client.stopService())
        self.successResultOf(self.client.stopService())


class NoSubscriptionTests(ClientCase):
    subscriptions = ()

    def test_connected_at_once(self):
        """Without subscriptions CONNECTED is enough."""
        wire = self.endpoint.accept()
        wire.say("CONNECTED", ("version", "1.2"))
        self.assertEqual(self.events, ["connected"])
