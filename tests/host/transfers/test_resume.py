"""Copies that break off and go on: cuts at any word, restarts of either end, holes and lies."""

from __future__ import annotations

import itertools
import os
import random
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from tests.common.copying_wire import GUEST, facts, sha256
from tests.host.transfers.test_transfers import WireCase
from tests.host.transfers.test_transfers_hostile import say
from vmcontroller.common.copying.incoming import WINDOW_BYTES
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.errors import DeadlinePassed, NoSuchTransfer, TransferFailed
from vmcontroller.common.words.files import FileData, FileEnd, FileFailed, FileHole, FileReady
from vmcontroller.host.transfers.request import State
from vmcontroller.host.transfers.transfers import AT_ONCE
from vmcontroller.host.transfers.world import NOTED_BYTES

MIB = 2**20
SIZE = 10 * MIB
CONTENT = random.Random("resume").randbytes(SIZE)


class ResumeCase(WireCase):
    def setUp(self):
        super().setUp()
        for directory in (self.wire.exchange, self.wire.home):
            (directory / "f").write_bytes(CONTENT)

    def tearDown(self):
        self.wire.give_up()
        super().tearDown()

    def begin(self, putting, **options):
        copy = self.wire.put if putting else self.wire.get
        return copy("f", "copy", **options)

    def target(self, putting):
        return (self.wire.home if putting else self.wire.exchange) / "copy"

    def sent_bytes(self):
        return sum(len(word.data) for word in self.wire.spoken if isinstance(word, FileData))

    def only(self):
        """The one copy there is."""
        (record,) = self.wire.transfers.records()
        return record

    def assert_whole(self, result, putting):
        self.successResultOf(result)
        self.assertEqual(self.target(putting).read_bytes(), CONTENT)
        self.assert_nothing_left()


