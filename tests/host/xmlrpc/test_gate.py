"""What happens to a request before it is known who makes it, and when nobody may come in."""

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure

from tests.host.xmlrpc.test_limits import BODY, HEAD, SiteCase, Transport, with_length
from vmcontroller.host.callers import ANYONE
from vmcontroller.host.xmlrpc.gate import Refusal
from vmcontroller.host.xmlrpc.limits import LINGER_S, STRANGER_BYTES


class GateTests(SiteCase):
    """What happens to a request before it is known who makes it, and when nobody may."""

    def refuse(self):
        self.gate.caller = Refusal(status="401 Unauthorized", text="No.", headers=(("X", "y"),))

    def decide_later(self):
        caller = self.gate.caller
        self.gate.caller = deciding = Deferred()
        return deciding, caller

    def test_refused(self):
        """It is answered at once and ends; the body that came with it is not looked at."""
        self.refuse()
        self.channel.dataReceived(with_length(len(BODY)) + BODY)
        self.assertEqual(self.status(), b"HTTP/1.1 401 Unauthorized")
        self.assertIn(b"\r\nX: y\r\n", self.transport.value())
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.operations.calls, [])
        self.lose()

    def test_a_huge_body_is_not_read(self):
        """After the refusal a little is dropped, and then nothing more is taken from the wire."""
        self.refuse()
        self.channel.dataReceived(with_length(256 * 2**20))
        self.assertEqual(self.status(), b"HTTP/1.1 401 Unauthorized")
        self.channel.dataReceived(b"x" * STRANGER_BYTES)
        self.assertEqual(self.transport.producerState, "producing")
        self.channel.dataReceived(b"x")
        self.assertEqual(self.transport.producerState, "paused")
        self.assertIsNone(self.channel.requests[-1].content)
        self.wait(LINGER_S)
        self.assertTrue(self.transport.disconnecting)
        self.lose()

    def test_no_invitation_for_strangers(self):
        """Who asks before sending is not told to send."""
        self.refuse()
        self.channel.dataReceived(HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        self.assertEqual(self.status(), b"HTTP/1.1 401 Unauthorized")
        self.lose()

    def test_nothing_is_read_meanwhile(self):
        """While it is found out who it is, nothing is taken from the wire; then it goes on."""
        deciding, caller = self.decide_later()
        self.channel.dataReceived(with_length(len(BODY)) + BODY[:5])
        self.assertEqual(self.transport.producerState, "paused")
        self.channel.resumeProducing()  # the transport has written what it had
        self.assertEqual(self.transport.producerState, "paused")
        deciding.callback(caller)
        self.assertEqual(self.transport.producerState, "producing")
        self.channel.dataReceived(BODY[5:])
        self.assertEqual(self.status(), b"HTTP/1.1 200 OK")
        self.lose()

    def test_whole_before_it_is_known(self):
        """A request that came as a whole is answered when it is known whose it is, or refused."""
        for refused in (False, True):
            self.connect()
            self.gate.caller = ANYONE
            deciding, caller = self.decide_later()
            self.channel.dataReceived(with_length(len(BODY)) + BODY)
            self.assertEqual(self.transport.value(), b"")
            deciding.callback(Refusal(status="401 No", text="") if refused else caller)
            self.assertEqual(self.status(), b"HTTP/1.1 401 No" if refused else b"HTTP/1.1 200 OK")
            self.assertEqual(self.transport.disconnecting, refused)
        self.lose()

    def test_an_invitation_when_it_is_known(self):
        """Who asks before sending is told to send once it is known that they may."""
        deciding, caller = self.decide_later()
        self.channel.dataReceived(HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        self.assertEqual(self.transport.value(), b"")
        deciding.callback(caller)
        self.assertEqual(self.status(), b"HTTP/1.1 100 Continue")
        self.lose()

    def test_gone_meanwhile(self):
        """A client that goes before it is known who it is makes no call and no error."""
        deciding, caller = self.decide_later()
        self.channel.dataReceived(with_length(len(BODY)) + BODY)
        self.lose()
        deciding.callback(caller)
        self.assertEqual(self.operations.calls, [])

    def test_a_gate_that_fails(self):
        """A bug there lets nobody in."""
        deciding, _ = self.decide_later()
        self.channel.dataReceived(with_length(len(BODY)) + BODY)
        deciding.errback(KeyError())
        self.assertEqual(self.status(), b"HTTP/1.1 500 Internal Server Error")
        self.assertEqual(self.operations.calls, [])
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.lose()

    def test_too_many(self):
        """Surplus costs a client its oldest connection without a call; else the surplus itself."""
        first = self.transport
        self.others = []
        for _ in range(9):
            transport, channel = Transport(), self.site.buildProtocol(None)
            channel.makeConnection(transport)
            self.others.append((transport, channel))
        self.operations.answers["list_vms"] = Deferred()
        transport, surplus = Transport(), self.site.buildProtocol(None)
        surplus.makeConnection(transport)
        self.assertTrue(first.aborted)
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.channel = None
        for _, channel in self.others:
            channel.dataReceived(with_length(len(BODY)) + BODY)
        surplus.dataReceived(with_length(len(BODY)) + BODY)
        self.connect()
        self.assertEqual(self.status(), b"HTTP/1.1 503 Service Unavailable")
        self.channel.dataReceived(HEAD)
        for channel in (surplus, *(channel for _, channel in self.others)):
            channel.connectionLost(Failure(ConnectionDone()))
        self.lose()
        self.assertEqual(len(self.site.connections), 0)
