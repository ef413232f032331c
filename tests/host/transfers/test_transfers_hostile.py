"""Transfers against guests that lie, interfere and flood."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from tests.common.copying_wire import GUEST, OTHER, facts, sha256
from tests.host.transfers.test_transfers import WireCase
from vmcontroller.common.copying.incoming import WINDOW_BYTES
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.errors import DeadlinePassed, TransferFailed
from vmcontroller.common.words.files import (
    FileCredit,
    FileData,
    FileDone,
    FileEnd,
    FileFailed,
    FileReady,
)
from vmcontroller.host.transfers.request import State

CONTENT = b"abc"
AHEAD_BYTES = 64 * 2**20 + 4096
FLOOR_BYTES = 64 * 1024
_SIZES = st.sampled_from([0, 1, 2, 3, 3, 3, 4, WINDOW_BYTES, 2**63 - 1])
ANY_WORD = st.one_of(
    st.builds(
        lambda n, c: FileReady(transfer_id="", facts=facts(n), credit_bytes=c), _SIZES, _SIZES
    ),
    st.builds(
        lambda n, d: FileData(transfer_id="", offset=n, data=d),
        _SIZES,
        st.sampled_from([b"", b"a", b"bc", CONTENT]),
    ),
    st.builds(lambda n: FileCredit(transfer_id="", credit_bytes=n), _SIZES),
    st.builds(
        lambda n: FileEnd(transfer_id="", size_bytes=n, sha256=sha256(CONTENT)),
        _SIZES,
    ),
    st.just(FileDone(transfer_id="")),
    st.just(FileFailed(transfer_id="", reason="IO_ERROR", detail="")),
)


def say(transfers, word, sender=GUEST):
    getattr(transfers, f"heard_{word.NAME.lower()}")(word, sender)


class HostileCase(WireCase):
    def begin_get(self):
        """A get whose guest is the test: returns the result and the transfer's id."""
        result = self.wire.get("f", "here")
        self.wire.queue.clear()
        return result, self.wire.spoken[-1].transfer_id

    def begin_put(self, content=b"abc"):
        (self.wire.exchange / "f").write_bytes(content)
        result = self.wire.put("f", "there")
        self.wire.queue.clear()
        return result, self.wire.spoken[-1].transfer_id


class TestOthers(HostileCase):
    def test_another_guest(self):
        """No guest can touch, end or feed the transfer of another."""
        got, t = self.begin_get()
        for word in (
            FileFailed(transfer_id=t, reason="IO_ERROR", detail="ha"),
            FileReady(transfer_id=t, facts=facts(2), credit_bytes=0),
            FileData(transfer_id=t, offset=0, data=b"no"),
            FileEnd(transfer_id=t, size_bytes=2, sha256=sha256(b"no")),
            FileCredit(transfer_id=t, credit_bytes=1),
            FileDone(transfer_id=t),
        ):
            say(self.wire.transfers, word, OTHER)
        self.assertNoResult(got)
        say(self.wire.transfers, FileReady(transfer_id=t, facts=facts(2), credit_bytes=0))
        say(self.wire.transfers, FileData(transfer_id=t, offset=0, data=b"ok"))
        say(self.wire.transfers, FileEnd(transfer_id=t, size_bytes=2, sha256=sha256(b"ok")))
        self.successResultOf(got)
        self.assertEqual((self.wire.exchange / "here").read_bytes(), b"ok")

    def test_another_guest_lost(self):
        """A lost guest takes only its own transfers with it."""
        got, _ = self.begin_get()
        self.wire.transfers.guest_lost(OTHER, "gone")
        self.assertNoResult(got)
        got.cancel()
        self.failureResultOf(got, CancelledError)

    def test_unknown_transfers(self):
        """Words about no transfer are not answered and not remembered."""
        for i in range(100):
            say(self.wire.transfers, FileData(transfer_id=f"x{i}", offset=0, data=b"x"))
            say(self.wire.transfers, FileFailed(transfer_id=f"x{i}", reason="X", detail=""))
        self.assertEqual(self.wire.spoken, [])
        self.assert_nothing_left()


