"""What of copies is on the disk, and what is told of those that are over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.common.copying_wire import GUEST, OTHER, at_once, facts
from vmcontroller.common.errors import NoSuchTransfer
from vmcontroller.host.transfers.ledger import Ledger
from vmcontroller.host.transfers.meter import SPAN_S, Meter, estimate_s
from vmcontroller.host.transfers.past import KEPT_MOST, TOLD_MOST, Past
from vmcontroller.host.transfers.request import CopyRequest, Direction, Entry, Record, State
from vmcontroller.host.transfers.roots import AllowedRoots
from vmcontroller.host.transfers.world import World

REQUEST = CopyRequest(
    direction=Direction.FROM_VM,
    vm_name="vm",
    vm_uuid="uuid",
    guest=GUEST,
    protocol=3,
    local_path="here",
    remote_path="/there",
)


def entry(transfer_id="a" * 32, **changes):
    made = Entry(
        transfer_id=transfer_id,
        request=REQUEST,
        facts=facts(5),
        target="/there",
        temporary="",
        started_s=1.0,
        noted_s=2.0,
    )
    return replace(made, **changes)


class LedgerCase(SynchronousTestCase):
    def setUp(self):
        self.folder = Path(self.mktemp()).absolute()
        self.ledger = Ledger(self.folder)
        self.ledger.read()
        self.clock = Clock()
        self.past = self.new_past()

    def new_past(self):
        world = World(
            clock=self.clock,
            wall_s=lambda: self.clock.seconds() + 100,
            in_thread=at_once,
            say=lambda guest, word: None,
            writable=lambda guest: succeed(None),
            bulk=None,
            ask_for_hello=lambda guest: None,
            roots=AllowedRoots(["/"]).of,
            ledger=self.ledger,
            resume_grace_s=1.0,
        )
        past = Past(world)
        past.open()
        return past

    def interrupt(self, made):
        self.ledger.write(made)
        self.past.add(made.record(), made)


class TestLedger(LedgerCase):
    @settings(max_examples=50, deadline=None)
    @given(path=st.text(max_size=50), size=st.integers(0, 2**63 - 1), owner=st.booleans())
    def test_comes_back(self, path, size, owner):
        """What was noted is read as it was, whatever the names."""
        request = replace(REQUEST, local_path=path, owner=owner, direction=Direction.TO_VM)
        made = entry(request=request, facts=replace(facts(size), data_bytes=None, owner=path[:9]))
        self.ledger.write(made)
        self.assertEqual(self.ledger.read(), [made])

    def test_what_is_none(self):
        """Half a note, another version's and what else lies there does not keep the daemon down."""
        self.ledger.write(entry())
        for name, text in {
            "half.half": "{",
            "empty.json": "",
            "list.json": "[]",
            "other.json": '{"request": {}}',
            "b.txt": "",
        }.items():
            (self.folder / name).write_text(text)
        self.assertEqual(self.ledger.read(), [entry()])
        self.assertEqual(len(list(self.folder.iterdir())), 1)

    def test_no_folder(self):
        """A disk that takes no note costs the note, not the copy."""
        for note in self.folder.iterdir():
            note.unlink()
        self.folder.rmdir()
        self.ledger.write(entry())
        self.ledger.drop("none")
        self.assertEqual(self.ledger.read(), [])

    def test_clear(self):
        """The temporary file goes with its note; what has another name stays."""
        transfer_id = "a" * 32
        temporary = self.folder / f".f.vmcontroller-{transfer_id}"
        precious = self.folder.with_name("precious")
        for path in (temporary, precious):
            path.write_bytes(b"x")
            self.ledger.clear(entry(temporary=str(path)))
        self.assertFalse(temporary.exists())
        self.assertTrue(precious.exists())


class TestPast(LedgerCase):
    def test_taken_once(self):
        """The same call takes up what is kept: the same VM, paths and options, no other."""
        self.interrupt(entry())
        for other in (
            replace(REQUEST, vm_uuid="other"),
            replace(REQUEST, local_path="elsewhere"),
            replace(REQUEST, remote_path="/elsewhere"),
            replace(REQUEST, direction=Direction.TO_VM),
            replace(REQUEST, owner=True),
            replace(REQUEST, recursive=True),
            replace(REQUEST, guest=OTHER),
            replace(REQUEST, protocol=2),
            replace(REQUEST, roles=("files",)),
        ):
            self.assertIsNone(self.past.take(other))
        renamed = replace(REQUEST, vm_name="renamed")
        self.assertEqual(self.past.take(renamed), entry())
        self.assertIsNone(self.past.take(REQUEST))
        self.assertRaises(NoSuchTransfer, self.past.record, "a" * 32)

    def test_over_a_restart(self):
        """The next daemon knows the interrupted."""
        self.interrupt(entry())
        past = self.new_past()
        self.assertEqual([record.state for record in past.records()], [State.INTERRUPTED])
        self.assertEqual(past.take(REQUEST), entry())

    def test_bounds(self):
        """A guest can't make the host keep more and more, nor tell of it for ever."""
        for number in range(KEPT_MOST + 3):
            request = replace(REQUEST, local_path=str(number))
            self.interrupt(entry(f"{number:032x}", request=request))
        self.successResultOf(Deferred.fromCoroutine(self.past.expire()))
        self.assertEqual(len(self.past.records()), KEPT_MOST)
        self.assertEqual(len(self.ledger.read()), KEPT_MOST)
        for number in range(TOLD_MOST + 5):
            done = Record(transfer_id=f"d{number}", request=REQUEST, state=State.DONE)
            self.past.add(done, None)
        self.assertEqual(len(self.past.records()), KEPT_MOST + TOLD_MOST)


class TestMeter(SynchronousTestCase):
    @given(st.lists(st.tuples(st.floats(0, 10), st.integers(-1000, 10**9)), max_size=50))
    def test_never_odd(self, steps):
        """Whatever comes, a rate is no less than nothing, and finite."""
        meter, now, done = Meter(), 0.0, 0
        for passed, more in steps:
            now, done = now + passed, max(0, done + more)
            meter.note(now, done)
            rate = meter.rate(now, done)
            self.assertGreaterEqual(rate, 0)
            self.assertLess(rate, float("inf"))
            self.assertGreaterEqual(estimate_s(10**12 - done, rate), -1)

    def test_of_the_last_seconds(self):
        """A copy that was fast long ago and is slow now is slow."""
        meter = Meter()
        for second in range(100):
            meter.note(second, second * 10**6)
        self.assertAlmostEqual(meter.rate(99, 99 * 10**6), 10**6)
        for second in range(100, 120):
            meter.note(second, 99 * 10**6 + second)
        self.assertLess(meter.rate(119, 99 * 10**6 + 119), 100)
        self.assertLess(meter.rate(119 + 10 * SPAN_S, 99 * 10**6 + 119), 1)
        self.assertEqual(estimate_s(5, 0.0), -1)
        self.assertEqual(estimate_s(0, 0.0), 0)