class TestGoingOn(ResumeCase):
    def test_cut_and_back(self):
        """A copy waits for its guest, goes on where it was, and sends nothing twice."""
        for putting in (True, False):
            result = self.begin(putting)
            self.wire.pump(40)
            self.wire.break_off()
            self.assertNoResult(result)
            self.assertEqual(self.wire.transfers.records()[-1].state, State.WAITING)
            self.wire.connect_anew()
            self.wire.pump()
            self.assert_whole(result, putting)
            self.assertEqual(self.wire.transfers.records()[-1].resumed, 1)
            self.target(putting).unlink()
        self.assertLess(self.sent_bytes(), 2 * SIZE + 2 * WINDOW_BYTES)

    def test_same_id(self):
        """It goes on under the id that it had, and both ends check that they have the same."""
        result = self.begin(putting=True)
        self.wire.pump(40)
        self.wire.break_off()
        self.wire.connect_anew()
        self.wire.pump()
        self.successResultOf(result)
        first, second = (word for word in self.wire.spoken if word.NAME == "FILE_PUT")
        self.assertEqual((first.transfer_id, first.resume), (second.transfer_id, False))
        self.assertTrue(second.resume)
        ready = [word for word in self.wire.spoken if word.NAME == "FILE_READY"][-1]
        self.assertEqual(ready.have_sha256, sha256(CONTENT[: ready.have_bytes]))
        self.assertGreater(ready.have_bytes, 0)

    def test_agent_killed(self):
        """A new agent finds what the old one wrote, and the host goes on from there."""
        result = self.begin(putting=True)
        self.wire.pump(40)
        self.wire.kill_guest()
        self.wire.connect_anew()
        self.wire.pump()
        self.successResultOf(result)
        self.assertEqual(self.target(putting=True).read_bytes(), CONTENT)
        self.assertEqual(self.wire.leftovers(), [])
        self.assertLess(self.sent_bytes(), SIZE + 2 * WINDOW_BYTES)

    def test_host_killed(self):
        """The same call to a new daemon goes on with what the old one has left."""
        for putting in (True, False):
            before = self.sent_bytes()
            self.begin(putting)
            self.wire.pump(40)
            transfer_id = self.wire.transfers.records()[-1].transfer_id
            self.wire.kill_host()
            record = self.wire.transfers.record(transfer_id)
            self.assertEqual((record.state, record.size_bytes), (State.INTERRUPTED, SIZE))
            self.wire.connect_anew()
            result = self.begin(putting)
            self.wire.pump()
            self.successResultOf(result)
            self.assertEqual(self.target(putting).read_bytes(), CONTENT)
            self.assertEqual(self.wire.leftovers(), [])
            self.assertEqual(self.wire.kept(), [])
            record = self.wire.transfers.record(transfer_id)
            self.assertEqual((record.state, record.resumed), (State.DONE, 1))
            self.assertLess(self.sent_bytes() - before, SIZE + 2 * WINDOW_BYTES)

    def test_source_changed_meanwhile(self):
        """A file that is another by now is copied as it is now, none as a bit of either."""
        changes = (
            lambda content: content[:-1] + b"x",
            lambda content: b"x" + content,
            lambda content: content + b"x",
            lambda content: content[:7],
        )
        for putting, change in itertools.product((True, False), changes):
            result = self.begin(putting)
            self.wire.pump(40)
            self.wire.break_off()
            source = (self.wire.exchange if putting else self.wire.home) / "f"
            source.write_bytes(change(CONTENT))
            os.utime(source, ns=(5, 5))
            self.wire.connect_anew()
            self.wire.pump()
            self.successResultOf(result)
            self.assertEqual(self.target(putting).read_bytes(), change(CONTENT))
            self.assertEqual(self.target(putting).stat().st_mtime_ns, 5)
            self.assert_nothing_left()
            source.write_bytes(CONTENT)

    def test_other_bytes_in_the_part(self):
        """A part that is not what the source begins with is thrown away, and all comes anew."""
        result = self.begin(putting=True)
        self.wire.pump(40)
        self.wire.kill_guest()
        (temporary,) = self.wire.leftovers()
        with temporary.open("r+b") as file:
            file.write(b"spoilt")
        self.wire.connect_anew()
        self.wire.pump()
        self.successResultOf(result)
        self.assertEqual(self.target(putting=True).read_bytes(), CONTENT)

    def test_refused_when_asked_again(self):
        """What an earlier daemon left goes with the call that may not go on with it."""
        self.begin(putting=False)
        self.wire.pump(40)
        self.wire.kill_host()
        self.wire.connect_anew()
        (temporary,) = self.wire.leftovers()
        (self.wire.exchange / "copy").mkdir()
        (self.wire.exchange / "copy" / "f").mkdir()
        self.failureResultOf(self.begin(putting=False), TransferFailed)
        self.assertFalse(temporary.exists())
        self.assertEqual(list(self.wire.ledger.iterdir()), [])

    def test_only_done_was_lost(self):
        """A file that is in place is not sent again because nobody heard so."""
        result = self.begin(putting=True)
        while "FILE_DONE" not in self.wire.names():
            self.wire.pump(1)
        self.wire.break_off()
        self.wire.connect_anew()
        self.wire.pump()
        self.assert_whole(result, putting=True)
        self.assertEqual(self.sent_bytes(), SIZE)

    def test_never_back(self):
        """After the grace the call fails as it broke off; a later call goes on even then."""
        for putting in (True, False):
            result = self.begin(putting)
            self.wire.pump(40)
            self.wire.break_off()
            self.wire.clock.advance(299)
            self.assertNoResult(result)
            self.wire.clock.advance(2)
            failure = self.failureResultOf(result, TransferFailed)
            self.assertEqual(failure.value.reason, Reason.CONNECTION_LOST)
            self.assertEqual(self.wire.transfers.records()[-1].state, State.INTERRUPTED)
            self.wire.connect_anew()
            again = self.begin(putting)
            self.wire.pump()
            self.assert_whole(again, putting)

    def test_silent_guest_is_asked(self):
        """A guest that says nothing more is asked for its HELLO, and gone on with."""
        result = self.begin(putting=True)
        self.wire.pump(40)
        self.wire.queue.clear()
        self.wire.clock.advance(61)
        self.assertGreater(self.wire.asked, 0)
        self.wire.clock.advance(1)
        self.wire.transfers.guest_there(GUEST, anew=False)
        self.wire.pump()
        self.assert_whole(result, putting=True)

    def test_hello_on_the_same_connection(self):
        """A HELLO by the connection that there is does not disturb a copy."""
        result = self.begin(putting=True)
        self.wire.pump(40)
        self.wire.transfers.guest_there(GUEST, anew=False)
        self.wire.pump()
        self.assert_whole(result, putting=True)
        self.assertEqual(self.only().resumed, 0)

    def test_agent_stops(self):
        """An agent that is stopped, say for its update, keeps what it has for the next one."""
        result = self.begin(putting=True)
        self.wire.pump(40)
        self.successResultOf(Deferred.fromCoroutine(self.wire.guest.stop()))
        self.wire.pump()
        self.assertEqual(self.only().state, State.WAITING)
        self.wire.new_guest()
        self.wire.connect_anew()
        self.wire.clock.advance(1)
        self.wire.pump()
        self.assert_whole(result, putting=True)
        self.assertLess(self.sent_bytes(), SIZE + 2 * WINDOW_BYTES)

    def test_daemon_stops(self):
        """A daemon that stops keeps what it has; the same call to the next one goes on."""
        for putting in (True, False):
            result = self.begin(putting)
            self.wire.pump(40)
            self.successResultOf(Deferred.fromCoroutine(self.wire.transfers.stop()))
            failure = self.failureResultOf(result, TransferFailed)
            self.assertEqual(failure.value.reason, Reason.CONNECTION_LOST)
            self.wire.pump()
            self.wire.new_host()
            again = self.begin(putting)
            self.wire.pump()
            self.assert_whole(again, putting)

    def test_vm_stopped(self):
        """A VM that is off is not waited for."""
        result = self.begin(putting=True)
        self.wire.pump(40)
        self.wire.break_off()
        self.wire.transfers.vm_stopped("uuid", "the VM is powered-off")
        failure = self.failureResultOf(result, TransferFailed)
        self.assertIn("powered-off", failure.value.detail)

    def test_tree(self):
        """A directory goes on, too, while the processes live."""
        for putting in (True, False):
            side = self.wire.exchange if putting else self.wire.home
            (side / "d" / "sub").mkdir(parents=True)
            (side / "d" / "sub" / "f").write_bytes(CONTENT)
            copy = self.wire.put if putting else self.wire.get
            result = copy("d", "tree", recursive=True)
            self.wire.pump(40)
            self.wire.break_off()
            self.wire.connect_anew()
            self.wire.pump()
            self.successResultOf(result)
            other = self.wire.home if putting else self.wire.exchange
            self.assertEqual((other / "tree" / "sub" / "f").read_bytes(), CONTENT)
            self.assert_nothing_left()
            self.assertEqual(self.wire.transfers.records()[-1].entries, 2)


