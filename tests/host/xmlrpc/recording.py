"""Operations that only write down how they were called, and answer what a test gave them."""

import inspect
from dataclasses import replace
from xmlrpc.client import Fault, dumps, loads

from treq.testing import StubTreq
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock

from vmcontroller.host.callers import ANYONE
from vmcontroller.host.xmlrpc.dispatch import Dispatcher
from vmcontroller.host.xmlrpc.gate import Peer
from vmcontroller.host.xmlrpc.operations_protocol import Operations
from vmcontroller.host.xmlrpc.resource import Bare, CallResource, Calls

XML = {"Content-Type": "text/xml"}


class RecordingOperations:
    """Every coroutine of the Operations protocol, with the protocol's own parameters."""

    def __init__(self):
        self.calls = []
        self.answers = {}
        """By name: a value to answer, an exception to raise, or a Deferred to wait for."""

    def __getattr__(self, name):
        signature = inspect.signature(vars(Operations)[name])

        async def operation(*args):
            signature.bind(self, *args)
            self.calls.append((name, *args))
            answer = self.answers.get(name, True)
            if isinstance(answer, Exception):
                raise answer
            return await answer if isinstance(answer, Deferred) else answer

        return operation


class RecordedAudit:
    """An audit log in memory."""

    def __init__(self):
        self.lines = []
        """Of each call that has ended: who, method, arguments, result."""

    def begins(self, caller, method, said):
        lines = self.lines

        class Call:
            def ends(self, result):
                lines.append((caller.name, method, said, result))

        return Call()


class OpenGate:
    """Lets everybody in, as `anonymous: true` does."""

    caller = ANYONE

    def peer_of(self, transport):
        return Peer(key="client", address="client:1")

    def admit(self, head, peer, transport):
        return self.caller


class InMemoryDoor:
    """A real HTTP client on the real resource, without a port and without a thread."""

    def __init__(self):
        self.operations = RecordingOperations()
        self.clock = Clock()
        self.aside = []
        """What was given to a thread."""
        root = Bare()
        self.caller = replace(ANYONE, address="127.0.0.1:1")
        """Who makes the calls."""
        self.audited = RecordedAudit()
        root.putChild(
            b"RPC2",
            CallResource(
                Dispatcher(self.operations, self.audited),
                self.clock,
                self._in_thread,
                lambda _request: self.caller,
                Calls(most_of_one=3),
            ),
        )
        self.http = StubTreq(root)

    def _in_thread(self, work):
        self.aside.append(work)
        return maybeDeferred(work)

    def begin(self, method, *params):
        """Send a call; return the Deferred of its HTTP response."""
        body = dumps(params, method, allow_none=True).encode()
        return self.http.post("http://host/RPC2", data=body, headers=XML)

    def body_of(self, response):
        """Return the body of a response that is there."""
        found = []
        self.http.content(response).addCallback(found.append)
        self.http.flush()
        return found[0]

    def post(self, body, headers=XML, path="/RPC2"):
        """Send a body that is answered at once; return the response and its body."""
        responses = []
        self.http.post(f"http://host{path}", data=body, headers=headers).addCallback(
            responses.append
        )
        self.http.flush()
        return responses[0], self.body_of(responses[0])

    def call(self, method, *params):
        """Call as xmlrpc.client would; raises its Fault."""
        _, body = self.post(dumps(params, method, allow_none=True).encode())
        (answer,), _ = loads(body)
        return answer

    def fault(self, method, *params):
        """Call what must fail; return the Fault."""
        try:
            answer = self.call(method, *params)
        except Fault as fault:
            return fault
        raise AssertionError(f"{method} answered {answer!r}")
