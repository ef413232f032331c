"""POST /RPC2: a request body in, a response body out. What a call does is not known here."""

# Twisted's web server has no annotations.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredSemaphore,
    maybeDeferred,
)
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import pages
from twisted.web.http import NOT_ALLOWED, UNSUPPORTED_MEDIA_TYPE
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from typing_extensions import override

from vmcontroller.common.background import in_background
from vmcontroller.common.errors import Busy
from vmcontroller.host.callers import Caller
from vmcontroller.host.xmlrpc.dispatch import Dispatcher
from vmcontroller.host.xmlrpc.gate import Gate
from vmcontroller.host.xmlrpc.head import headers_of, wrong_content
from vmcontroller.host.xmlrpc.limits import BoundedSite
from vmcontroller.host.xmlrpc.marshal import is_large, read_call, write_answer, write_fault

LARGE_BYTES: Final = 256 * 1024
"""Bodies beyond this are parsed and written in a thread: 27 MB took 1.4 s (peers.md)."""
LARGE_AT_ONCE: Final = 2
"""16 MiB of XML may take ten times as much while they are parsed."""

T = TypeVar("T")


class Aside(Protocol):
    """Does work where it doesn't hold up the reactor."""

    def __call__(self, work: Callable[[], T]) -> Deferred[T]:
        """Fire with what `work` returns or raises."""
        ...


class Bare(Resource):
    """A resource below which there is nothing but its children."""

    @override
    def getChild(self, path: bytes, request: Request) -> IResource:
        """Answer 404."""
        return pages.notFound()


class CallResource(Bare):
    """The one resource of the API."""

    _log = Logger()

    def __init__(
        self,
        dispatcher: Dispatcher,
        clock: IReactorTime,
        aside: Aside,
        caller_of: Callable[[Any], Caller],
        calls: Calls,
    ) -> None:
        """`caller_of` returns who makes a request, as the gate has found; `calls` counts."""
        super().__init__()
        self._dispatcher = dispatcher
        self._clock = clock
        self._aside = aside
        self._caller_of = caller_of
        self._calls = calls
        self._large: Any = DeferredSemaphore(LARGE_AT_ONCE)

    @override
    def render(self, request: Request) -> bytes | int:
        """Begin a call, or say which HTTP rule the request breaks."""
        if request.method != b"POST":
            request.setHeader(b"Allow", b"POST")
            return _refusal(request, NOT_ALLOWED, "Only POST is allowed here.")
        if problem := wrong_content(headers_of(request)):
            return _refusal(request, UNSUPPORTED_MEDIA_TYPE, problem)
        content: Any = request.content
        exchange = _Exchange(request, self._caller_of(request))
        answering = self._respond(exchange, content.read())
        _ = in_background(answering, "answering a call")
        return NOT_DONE_YET

    async def _respond(self, exchange: _Exchange, body: bytes) -> None:
        began_s = self._clock.seconds()
        name, outcome = "?", "answered"
        try:
            with self._calls.one_of(exchange.caller):
                name, params = await self._maybe_aside(
                    partial(read_call, body), large=len(body) > LARGE_BYTES
                )
                value = await self._call(exchange, name, params)
            response = await self._maybe_aside(
                partial(write_answer, value), large=is_large(value, LARGE_BYTES)
            )
        except Exception as error:  # noqa: BLE001 - a call may fail, the daemon does not
            if exchange.given_up and isinstance(error, CancelledError):
                return
            fault = self._dispatcher.fault_of(error, name)
            outcome = fault.faultString.partition(":")[0]
            response = write_fault(fault)
        self._log.debug(
            "{method} from {client}: {outcome} after {duration_s:.3f} s",
            method=repr(name[:100]),
            client=f"{exchange.caller.name} at {exchange.caller.address}",
            outcome=outcome,
            duration_s=self._clock.seconds() - began_s,
        )
        exchange.answer(response)

    def _call(self, exchange: _Exchange, name: str, params: Sequence[object]) -> Deferred[object]:
        call = Deferred.fromCoroutine(self._dispatcher.call(exchange.caller, name, params))
        if self._dispatcher.only_waits(name):
            exchange.waiting = call
        return call

    def _maybe_aside(self, work: Callable[[], T], *, large: bool) -> Deferred[T]:
        if large:
            aside: Deferred[T] = self._large.run(self._aside, work)
            return aside
        return maybeDeferred(work)


class Calls:
    """How many calls each client has under way."""

    def __init__(self, most_of_one: int) -> None:
        self._most_of_one = most_of_one
        self._under_way: Counter[str] = Counter()

    @contextlib.contextmanager
    def one_of(self, caller: Caller) -> Iterator[None]:
        """Count one more for as long as it takes; raises Busy where there are too many."""
        key = caller.key
        if self._under_way[key] >= self._most_of_one:
            raise Busy(
                f"{self._most_of_one} calls of {caller.name!r} are under way, which is the most "
                "that one client may have (xmlrpc.max_calls_per_client)"
            )
        self._under_way[key] += 1
        try:
            yield
        finally:
            self._under_way[key] -= 1
            if not self._under_way[key]:
                del self._under_way[key]


class _Exchange:
    """A request that waits for its answer, until its client hangs up."""

    def __init__(self, request: Request, caller: Caller) -> None:
        self._request = request
        self.caller = caller
        self.given_up = False
        self.waiting: Deferred[object] | None = None
        """To be cancelled when nobody waits for it any more."""
        _ = request.notifyFinish().addErrback(self._hung_up)

    def answer(self, body: bytes) -> None:
        if self.given_up:
            return
        self._request.setHeader(b"Content-Type", b"text/xml; charset=utf-8")
        self._request.setHeader(b"Content-Length", b"%d" % len(body))
        self._request.write(body)
        self._request.finish()

    def _hung_up(self, _reason: Failure) -> None:
        self.given_up = True
        if self.waiting is not None:
            self.waiting.cancel()


def _refusal(request: Request, code: int, text: str) -> bytes:
    request.setResponseCode(code)
    request.setHeader(b"Content-Type", b"text/plain")
    return f"{text}\n".encode()


def site(
    dispatcher: Dispatcher, reactor: Any, gate: Gate, *, connections: int, calls: Calls
) -> BoundedSite:
    """Make what a listening port serves: the API at /RPC2, within the bounds of `limits`.

    `reactor` gives time (IReactorTime) and threads (IReactorThreads). `calls` and `dispatcher` may
    be shared by several.
    """

    def aside(work: Callable[[], T]) -> Deferred[T]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), work)

    def caller_of(request: Any) -> Caller:
        caller: Caller = request.caller
        assert caller is not None, "the gate has admitted it"
        return caller

    root = Bare()
    root.putChild(b"RPC2", CallResource(dispatcher, reactor, aside, caller_of, calls))
    return BoundedSite(root, reactor, gate, connections=connections)