class TestAnyCuts(ResumeCase):
    @settings(max_examples=25, deadline=None)
    @given(
        putting=st.booleans(),
        cuts=st.lists(
            st.tuples(st.integers(0, 60), st.sampled_from(["cut", "guest", "host"])), max_size=5
        ),
        holes=st.lists(st.tuples(st.integers(0, 160), st.integers(1, 40)), max_size=4),
    )
    def test_equal_or_nothing(self, putting, cuts, holes):
        """Whatever is cut or killed and when, in the end the file is equal."""
        wire = self.wire = self.new_wire()
        source = (wire.exchange if putting else wire.home) / "f"
        content = bytearray(CONTENT)
        for start, length in holes:
            begin, end = start * 2**16, min(SIZE, (start + length) * 2**16)
            content[begin:end] = bytes(max(0, end - begin))
        with source.open("wb") as file:
            file.truncate(SIZE)
            for at in range(0, SIZE, 2**16):
                if any(content[at : at + 2**16]):
                    os.pwrite(file.fileno(), content[at : at + 2**16], at)
        result = self.begin(putting)
        for words, what in cuts:
            wire.pump(words)
            if what == "host":
                wire.kill_host()
                wire.connect_anew()
                result = self.begin(putting)
            else:
                (wire.kill_guest if what == "guest" else wire.break_off)()
                wire.clock.advance(1)
                wire.connect_anew()
            wire.clock.advance(2)
        wire.pump()
        self.successResultOf(result)
        self.assertEqual(self.target(putting).read_bytes(), bytes(content))
        self.assertEqual(wire.leftovers(), [])
        self.assertEqual(wire.kept(), [])
        # A cut wastes what is on its way; a host that is killed, also what was not worth a note.
        wasted = {"cut": WINDOW_BYTES, "guest": WINDOW_BYTES, "host": NOTED_BYTES + WINDOW_BYTES}
        most = SIZE + WINDOW_BYTES + sum(wasted[what] for _, what in cuts)
        self.assertLessEqual(self.sent_bytes(), most)


