"""Bounds of HTTP: bodies that are too large, clients that are too slow."""

from xmlrpc.client import dumps

from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.host.xmlrpc.recording import OpenGate, RecordingOperations
from vmcontroller.host.xmlrpc.dispatch import Dispatcher
from vmcontroller.host.xmlrpc.limits import (
    BODY_MAX_BYTES,
    IDLE_S,
    LINGER_S,
    REQUEST_S,
    SPOOL_BYTES,
)
from vmcontroller.host.xmlrpc.resource import Calls, site

BODY = b"<methodCall><methodName>listVMs</methodName></methodCall>"
HEAD = b"POST /RPC2 HTTP/1.1\r\nHost: h\r\nContent-Type: text/xml\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def with_length(length):
    """Make the head of a request that declares its length."""
    return HEAD + b"Content-Length: %d\r\n\r\n" % length


class Transport(StringTransport):
    """Ends as a TCP transport does."""

    aborted = False

    def abortConnection(self):
        self.aborted = True
        self.loseConnection()


class Inline:
    """A pool that has no threads."""

    def callInThreadWithCallback(self, on_result, function, *args):
        on_result(True, function(*args))


class SiteCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.clock.getThreadPool = lambda: self.fail("nothing here is large enough for a thread")
        self.operations = RecordingOperations()
        self.operations.answers["list_vms"] = ["a"]
        self.gate = OpenGate()
        self.site = site(
            Dispatcher(self.operations), self.clock, self.gate, connections=20, calls=Calls(100)
        )
        self.site.doStart()
        self.addCleanup(self.site.doStop)
        self.channel = None
        self.connect()

    def connect(self):
        if self.channel is not None:
            self.lose()
        self.transport = Transport()
        self.channel = self.site.buildProtocol(None)
        self.channel.makeConnection(self.transport)

    def lose(self):
        """The connection is gone; nothing may be left behind."""
        self.channel.connectionLost(Failure(ConnectionDone()))
        self.channel = None
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def wait(self, seconds, step=1.0):
        """Let time pass."""
        for _ in range(round(seconds / step)):
            self.clock.advance(step)

    def status(self):
        """Return the first response's status line."""
        return self.transport.value().partition(b"\r\n")[0]


