"""The receiving half against a sender that may be anything."""

from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.common.copying_wire import HeldThread, Peer, at_once, facts, open_files, sha256
from vmcontroller.common.copying.incoming import WINDOW_BYTES, Incoming
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.site import Site
from vmcontroller.common.copying.source import place_at
from vmcontroller.common.errors import DeadlinePassed, TransferFailed
from vmcontroller.common.words.files import (
    FileCredit,
    FileData,
    FileDone,
    FileEnd,
    FileFailed,
    FileReady,
)


def data(offset, content):
    return FileData(transfer_id="t1", offset=offset, data=content)


def end(content):
    return FileEnd(transfer_id="t1", size_bytes=len(content), sha256=sha256(content))


class Receiver:
    """An Incoming at work on a file `new` in a directory of its own."""

    def __init__(self, directory, size_bytes, in_thread=at_once):
        self.directory = Path(directory).absolute()
        self.directory.mkdir(exist_ok=True)
        self.path = self.directory / "new"
        self.peer = Peer(in_thread)
        self.incoming = Incoming(self.peer.course, facts=facts(size_bytes))
        self.site = Site(place_at(str(self.path), home="/"), "t1")
        self.result = Deferred.fromCoroutine(self._receive(size_bytes))

    async def _receive(self, size_bytes):
        await self.peer.course.uncut(self.site.land, facts(size_bytes))
        await self.incoming.receive(self.site, say_ready=True)

    def hear(self, *words):
        for word in words:
            self.incoming.heard(word)