class TestSparse(ResumeCase):
    def test_stays_sparse(self):
        """Holes are said, not sent; the copy has them, and is equal; zeros that lie stay."""
        for putting in (True, False):
            source = (self.wire.exchange if putting else self.wire.home) / "f"
            with source.open("wb") as file:
                file.truncate(40 * MIB)
                os.pwrite(file.fileno(), b"here", 20 * MIB)
            result = self.begin(putting)
            before = self.sent_bytes()
            self.wire.pump()
            self.successResultOf(result)
            copy = self.target(putting)
            self.assertEqual(copy.read_bytes(), source.read_bytes())
            self.assertLess(copy.stat().st_blocks * 512, MIB)
            self.assertLess(self.sent_bytes() - before, MIB)
            self.assertIn("FILE_HOLE", self.wire.names())

    def test_agents_of_old(self):
        """An agent that does not know holes gets zeros."""
        self.wire = wire = self.new_wire()
        wire.protocol = 2
        wire.guest.host_speaks(2)
        for directory in (wire.exchange, wire.home):
            with (directory / "f").open("wb") as file:
                file.truncate(3 * MIB)
        for putting in (True, False):
            result = self.begin(putting)
            wire.pump()
            self.successResultOf(result)
            self.assertEqual(self.target(putting).read_bytes(), bytes(3 * MIB))
        self.assertNotIn("FILE_HOLE", wire.names())


class TestRecords(ResumeCase):
    def test_states(self):
        """A copy is told of until an hour after its end; three of a guest run at once."""
        results = [self.wire.put("f", f"c{number}") for number in range(AT_ONCE + 2)]
        states = [record.state for record in self.wire.transfers.records()]
        self.assertEqual(states, [State.RUNNING] * AT_ONCE + [State.QUEUED] * 2)
        self.wire.pump()
        for result in results:
            self.successResultOf(result)
        for record in self.wire.transfers.records():
            self.assertEqual((record.state, record.done_bytes), (State.DONE, SIZE))
        self.wire.clock.advance(3599)
        self.wire.transfers.expire()
        self.assertEqual(len(self.wire.transfers.records()), AT_ONCE + 2)
        self.wire.clock.advance(2)
        self.wire.transfers.expire()
        self.assertEqual(self.wire.transfers.records(), [])
        self.assert_nothing_left()

    def test_rate_and_estimate(self):
        """The rate is that of the last seconds, the estimate what is left by it."""
        self.begin(putting=False)
        self.assertEqual(self.only().size_bytes, -1)
        for _ in range(40):
            self.wire.clock.advance(0.1)
            self.wire.pump(1)
        record = self.only()
        self.assertGreater(record.rate_bytes_per_s, 0.5 * MIB)
        left = (record.size_bytes - record.done_bytes) / record.rate_bytes_per_s
        self.assertAlmostEqual(record.estimate_s, left)
        self.assertEqual(record.answer()["direction"], "from-vm")
        self.wire.transfers.broker_lost("gone")
        self.assertEqual(self.only().rate_bytes_per_s, 0.0)
        self.assertEqual(self.only().estimate_s, -1)

    def test_cancel(self):
        """A cancelled copy fails with CANCELLED, and nothing of it remains, at any time of it."""
        cancel = lambda t: Deferred.fromCoroutine(self.wire.transfers.cancel(t))  # noqa: E731
        for putting in (True, False):
            for when in ("running", "waiting", "interrupted"):
                result = self.begin(putting)
                self.wire.pump(40)
                transfer_id = self.wire.transfers.records()[-1].transfer_id
                if when != "running":
                    self.wire.break_off()
                if when == "interrupted":
                    self.wire.clock.advance(301)
                    self.failureResultOf(result, TransferFailed)
                self.wire.cut = False
                self.assertTrue(self.successResultOf(cancel(transfer_id)))
                self.wire.pump()
                if when != "interrupted":
                    failure = self.failureResultOf(result, TransferFailed)
                    self.assertEqual(failure.value.reason, Reason.CANCELLED)
                    self.assertFalse(self.successResultOf(cancel(transfer_id)))
                self.assertFalse(self.target(putting).exists())
                self.assert_nothing_left()
        self.failureResultOf(cancel("none"), NoSuchTransfer)

    def test_cancel_what_waits_for_its_turn(self):
        """A queued copy is cancelled at once, and the others keep their order."""
        results = [self.wire.put("f", f"c{number}") for number in range(AT_ONCE + 2)]
        queued = self.wire.transfers.records()[AT_ONCE].transfer_id
        self.successResultOf(Deferred.fromCoroutine(self.wire.transfers.cancel(queued)))
        failure = self.failureResultOf(results.pop(AT_ONCE), TransferFailed)
        self.assertEqual(failure.value.reason, Reason.CANCELLED)
        self.wire.pump()
        for result in results:
            self.successResultOf(result)

    def test_kept_for_a_day(self):
        """What nobody goes on with is removed after a day, on either side."""
        self.begin(putting=True)
        self.begin(putting=False)
        self.wire.pump(60)
        self.wire.break_off()
        self.wire.clock.advance(301)
        self.assertEqual(len(self.wire.leftovers()), 2)
        self.wire.clock.advance(86_500)
        self.wire.transfers.expire()
        self.assertEqual(self.wire.leftovers(), [])
        self.assertEqual(self.wire.kept(), [])
        self.flushLoggedErrors(TransferFailed)