class SizeTests(SiteCase):
    def test_within(self):
        """A body within the limit is answered, and the connection stays for the next call."""
        for _ in range(2):
            self.transport.clear()
            self.channel.dataReceived(with_length(len(BODY)) + BODY)
            self.assertEqual(self.status(), b"HTTP/1.1 200 OK")
        self.assertFalse(self.transport.disconnecting)
        self.lose()

    def test_chunked_within(self):
        """A chunked body within the limit is a body like others."""
        self.channel.dataReceived(CHUNKED + b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY))
        self.assertEqual(self.status(), b"HTTP/1.1 200 OK")
        self.lose()

    def test_exactly_the_limit(self):
        """The limit itself is allowed."""
        self.channel.dataReceived(with_length(BODY_MAX_BYTES))
        self.assertEqual(self.transport.value(), b"")
        self.lose()

    def test_small_bodies_take_no_file(self):
        """A slow client that only declares much takes no second descriptor; a body may grow."""
        self.channel.dataReceived(with_length(10**6))
        content = self.channel.requests[-1].content
        self.channel.dataReceived(b" " * SPOOL_BYTES)
        self.assertFalse(content._rolled)
        self.channel.dataReceived(b" " * (10**6 - SPOOL_BYTES - len(BODY)))
        self.assertTrue(content._rolled)
        self.clock.getThreadPool = Inline
        self.clock.callFromThread = lambda f, *args: f(*args)
        self.channel.dataReceived(BODY)
        self.assertEqual(self.status(), b"HTTP/1.1 200 OK")
        self.lose()

    def test_declared(self):
        """A length beyond the limit is 413 before any of the body is read."""
        self.channel.dataReceived(with_length(BODY_MAX_BYTES + 1))
        self.assertEqual(self.status(), b"HTTP/1.1 413 Content Too Large")
        self.assertIn(b"\r\nConnection: close\r\n", self.transport.value())
        self.assertIn(b"16777216 bytes", self.transport.value())
        self.lose()

    def test_a_refused_body_is_dropped_for_a_while(self):
        """The sender gets time to see the refusal, and then the connection ends."""
        self.channel.dataReceived(with_length(10**9))
        before = self.transport.value()
        self.channel.dataReceived(b"x" * 10**6)
        self.assertEqual(self.transport.value(), before)
        self.assertFalse(self.transport.disconnecting)
        self.wait(LINGER_S)
        self.assertTrue(self.transport.disconnecting)
        self.lose()

    def test_a_refused_body_that_ends(self):
        """When all of it was dropped, there is nothing more to wait for, and no call is made."""
        self.channel.dataReceived(with_length(BODY_MAX_BYTES + 1))
        self.channel.dataReceived(b"x" * (BODY_MAX_BYTES + 1))
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual(self.transport.value().count(b"HTTP/1.1"), 1)
        self.assertEqual(self.operations.calls, [])
        self.lose()

    def test_no_invitation(self):
        """A client that asks before it sends is not told to continue."""
        self.channel.dataReceived(
            HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % 10**9
        )
        self.assertEqual(self.status(), b"HTTP/1.1 413 Content Too Large")
        self.assertNotIn(b"100 Continue", self.transport.value())
        self.lose()

    def test_invitation(self):
        """A client that asks before it sends what is allowed may continue."""
        self.channel.dataReceived(HEAD + b"Expect: 100-continue\r\nContent-Length: 9\r\n\r\n")
        self.assertEqual(self.status(), b"HTTP/1.1 100 Continue")
        self.lose()

    def test_counted(self):
        """A chunked body is counted while it comes, and refused once, at the limit."""
        self.channel.dataReceived(CHUNKED)
        chunk = b"%x\r\n%s\r\n" % (2**20, b" " * 2**20)
        for _ in range(BODY_MAX_BYTES // 2**20):
            self.channel.dataReceived(chunk)
        self.assertEqual(self.transport.value(), b"")
        self.channel.dataReceived(b"1\r\nx\r\n")
        self.assertEqual(self.status(), b"HTTP/1.1 413 Content Too Large")
        self.channel.dataReceived(chunk)
        self.channel.dataReceived(b"0\r\n\r\n")
        self.assertEqual(self.transport.value().count(b"HTTP/1.1"), 1)
        self.assertTrue(self.transport.disconnecting)
        self.lose()


class SlownessTests(SiteCase):
    def test_silence(self):
        """A connection that says nothing is closed."""
        self.wait(IDLE_S - 1)
        self.assertFalse(self.transport.disconnecting)
        self.wait(2)
        self.assertTrue(self.transport.disconnecting)
        self.lose()

    def test_silence_after_a_call(self):
        """A connection is kept for the next call, but not for ever."""
        self.channel.dataReceived(with_length(len(BODY)) + BODY)
        self.wait(IDLE_S + 1)
        self.assertTrue(self.transport.disconnecting)
        self.lose()

    def trickle(self, data):
        """Send a byte every so often, for as long as a request may take."""
        every_s = 10.0
        for count in range(int(REQUEST_S / every_s) + 1):
            self.assertEqual(self.transport.aborted, count * every_s >= REQUEST_S)
            self.channel.dataReceived(data[count : count + 1])
            self.clock.advance(every_s)
        self.lose()

    def test_trickled_head(self):
        """A head that comes byte by byte is given up although it never pauses for long."""
        self.trickle(HEAD)

    def test_trickled_body(self):
        """So is a body."""
        self.channel.dataReceived(with_length(10**6))
        self.trickle(b"<" * 100)

    def test_trickled_second_request(self):
        """And so is a later request of the same connection."""
        self.channel.dataReceived(with_length(len(BODY)) + BODY)
        self.trickle(HEAD)

    def test_slow_operations(self):
        """A call may take as long as it takes: only the client's part has a deadline."""
        self.operations.answers["list_vms"] = ending = Deferred()
        self.channel.dataReceived(with_length(len(BODY)) + BODY)
        self.wait(REQUEST_S * 10)
        self.assertFalse(self.transport.disconnecting)
        ending.callback(["late"])
        self.assertIn(b"late", self.transport.value())
        self.lose()


class HangingUpTests(SiteCase):
    def hang_up(self, method, *params):
        """Call, and hang up while the operation goes on."""
        body = dumps(params, method).encode()
        self.connect()
        self.channel.dataReceived(with_length(len(body)) + body)
        self.lose()

    def test_leaves_the_operation(self):
        """A client that goes gives up the answer, not what it has asked for."""
        cancelled = []
        self.operations.answers["start"] = ending = Deferred(cancelled.append)
        self.hang_up("start", "a")
        self.assertEqual(cancelled, [])
        ending.callback(True)
        self.assertEqual(self.transport.value(), b"")

    def test_leaves_what_fails_later(self):
        """A bug is logged even if nobody is told of it."""
        self.operations.answers["start"] = ending = Deferred()
        self.hang_up("start", "a")
        ending.errback(ValueError())
        self.assertEqual(self.transport.value(), b"")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_ends_mere_waiting(self):
        """Where nothing but waiting was asked for, it ends; that is no incident."""
        for method, operation in (("waitCmd", "wait_cmd"), ("ping", "ping")):
            cancelled = []
            self.operations.answers[operation] = Deferred(cancelled.append)
            self.hang_up(method, "a")
            self.assertEqual(len(cancelled), 1, method)
            self.assertEqual(self.transport.value(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])


class FormTests(SiteCase):
    def test_forms_are_not_parsed(self):
        """A form is 415 like every other type; twisted.web doesn't try to read it."""
        for content_type in (b"multipart/form-data", b"application/x-www-form-urlencoded"):
            self.connect()
            self.channel.dataReceived(
                b"POST /RPC2 HTTP/1.1\r\nHost: h\r\nContent-Type: %s\r\n"
                b"Content-Length: 3\r\n\r\na=b" % content_type
            )
            self.assertEqual(self.status(), b"HTTP/1.1 415 Unsupported Media Type")
            self.lose()
