"""waitEvents as callers have it: what it takes, and what it refuses."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import BadArgument
from vmcontroller.host.callers import READ, Caller
from vmcontroller.host.events.events import Events
from vmcontroller.host.events.log import Kind
from vmcontroller.host.operations.events import EventOperations
from vmcontroller.host.xmlrpc.dispatch import Dispatcher

READER = Caller(name="reader", roles=frozenset({READ}))
NOW_S = 1_800_000_000.0


class EventMethodsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.events = Events(clock=self.clock, wall_s=lambda: NOW_S)
        self.dispatcher = Dispatcher(EventOperations(event_log=self.events))

    def begin(self, *params) -> Deferred:
        return Deferred.fromCoroutine(self.dispatcher.call(READER, "waitEvents", params))

    def test_answer(self) -> None:
        """The answer is what the API says, and `next` can be passed on as it came, a double."""
        begin = self.successResultOf(self.begin(-1, 0))["next"]
        self.events.note(Kind.VM_STATE, "one", "u1", state="Running", before="Paused")
        answer = self.successResultOf(self.begin(float(begin)))
        event = {
            "number": begin,
            "at": NOW_S,
            "kind": "vm-state",
            "vm": "one",
            "uuid": "u1",
            "detail": {"state": "Running", "before": "Paused"},
        }
        self.assertEqual(answer, {"events": [event], "next": begin + 1, "lost": False})
        self.assertEqual(float(answer["next"]), answer["next"], "a double holds it exactly")

    def test_filter(self) -> None:
        """A filter of kinds and names lets only those through."""
        waiting = self.begin(-1, 60, {"kinds": ["agent-*"], "vms": ["worker *"]})
        self.events.note(Kind.AGENT_UP, "other")
        self.events.note(Kind.VM_ADDED, "worker 1")
        self.clock.advance(0)
        self.assertNoResult(waiting)
        self.events.note(Kind.AGENT_UP, "worker 1")
        self.clock.advance(0)
        [event] = self.successResultOf(waiting)["events"]
        self.assertEqual((event["kind"], event["vm"]), ("agent-up", "worker 1"))

    def test_refused(self) -> None:
        """What would wait for ever, or is no filter, is refused by its name."""
        for params, name in (
            ((-2,), "since"),
            ((1.5,), "since"),
            ((-1, -1), "timeout"),
            ((-1, 1, {"kinds": ["vm-sate"]}), "filter.kinds[0]"),
            ((-1, 1, {"kinds": "vm-state"}), "filter.kinds"),
            ((-1, 1, {"kinds": [7]}), "filter.kinds[0]"),
            ((-1, 1, {"vms": [""]}), "filter.vms[0]"),
            ((-1, 1, {"vms": ["x"] * 101}), "filter.vms"),
            ((-1, 1, {"vm": ["x"]}), "filter"),
        ):
            error = self.failureResultOf(self.begin(*params), BadArgument).value
            self.assertEqual(error.name, name)

    def test_only_waits(self) -> None:
        """A client that hangs up ends its wait."""
        self.assertTrue(self.dispatcher.only_waits("waitEvents"))
        self.assertTrue(self.dispatcher.only_waits("waitTask"))
        self.assertFalse(self.dispatcher.only_waits("submit"))
