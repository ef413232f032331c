"""The numbered log: what is kept, what is lost, and which events a filter lets through."""

from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.events.log import PAGE, Event, EventLog, Kind, Wanted, kinds_of

ALL = Wanted()


def log_of(count: int, *, begins_s: float = 100.0, kept: int = 10) -> EventLog:
    log = EventLog(begins_s, kept=kept)
    for number in range(count):
        log.add(1.0, Kind.ACTION, f"vm {number}", "", {"n": number})
    return log


class LogTests(SynchronousTestCase):
    def test_goes_on_without_gap(self) -> None:
        """Whoever passes `next` on sees every event once, in order."""
        log = log_of(3)
        page = log.page(log.oldest, ALL)
        self.assertEqual([event.detail["n"] for event in page.events], [0, 1, 2])
        self.assertFalse(page.lost)
        log.add(1.0, Kind.ACTION, "vm 3", "", {"n": 3})
        page = log.page(page.next, ALL)
        self.assertEqual([event.detail["n"] for event in page.events], [3])
        self.assertEqual(log.page(page.next, ALL).events, ())

    def test_too_late(self) -> None:
        """An event that has been dropped is said to be lost; what is kept still comes."""
        log = log_of(12)
        first = int(100.0 * 1e6)
        page = log.page(first + 1, ALL)
        self.assertTrue(page.lost)
        self.assertEqual([event.detail["n"] for event in page.events], list(range(2, 12)))
        self.assertFalse(log.page(first + 2, ALL).lost)

    def test_restart(self) -> None:
        """Numbers of a later daemon are higher: a `since` of before it is lost, never wrong."""
        before, after = log_of(5, begins_s=100.0), log_of(2, begins_s=100.5)
        self.assertGreater(after.oldest, before.next)
        self.assertTrue(after.page(before.next, ALL).lost)

    def test_clock_set_back(self) -> None:
        """A number that is still to come is another log's: it is lost, and not waited for."""
        before, after = log_of(5, begins_s=100.0), log_of(2, begins_s=50.0)
        page = after.page(before.next, ALL)
        self.assertEqual((page.lost, page.events, page.next), (True, (), after.next))

    def test_pages(self) -> None:
        """An answer ends at a page, and `next` leads to the rest."""
        log = log_of(PAGE + 5, kept=2 * PAGE)
        first = log.page(log.oldest, ALL)
        second = log.page(first.next, ALL)
        self.assertEqual((len(first.events), len(second.events)), (PAGE, 5))
        self.assertEqual(second.events[0].number, first.events[-1].number + 1)

    def test_next_passes_over_others(self) -> None:
        """What does not match is not looked at again."""
        log = log_of(5)
        page = log.page(log.oldest, Wanted(kinds=("vm-*",)))
        self.assertEqual((page.events, page.next), ((), log.next))

    @given(st.integers(1, 30), st.integers(0, 60), st.integers(-5, 70))
    def test_what_is_kept(self, kept: int, count: int, offset: int) -> None:
        """For every size of the log and every question, the answer is that of a whole history."""
        log = log_of(count, kept=kept)
        first = int(100.0 * 1e6)
        page = log.page(first + offset, ALL)
        numbers = [event.detail["n"] for event in page.events]
        self.assertEqual(numbers, [n for n in range(max(0, count - kept), count) if n >= offset])
        self.assertEqual(page.lost, offset > count or offset < max(0, count - kept))


class WantedTests(SynchronousTestCase):
    @given(
        st.lists(st.sampled_from(("vm-*", "*", "agent-??", "action", "*-ended")), max_size=3),
        st.lists(st.text("ab*?[]!-", min_size=1, max_size=5), max_size=3),
        st.sampled_from(Kind),
        st.text("ab-[]", max_size=4),
    )
    def test_globs(self, kinds, vms, kind, vm) -> None:
        """A filter is what fnmatch says of each glob; an empty one lets everything through."""
        event = Event(number=1, at=0.0, kind=kind, vm=vm)
        expected = (not kinds or any(fnmatchcase(kind.value, glob) for glob in kinds)) and (
            not vms or any(fnmatchcase(vm, glob) for glob in vms)
        )
        self.assertEqual(Wanted(kinds=tuple(kinds), vms=tuple(vms)).matches(event), expected)

    def test_kinds(self) -> None:
        """A pattern of kinds is known to match some, or none."""
        self.assertEqual(kinds_of(("agent-*",)), {Kind.AGENT_UP, Kind.AGENT_GONE})
        self.assertEqual(kinds_of(("vm-sate",)), frozenset())