class TestReceiving(SynchronousTestCase):
    @settings(max_examples=40, deadline=None)
    @given(content=st.binary(max_size=3000), cuts=st.lists(st.integers(0, 3000)))
    def test_any_chunks(self, content, cuts):
        """However the sender cuts the file, the same bytes arrive."""
        receiver = Receiver(self.mktemp(), len(content))
        edges = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
        for start, stop in itertools.pairwise(edges):
            receiver.hear(data(start, content[start:stop]))
        receiver.hear(end(content))
        self.successResultOf(receiver.result)
        self.assertEqual(receiver.path.read_bytes(), content)
        self.assertEqual([p.name for p in receiver.directory.iterdir()], ["new"])

    def test_ready_comes_first(self):
        """The sender learns its first credit once the file could be created."""
        receiver = Receiver(self.mktemp(), 5)
        (ready,) = receiver.peer.said
        self.assertIsInstance(ready, FileReady)
        self.assertEqual(ready.credit_bytes, WINDOW_BYTES)
        receiver.peer.course.end(TransferFailed(Reason.CANCELLED, ""))
        self.failureResultOf(receiver.result, TransferFailed)

    def test_credit_follows_the_disk(self):
        """Credit is renewed for what was written, never for what only was heard."""
        held = HeldThread()
        size = 4 * WINDOW_BYTES
        receiver = Receiver(self.mktemp(), size, held)
        held.run_next()
        chunk = bytes(WINDOW_BYTES // 2)
        receiver.hear(data(0, chunk), data(len(chunk), chunk))
        self.assertEqual(receiver.peer.names(), ["FILE_READY"])
        held.run_next()
        credit = receiver.peer.said[-1]
        self.assertEqual(
            credit, FileCredit(transfer_id="t1", credit_bytes=len(chunk) + WINDOW_BYTES)
        )
        receiver.peer.course.end(TransferFailed(Reason.CANCELLED, ""))
        while held.held:
            held.run_next()
        self.failureResultOf(receiver.result, TransferFailed)

    def test_credit_ends_at_the_size(self):
        """No credit is given past the end of the file."""
        size = WINDOW_BYTES + 10
        content = bytes(size)
        receiver = Receiver(self.mktemp(), size)
        receiver.hear(data(0, content[:WINDOW_BYTES]), data(WINDOW_BYTES, content[:10]))
        receiver.hear(end(content))
        self.successResultOf(receiver.result)
        credits_given = [w.credit_bytes for w in receiver.peer.said if isinstance(w, FileCredit)]
        self.assertEqual(credits_given, [size])

    def test_silence_ends_it(self):
        """A sender that falls silent does not hold the file for ever."""
        receiver = Receiver(self.mktemp(), 5)
        receiver.hear(data(0, b"ab"))
        receiver.peer.clock.advance(59)
        self.assertNoResult(receiver.result)
        receiver.peer.clock.advance(2)
        self.failureResultOf(receiver.result, DeadlinePassed)
        self.assertEqual(list(receiver.directory.iterdir()), [])
        self.assertEqual(receiver.peer.clock.getDelayedCalls(), [])

    def test_end_during_a_step(self):
        """A transfer that ends while a thread writes waits for it, then removes the file."""
        held = HeldThread()
        before = open_files()
        receiver = Receiver(self.mktemp(), 5, held)
        held.run_next()
        receiver.hear(data(0, b"ab"))
        receiver.peer.course.end(TransferFailed(Reason.CONNECTION_LOST, "gone"))
        self.assertNoResult(receiver.result)
        held.run_next()
        self.assertNoResult(receiver.result)
        held.run_next()
        failure = self.failureResultOf(receiver.result, TransferFailed)
        self.assertEqual(failure.value.reason, Reason.CONNECTION_LOST)
        self.assertEqual(list(receiver.directory.iterdir()), [])
        self.assertEqual(open_files(), before)

    def test_end_while_it_is_created(self):
        """A file that was only just created when the transfer ended is removed too."""
        held = HeldThread()
        before = open_files()
        receiver = Receiver(self.mktemp(), 5, held)
        receiver.peer.course.end(TransferFailed(Reason.CANCELLED, ""))
        held.run_next()
        held.run_next()
        self.failureResultOf(receiver.result, TransferFailed)
        self.assertEqual(receiver.peer.said, [])
        self.assertEqual(list(receiver.directory.iterdir()), [])
        self.assertEqual(open_files(), before)

    def test_end_while_it_is_put_in_place(self):
        """A file that is in place is a success, even if the peer vanished at that moment."""
        held = HeldThread()
        receiver = Receiver(self.mktemp(), 2, held)
        held.run_next()
        receiver.hear(data(0, b"ab"), end(b"ab"))
        held.run_next()
        receiver.peer.course.end(TransferFailed(Reason.CONNECTION_LOST, ""))
        while held.held:
            held.run_next()
        self.successResultOf(receiver.result)
        self.assertEqual(receiver.path.read_bytes(), b"ab")


class TestHostileSender(SynchronousTestCase):
    def assert_broken_off(self, size_bytes, *words, reason=Reason.PROTOCOL):
        receiver = Receiver(self.mktemp(), size_bytes)
        receiver.path.write_bytes(b"as it was")
        receiver.hear(*words)
        failure = self.failureResultOf(receiver.result, TransferFailed)
        self.assertEqual(failure.value.reason, reason)
        self.assertEqual([p.name for p in receiver.directory.iterdir()], ["new"])
        self.assertEqual(receiver.path.read_bytes(), b"as it was")
        return failure.value

    def test_gap(self):
        """Bytes may not be left out."""
        self.assert_broken_off(9, data(0, b"abc"), data(4, b"e"))

    def test_again(self):
        """Bytes may not come twice."""
        self.assert_broken_off(9, data(0, b"abc"), data(2, b"cd"))

    def test_more_than_announced(self):
        """A file may not be larger than it was said to be."""
        self.assert_broken_off(3, data(0, b"abcd"))

    def test_past_the_credit(self):
        """What is not yet written can't grow past the window."""
        held = HeldThread()
        receiver = Receiver(self.mktemp(), 4 * WINDOW_BYTES, held)
        held.run_next()
        receiver.hear(data(0, bytes(WINDOW_BYTES)), data(WINDOW_BYTES, b"x"))
        while held.held:
            held.run_next()
        failure = self.failureResultOf(receiver.result, TransferFailed)
        self.assertEqual(failure.value.reason, Reason.PROTOCOL)

    def test_no_bytes(self):
        """Empty chunks, of which there could be any number, are refused."""
        self.assert_broken_off(3, data(0, b""))

    def test_early_end(self):
        """A file that ends before its size is not taken for whole."""
        self.assert_broken_off(3, data(0, b"ab"), end(b"ab"))
        self.assert_broken_off(3, data(0, b"ab"), end(b"abc"))

    def test_other_size_at_the_end(self):
        """The size at the end must be the one announced."""
        self.assert_broken_off(3, data(0, b"abc"), end(b"abcd"))

    def test_other_bytes(self):
        """A file with another digest is not put in place."""
        self.assert_broken_off(3, data(0, b"abc"), end(b"abd"), reason=Reason.DIGEST_MISMATCH)

    def test_words_out_of_place(self):
        """What only a receiver says, or was said before, ends it."""
        ready = FileReady(transfer_id="t1", facts=facts(3), credit_bytes=0)
        credit = FileCredit(transfer_id="t1", credit_bytes=1)
        for word in (ready, credit, FileDone(transfer_id="t1")):
            error = self.assert_broken_off(3, data(0, b"a"), word)
            self.assertIn(word.NAME, error.detail)

    def test_bytes_before_ready(self):
        """Bytes of a file of which nothing is known are refused."""
        peer = Peer()
        incoming = Incoming(peer.course)
        ready = Deferred.fromCoroutine(incoming.ready())
        incoming.heard(data(0, b"a"))
        self.assertEqual(self.failureResultOf(ready).value.reason, Reason.PROTOCOL)

    def test_bytes_after_the_end(self):
        """Nothing may follow FILE_END."""
        peer = Peer()
        incoming = Incoming(peer.course, facts=facts(0))
        incoming.heard(end(b""))
        incoming.heard(end(b""))
        self.assertRaises(TransferFailed, peer.course.check)

    def test_failure_is_said(self):
        """The peer hears the published reason, cut to a length that a word can carry."""
        peer = Peer()
        peer.course.say_failed(TransferFailed(Reason.DISK_FULL, "x" * 9999), detailed=True)
        self.assertEqual(
            peer.said,
            [FileFailed(transfer_id="t1", reason="DISK_FULL", detail="x" * 500)],
        )