class TestLies(HostileCase):
    def assert_get_fails(self, reason, *words_of):
        got, t = self.begin_get()
        for make in words_of:
            say(self.wire.transfers, make(t))
        error = self.assert_failed(got, reason)
        self.assertEqual(list(self.wire.exchange.iterdir()), [])
        failed = [w for w in self.wire.spoken if isinstance(w, FileFailed) and w.transfer_id == t]
        self.assertEqual([w.reason for w in failed], [reason])
        return error

    def test_size_beyond_the_disk(self):
        """A size that can't be is refused before a byte of it is taken."""
        self.assert_get_fails(
            Reason.DISK_FULL,
            lambda t: FileReady(transfer_id=t, facts=facts(2**62), credit_bytes=0),
        )

    def test_space_ahead(self):
        """A guest that only announces much does not hold the disk."""
        got, t = self.begin_get()
        size_bytes = 128 * 2**20
        ready = FileReady(transfer_id=t, facts=facts(size_bytes), credit_bytes=0)
        say(self.wire.transfers, ready)
        (leftover,) = self.wire.leftovers()
        self.assertLessEqual(leftover.stat().st_blocks * 512, AHEAD_BYTES)
        say(self.wire.transfers, FileData(transfer_id=t, offset=0, data=bytes(WINDOW_BYTES)))
        self.assertLessEqual(leftover.stat().st_blocks * 512, AHEAD_BYTES)
        got.cancel()
        self.failureResultOf(got, CancelledError)
        self.wire.queue.clear()
        self.assert_nothing_left()

    def test_a_byte_now_and_then(self):
        """A guest can't hold the host's disk by sending next to nothing, for ever."""
        got, t = self.begin_get()
        say(self.wire.transfers, FileReady(transfer_id=t, facts=facts(2**21), credit_bytes=0))
        for offset in range(2):
            self.wire.clock.advance(25)
            say(self.wire.transfers, FileData(transfer_id=t, offset=offset, data=b"x"))
        self.assertNoResult(got)
        self.wire.clock.advance(11)
        self.assertEqual(self.wire.transfers.record(t).state, State.WAITING)
        for _ in range(100):  # it comes back and goes on so: that brings it no more time
            if got.called:
                break
            self.wire.clock.advance(5)
            self.wire.transfers.guest_there(GUEST, anew=False)
            say(self.wire.transfers, FileReady(transfer_id=t, facts=facts(2**21), have_bytes=0))
            say(self.wire.transfers, FileData(transfer_id=t, offset=0, data=b"x"))
        self.assertLessEqual(self.wire.clock.seconds(), 25 + 36 + 60 + 300 + 60)
        self.wire.queue.clear()
        error = self.assert_failed(got, None, DeadlinePassed)
        self.assertEqual(error.deadline_s, 60)

    def test_a_poor_line(self):
        """64 KiB within each deadline are enough, however long the whole takes."""
        got, t = self.begin_get()
        content = bytes(10 * FLOOR_BYTES)
        say(
            self.wire.transfers,
            FileReady(transfer_id=t, facts=facts(len(content)), credit_bytes=0),
        )
        half = FLOOR_BYTES // 2
        for offset in range(0, len(content), half):
            self.wire.clock.advance(29)
            say(self.wire.transfers, FileData(transfer_id=t, offset=offset, data=bytes(half)))
        end = FileEnd(transfer_id=t, size_bytes=len(content), sha256=sha256(content))
        say(self.wire.transfers, end)
        self.successResultOf(got)

    def test_wrong_bytes(self):
        """Offsets, sizes and digests that don't fit end it with nothing left on the host."""

        def ready(t):
            return FileReady(transfer_id=t, facts=facts(2**21), credit_bytes=0)

        for reason, make in (
            (Reason.PROTOCOL, lambda t: FileData(transfer_id=t, offset=1, data=b"x")),
            (Reason.PROTOCOL, lambda t: FileData(transfer_id=t, offset=0, data=b"")),
            (Reason.PROTOCOL, lambda t: FileEnd(transfer_id=t, size_bytes=0, sha256="")),
            (Reason.PROTOCOL, lambda t: FileDone(transfer_id=t)),
            (Reason.PROTOCOL, ready),
            (
                Reason.PROTOCOL,
                lambda t: FileData(transfer_id=t, offset=0, data=bytes(WINDOW_BYTES + 1)),
            ),
        ):
            self.assert_get_fails(reason, ready, make)

    def test_data_first(self):
        """Bytes before the facts are refused, while the host still waits for them."""
        self.assert_get_fails(
            Reason.PROTOCOL, lambda t: FileData(transfer_id=t, offset=0, data=b"x")
        )

    def test_wrong_digest(self):
        """A digest of other bytes leaves what was there before."""
        self.assert_get_fails(
            Reason.DIGEST_MISMATCH,
            lambda t: FileReady(transfer_id=t, facts=facts(2), credit_bytes=0),
            lambda t: FileData(transfer_id=t, offset=0, data=b"no"),
            lambda t: FileEnd(transfer_id=t, size_bytes=2, sha256=sha256(b"ok")),
        )

    def test_rights(self):
        """A guest can't put a set-user-ID file on the host."""
        got, t = self.begin_get()
        say(self.wire.transfers, FileReady(transfer_id=t, facts=facts(0, 0o6755), credit_bytes=0))
        say(self.wire.transfers, FileEnd(transfer_id=t, size_bytes=0, sha256=sha256(b"")))
        self.assertEqual(self.successResultOf(got).mode, 0o755)
        self.assertEqual((self.wire.exchange / "here").stat().st_mode & 0o7777, 0o755)

    def test_done_too_soon(self):
        """A guest that says it has the file before it can is not believed."""
        put, t = self.begin_put()
        say(self.wire.transfers, FileReady(transfer_id=t, facts=facts(3), credit_bytes=1))
        say(self.wire.transfers, FileDone(transfer_id=t))
        self.assert_failed(put, Reason.PROTOCOL)

    def test_directory_for_ever(self):
        """A guest that calls everything a directory is asked twice, not for ever."""
        put, t = self.begin_put()
        say(self.wire.transfers, FileFailed(transfer_id=t, reason="IS_A_DIRECTORY", detail=""))
        t = self.wire.spoken[-1].transfer_id
        self.assertEqual(self.wire.spoken[-1].path, "there/f")
        say(self.wire.transfers, FileFailed(transfer_id=t, reason="IS_A_DIRECTORY", detail=""))
        self.wire.queue.clear()
        self.assert_failed(put, Reason.IS_A_DIRECTORY)

    def test_strange_reasons(self):
        """What a guest gives as its reason reaches no log or terminal as it is."""
        put, t = self.begin_put()
        failed = FileFailed(transfer_id=t, reason="\x1b[31mX", detail="\n\x1b]0;x\x07")
        say(self.wire.transfers, failed)
        error = self.assert_failed(put, Reason.PROTOCOL)
        self.assertTrue(str(error).isprintable())

    @settings(max_examples=200, deadline=None)
    @given(words=st.lists(ANY_WORD, max_size=10), putting=st.booleans())
    def test_any_words(self, words, putting):
        """Whatever a guest says, in whatever order: one end, no exception, nothing left."""
        result, transfer_id = self.begin_put(CONTENT) if putting else self.begin_get()
        outcomes = []
        result.addBoth(outcomes.append)
        for word in words:
            say(self.wire.transfers, replace(word, transfer_id=transfer_id))
        self.wire.queue.clear()
        self.wire.clock.advance(61)
        for _ in range(31):
            self.wire.clock.advance(10)
        self.wire.queue.clear()
        (outcome,) = outcomes
        here = self.wire.exchange / "here"
        if isinstance(outcome, Failure):
            self.assertIsNotNone(outcome.check(TransferFailed, DeadlinePassed))
            self.assertFalse(here.exists())
        elif not putting:
            self.assertEqual(here.read_bytes(), CONTENT)
            here.unlink()
        self.assert_nothing_left()