class TestLies(ResumeCase):
    def waiting(self, putting):
        """A copy in its middle whose guest has come back; return its id."""
        result = self.begin(putting)
        self.wire.pump(40)
        self.wire.break_off()
        self.wire.cut = False
        self.wire.transfers.guest_there(GUEST, anew=True)
        self.wire.queue.clear()
        return result, self.wire.spoken[-1]

    def test_have(self):
        """What a guest says that it has is only where the host begins; it is checked."""
        for have, digest in (
            (SIZE + 1, sha256(CONTENT)),
            (2**63 - 20, ""),
            (5, sha256(b"other")),
            (5, "x" * 64),
        ):
            result, put = self.waiting(putting=True)
            ready = FileReady(
                transfer_id=put.transfer_id,
                facts=put.facts,
                have_bytes=have,
                have_sha256=digest,
                credit_bytes=have,
            )
            say(self.wire.transfers, replace(ready, credit_bytes=have + 10))
            data = [word for word in self.wire.spoken if isinstance(word, FileData)][-1]
            self.assertEqual(data.offset, 0)
            result.cancel()
            self.failureResultOf(result)
            self.wire.new_guest()
            self.wire.queue.clear()

    def test_goes_on_elsewhere(self):
        """A guest that goes on from where the host is not ends the copy."""
        result, get = self.waiting(putting=False)
        say(
            self.wire.transfers,
            FileReady(transfer_id=get.transfer_id, facts=facts(SIZE), have_bytes=1),
        )
        self.assertEqual(self.failureResultOf(result).value.reason, Reason.PROTOCOL)
        self.assertEqual([p.name for p in self.wire.exchange.iterdir()], ["f"])

    def test_anew_within_the_window(self):
        """A guest that begins anew has the credit of one that begins, and no more."""
        result, get = self.waiting(putting=False)
        t = get.transfer_id
        self.assertGreater(get.have_bytes, 0)
        say(self.wire.transfers, FileReady(transfer_id=t, facts=facts(SIZE), have_bytes=0))
        say(self.wire.transfers, FileData(transfer_id=t, offset=0, data=bytes(WINDOW_BYTES + 1)))
        self.assertEqual(self.failureResultOf(result).value.reason, Reason.PROTOCOL)

    def assert_holes_fail(self, size, *words):
        result = self.wire.get("f", "copy")
        self.wire.queue.clear()
        t = self.wire.spoken[-1].transfer_id
        sparse = replace(facts(size), data_bytes=0)
        say(self.wire.transfers, FileReady(transfer_id=t, facts=sparse))
        for word in words:
            say(self.wire.transfers, replace(word, transfer_id=t))
        failure = self.failureResultOf(result, TransferFailed)
        self.assertEqual([p.name for p in self.wire.exchange.iterdir()], ["f"])
        self.wire.queue.clear()
        return failure.value.reason

    def test_holes(self):
        """Holes beyond the size, of no length, elsewhere, or larger than files may be."""
        hole = FileHole(transfer_id="", offset=0, length_bytes=0)
        for size, word, reason in (
            (10, replace(hole, length_bytes=11), Reason.PROTOCOL),
            (10, replace(hole, length_bytes=2**63 - 1), Reason.PROTOCOL),
            (10, hole, Reason.PROTOCOL),
            (10, replace(hole, offset=1, length_bytes=1), Reason.PROTOCOL),
            (10, replace(hole, offset=2**63 - 1, length_bytes=2**63 - 1), Reason.PROTOCOL),
        ):
            self.assertEqual(self.assert_holes_fail(size, word), reason)

    def test_holes_do_not_fill_the_disk(self):
        """A guest that says how little its file takes is not believed when more comes."""
        got = self.wire.get("f", "copy")
        self.wire.queue.clear()
        t = self.wire.spoken[-1].transfer_id
        say(
            self.wire.transfers,
            FileReady(transfer_id=t, facts=replace(facts(2**62), data_bytes=0)),
        )
        failure = got.result if got.called else None
        if failure is None:
            (temporary,) = self.wire.leftovers()
            self.assertLessEqual(temporary.stat().st_blocks * 512, 65 * MIB)
            got.cancel()
        self.failureResultOf(got)
        self.wire.queue.clear()

    def test_holes_bring_no_time(self):
        """Holes a byte at a time are less than what a guest must send."""
        got = self.wire.get("f", "copy")
        self.wire.queue.clear()
        t = self.wire.spoken[-1].transfer_id
        say(self.wire.transfers, FileReady(transfer_id=t, facts=facts(2**40)))
        for offset in range(70):
            self.wire.clock.advance(1)
            hole = FileHole(transfer_id=t, offset=offset, length_bytes=1)
            say(self.wire.transfers, hole)
        self.assertNotEqual(self.wire.transfers.record(t).state, State.RUNNING)
        self.wire.clock.advance(300)
        self.failureResultOf(got, DeadlinePassed, TransferFailed)
        self.wire.queue.clear()

    def test_directory_unasked(self):
        """A guest can't make a directory of a file that was asked for."""
        got = self.wire.get("f", "copy")
        self.wire.queue.clear()
        t = self.wire.spoken[-1].transfer_id
        tree = replace(facts(10), tree=True)
        say(self.wire.transfers, FileReady(transfer_id=t, facts=tree))
        self.assertEqual(self.failureResultOf(got).value.reason, Reason.PROTOCOL)

    def test_owner_unasked(self):
        """Nor give a file on the host to somebody."""
        got = self.wire.get("f", "copy")
        self.wire.queue.clear()
        t = self.wire.spoken[-1].transfer_id
        owned = replace(facts(0), owner="nobody", group="nogroup")
        say(self.wire.transfers, FileReady(transfer_id=t, facts=owned))
        say(self.wire.transfers, FileEnd(transfer_id=t, size_bytes=0, sha256=sha256(b"")))
        self.assertEqual(self.successResultOf(got).owner, "")
        self.assertEqual((self.wire.exchange / "copy").stat().st_uid, os.geteuid())

    def test_comes_and_goes(self):
        """A guest that comes back without end and sends nothing ends the copy after the grace."""
        result = self.begin(putting=True)
        self.wire.queue.clear()
        for _ in range(1000):
            if result.called:
                break
            t = self.wire.spoken[-1].transfer_id
            lost = FileFailed(transfer_id=t, reason="CONNECTION_LOST", detail="")
            say(self.wire.transfers, lost)
            self.wire.transfers.guest_there(GUEST, anew=False)
            self.wire.clock.advance(1)
        self.failureResultOf(result, TransferFailed)
        puts = self.wire.names().count("FILE_PUT")
        self.assertLessEqual(puts, 302)
        self.wire.queue.clear()
