"""POST /RPC2 through a real HTTP client in memory: HTTP's rules, waiting, and hanging up."""

from xmlrpc.client import dumps, loads

from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from tests.host.xmlrpc.recording import XML, InMemoryDoor
from vmcontroller.common.errors import DeadlinePassed
from vmcontroller.host.xmlrpc.resource import LARGE_BYTES

CALL = dumps((), "listVMs").encode()


class HttpTests(SynchronousTestCase):
    def setUp(self):
        self.door = InMemoryDoor()
        self.door.operations.answers["list_vms"] = ["a"]

    def test_answer(self):
        """An answer is text/xml of known length, with status 200."""
        response, body = self.door.post(CALL)
        self.assertEqual(response.code, 200)
        self.assertEqual(
            response.headers.getRawHeaders("Content-Type"), ["text/xml; charset=utf-8"]
        )
        self.assertEqual(response.length, len(body))
        self.assertEqual(loads(body)[0], (["a"],))

    def test_only_post(self):
        """Every other verb is 405 with what is allowed, and calls nothing."""
        for verb in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS", "BREW"):
            responses = []
            self.door.http.request(verb, "http://host/RPC2", data=CALL, headers=XML).addCallback(
                responses.append
            )
            self.door.http.flush()
            self.assertEqual(responses[0].code, 405, verb)
            self.assertEqual(responses[0].headers.getRawHeaders("Allow"), ["POST"])
        self.assertEqual(self.door.operations.calls, [])

    def test_only_xml(self):
        """What a browser's form can send is 415, so that no web page can call."""
        for content_type in (
            "text/plain",
            "application/x-www-form-urlencoded",
            "text/xmlish",
            "",
        ):
            response, body = self.door.post(CALL, {"Content-Type": content_type})
            self.assertEqual(response.code, 415, content_type)
            self.assertIn(b"text/xml", body)
        self.assertEqual(self.door.operations.calls, [])

    def test_xml_types(self):
        """Both of XML's types are taken, in any case and with parameters."""
        for content_type in ("text/xml; charset=utf-8", "Application/XML", "text/xml ;x=y"):
            response, _ = self.door.post(CALL, {"Content-Type": content_type})
            self.assertEqual(response.code, 200, content_type)

    def test_no_compression(self):
        """A compressed body is 415: nothing is unpacked, so nothing can blow up."""
        response, _ = self.door.post(CALL, {**XML, "Content-Encoding": "gzip"})
        self.assertEqual(response.code, 415)
        response, _ = self.door.post(CALL, {**XML, "Content-Encoding": "identity"})
        self.assertEqual(response.code, 200)

    def test_only_rpc2(self):
        """There is nothing at any other path."""
        for path in ("/", "/RPC2/", "/RPC2/x", "/rpc2"):
            response, _ = self.door.post(CALL, path=path)
            self.assertEqual(response.code, 404, path)

    def test_malformed(self):
        """A body that is no call is a Fault, as XML-RPC clients expect."""
        response, body = self.door.post(b"<methodCall>")
        self.assertEqual(response.code, 200)
        self.assertIn(b"BAD_REQUEST: not an XML-RPC call", body)

    def test_large_bodies_go_aside(self):
        """A large request is parsed in a thread, a large answer written in one; others aren't."""
        self.door.call("listVMs")
        self.assertEqual(len(self.door.aside), 0)
        self.door.fault("getState", "x" * LARGE_BYTES)
        self.assertEqual(len(self.door.aside), 1)
        self.door.operations.answers["list_vms"] = ["x" * LARGE_BYTES]
        self.assertEqual(self.door.call("listVMs"), ["x" * LARGE_BYTES])
        self.assertEqual(len(self.door.aside), 2)


class WaitingTests(SynchronousTestCase):
    def setUp(self):
        self.door = InMemoryDoor()
        self.ending = Deferred()

    def test_answers_when_it_is_done(self):
        """The answer comes when the operation has ended, and other calls don't wait for it."""
        self.door.operations.answers["start"] = self.ending
        waiting = self.door.begin("start", "a")
        self.door.http.flush()
        self.assertNoResult(waiting)
        self.assertEqual(self.door.call("getState", "a"), True)
        self.ending.callback(True)
        self.door.http.flush()
        self.assertEqual(loads(self.door.body_of(self.successResultOf(waiting)))[0], (True,))

    def test_fails_when_it_fails(self):
        """A failure after a while is the same Fault as one at once."""
        self.door.operations.answers["shutdown"] = self.ending
        waiting = self.door.begin("shutdown", "a")
        self.ending.errback(DeadlinePassed("a did not shut down", 30))
        self.door.http.flush()
        body = self.door.body_of(self.successResultOf(waiting))
        self.assertIn(b"DEADLINE_PASSED: a did not shut down within 30 s", body)


class LogTests(SynchronousTestCase):
    def test_calls_are_logged_without_arguments(self):
        """Method, client, outcome and duration are logged; what was said is nobody's business."""
        door = InMemoryDoor()
        door.operations.answers["run_cmd"] = ending = Deferred()
        with capturedLogs() as events:
            door.begin("runCmd", "a", "mysql", ["--password=secret"], {"TOKEN": "secret"})
            door.clock.advance(1.5)
            ending.callback("id")
            door.fault("no\nsuch method")
        calls = [event for event in events if "outcome" in event]
        self.assertEqual(
            [(event["method"], event["outcome"], event["duration_s"]) for event in calls],
            [("'runCmd'", "answered", 1.5), (r"'no\nsuch method'", "NO_SUCH_METHOD", 0.0)],
        )
        self.assertEqual({event["log_level"] for event in calls}, {LogLevel.debug})
        self.assertIn("127.0.0.1", calls[0]["client"])
        self.assertNotIn("secret", repr(events))
