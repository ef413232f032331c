"""Waiting for events, and the copy of them that monitors hear."""

from __future__ import annotations

import json

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import NotConnected
from vmcontroller.host.events.events import TEXT_CHARS, Events
from vmcontroller.host.events.log import Kind, Wanted

ALL = Wanted()


class EventsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.published: list[dict] = []
        self.events = Events(
            clock=self.clock,
            wall_s=lambda: 1000.0 + self.clock.seconds(),
            publish=lambda body: self.published.append(json.loads(body)),
            host="here",
            kept=10,
        )

    def wait(self, since: int = -1, timeout_s: float = 60, wanted: Wanted = ALL) -> Deferred:
        return Deferred.fromCoroutine(self.events.wait(since, timeout_s, wanted))

    def kinds(self, waiting: Deferred) -> list[str]:
        return [event.kind.value for event in self.successResultOf(waiting).events]

    def turn(self) -> None:
        self.clock.advance(0)

    def test_woken_at_once(self) -> None:
        """Who waits is answered in the next turn, with all of this one; nothing polls."""
        waiting = [self.wait() for _ in range(500)]
        self.turn()
        self.events.note(Kind.VM_ADDED, "vm", "uuid", state="PoweredOff")
        self.events.note(Kind.VM_STATE, "vm", "uuid", state="Running", before="PoweredOff")
        self.assertNoResult(waiting[0])
        self.turn()
        for each in waiting:
            self.assertEqual(self.kinds(each), ["vm-added", "vm-state"])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_only_what_is_wanted(self) -> None:
        """A filter is not woken by others, however many, and then nothing is lost to it."""
        waiting = self.wait(wanted=Wanted(kinds=("agent-*",), vms=("b*",)))
        for _ in range(50):  # more than the log keeps
            self.events.note(Kind.AGENT_UP, "a")
            self.events.note(Kind.VM_STATE, "b")
            self.turn()
        self.assertNoResult(waiting)
        self.events.note(Kind.AGENT_GONE, "b", reason="off")
        self.turn()
        page = self.successResultOf(waiting)
        self.assertEqual(([each.vm for each in page.events], page.lost), (["b"], False))

    def test_from_now_on(self) -> None:
        """-1 is not answered with what had happened, even in the same turn."""
        self.events.note(Kind.VM_ADDED, "before")
        waiting = self.wait()
        self.turn()
        self.assertNoResult(waiting)
        self.events.note(Kind.VM_ADDED, "after")
        self.turn()
        self.assertEqual([each.vm for each in self.successResultOf(waiting).events], ["after"])

    def test_time_passes(self) -> None:
        """An empty answer comes when the time has passed, and leads on without a gap."""
        waiting = self.wait(timeout_s=5)
        self.clock.advance(4.9)
        self.assertNoResult(waiting)
        self.clock.advance(0.1)
        page = self.successResultOf(waiting)
        self.assertEqual((page.events, page.lost), ((), False))
        self.events.note(Kind.ACTION)
        self.assertEqual(self.kinds(self.wait(page.next, 0)), ["action"])

    def test_slow_reader(self) -> None:
        """Who asks too late is told so at once, with what is kept."""
        begin = self.successResultOf(self.wait(timeout_s=0)).next
        for _ in range(11):
            self.events.note(Kind.ACTION)
        page = self.successResultOf(self.wait(begin))
        self.assertEqual((page.lost, len(page.events)), (True, 10))
        page = self.successResultOf(self.wait(0, wanted=Wanted(kinds=("vm-*",))))
        self.assertEqual((page.lost, page.events), (True, ()))

    def test_client_hangs_up(self) -> None:
        """A wait that is cancelled leaves nothing behind."""
        waiting = self.wait()
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.events.note(Kind.ACTION)
        self.turn()

    def test_end_of_the_daemon(self) -> None:
        """At the end all who wait are let go, and monitors hear what was not told yet."""
        waiting = self.wait(wanted=Wanted(kinds=("vm-*",)))
        self.events.end_waits()
        self.failureResultOf(waiting, NotConnected)
        self.events.note(Kind.TASK_ENDED, id="t")
        self.events.stop()
        self.assertEqual([each["kind"] for each in self.published], ["task-ended"])
        self.failureResultOf(self.wait(), NotConnected)
        self.events.note(Kind.ACTION)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_published(self) -> None:
        """A monitor gets what waitEvents answers, and which host it is of."""
        waiting = self.wait()
        self.events.note(Kind.ACTION, "vm", "uuid", what="throttled", percent=50.0)
        self.turn()
        [told] = self.published
        self.assertEqual(told.pop("host"), "here")
        self.assertEqual([told], self.successResultOf(waiting).answer()["events"])

    def test_long_texts(self) -> None:
        """What a guest wrote does not fill the log, and every text can be sent."""
        self.events.note(Kind.AGENT_UP, "vm", version="\ud800" + "x" * 10**6)
        self.turn()
        self.assertEqual(len(self.published[0]["detail"]["version"]), TEXT_CHARS)

    def test_broker_away(self) -> None:
        """Without a broker, or with one that fails, callers are answered all the same."""
        for error in (NotConnected("away"), RuntimeError("a bug")):

            def publish(_body: bytes, error: Exception = error) -> None:
                raise error

            self.events = Events(clock=self.clock, wall_s=lambda: 1.0, publish=publish)
            waiting = self.wait()
            self.events.note(Kind.ACTION)
            self.turn()
            self.assertEqual(self.kinds(waiting), ["action"])
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
