"""The sending half against a receiver that may be anything, and files that won't hold still."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from tests.common.copying_wire import HeldThread, Peer, at_once, facts, open_files, sha256
from vmcontroller.common.copying.course import CHUNK_BYTES
from vmcontroller.common.copying.outgoing import Outgoing
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.source import BLOCK_BYTES, SourceFile, place_at
from vmcontroller.common.errors import DeadlinePassed, NotConnected, TransferFailed
from vmcontroller.common.words.files import FileCredit, FileData, FileDone, FileEnd, FileReady

DONE = FileDone(transfer_id="t1")


def credit(credit_bytes):
    return FileCredit(transfer_id="t1", credit_bytes=credit_bytes)


class Sender:
    """An Outgoing at work on a file of this content."""

    def __init__(self, path, content, *, credit_bytes=10**9, in_thread=at_once, held_up=None):
        self.path = Path(path)
        self.path.write_bytes(content)
        self.peer = Peer(in_thread)
        self.peer.held_up = held_up
        self.source = SourceFile.open(place_at(str(self.path.absolute()), home="/"))
        self.outgoing = Outgoing(self.peer.course, credit_bytes=credit_bytes)
        self.result = Deferred.fromCoroutine(self.outgoing.send(self.source)).addBoth(self._close)

    def _close(self, result):
        self.source.close()
        return result

    def bytes_said(self):
        chunks = [word for word in self.peer.said if isinstance(word, FileData)]
        assert [c.offset for c in chunks] == [
            sum(len(c.data) for c in chunks[:i]) for i in range(len(chunks))
        ]
        return b"".join(chunk.data for chunk in chunks)


class TestSending(SynchronousTestCase):
    def test_a_file(self):
        """Bytes in chunks, then size and digest, then the receiver's word that it has it."""
        content = os.urandom(2 * BLOCK_BYTES + 17)
        sender = Sender(self.mktemp(), content)
        self.assertEqual(sender.bytes_said(), content)
        last = FileEnd(transfer_id="t1", size_bytes=len(content), sha256=sha256(content))
        self.assertEqual(sender.peer.said[-1], last)
        self.assertNoResult(sender.result)
        sender.outgoing.heard(DONE)
        self.successResultOf(sender.result)

    def test_empty_file(self):
        """A file without bytes is its digest alone."""
        sender = Sender(self.mktemp(), b"", credit_bytes=0)
        self.assertEqual(sender.peer.names(), ["FILE_END"])
        sender.outgoing.heard(DONE)
        self.successResultOf(sender.result)

    @settings(max_examples=40, deadline=None)
    @given(
        size=st.integers(0, 3 * CHUNK_BYTES),
        grants=st.lists(st.integers(0, 3 * CHUNK_BYTES), max_size=8),
    )
    def test_never_past_the_credit(self, size, grants):
        """Whatever credit comes, in whatever order, exactly so many bytes are said."""
        content = os.urandom(size)
        sender = Sender(self.mktemp(), content, credit_bytes=0)
        best = 0
        for grant in grants:
            sender.outgoing.heard(credit(grant))
            best = max(best, grant)
            self.assertEqual(sender.bytes_said(), content[:best])
        sender.outgoing.heard(credit(size))
        sender.outgoing.heard(DONE)
        self.successResultOf(sender.result)
        self.assertEqual(sender.bytes_said(), content)

    def test_waits_for_the_connection(self):
        """With credit left, nothing more is said until the connection takes it."""
        gate = Deferred()
        sender = Sender(self.mktemp(), b"abc", held_up=gate)
        self.assertEqual(sender.peer.said, [])
        sender.outgoing.heard(credit(10**9))
        self.assertEqual(sender.peer.said, [])
        sender.peer.held_up = None
        gate.callback(None)
        sender.outgoing.heard(DONE)
        self.successResultOf(sender.result)

    def test_ends_while_the_connection_is_full(self):
        """A transfer ends at once though the connection never takes another byte."""
        gate = Deferred()
        sender = Sender(self.mktemp(), b"abc", held_up=gate)
        sender.peer.course.end(TransferFailed(Reason.CANCELLED, ""))
        self.failureResultOf(sender.result, TransferFailed)
        gate.callback(None)

    def test_connection_lost_while_full(self):
        """A connection that breaks while it is full ends it as CONNECTION_LOST."""
        gate = Deferred()
        sender = Sender(self.mktemp(), b"abc", held_up=gate)
        gate.errback(NotConnected("broken"))
        self.assertEqual(self.failureResultOf(sender.result).value.reason, Reason.CONNECTION_LOST)

    def test_connection_lost_at_a_word(self):
        """A word that can't be said ends it as CONNECTION_LOST."""
        sender = Sender(self.mktemp(), b"abc", credit_bytes=0)
        sender.peer.connected = False
        sender.outgoing.heard(credit(10))
        self.assertEqual(self.failureResultOf(sender.result).value.reason, Reason.CONNECTION_LOST)

    def test_reads_ahead(self):
        """The next block is being read while one is said, and never more than that."""
        held = HeldThread()
        before = open_files()
        sender = Sender(
            self.mktemp(), bytes(3 * BLOCK_BYTES), in_thread=held, credit_bytes=BLOCK_BYTES
        )
        held.run_next()
        self.assertEqual(len(sender.bytes_said()), BLOCK_BYTES)
        self.assertEqual(len(held.held), 1)
        held.run_next()
        self.assertEqual(len(held.held), 1)
        sender.peer.course.end(TransferFailed(Reason.CANCELLED, ""))
        self.assertNoResult(sender.result)
        held.run_next()
        self.failureResultOf(sender.result, TransferFailed)
        self.assertEqual(open_files(), before)

    def test_silence_ends_it(self):
        """A receiver that gives no credit, or never says it is done, is not awaited for ever."""
        for credit_bytes in (0, 100):
            sender = Sender(self.mktemp(), b"abc", credit_bytes=credit_bytes)
            sender.peer.clock.advance(61)
            self.failureResultOf(sender.result, DeadlinePassed)
            self.assertEqual(sender.peer.clock.getDelayedCalls(), [])


class TestHostileReceiver(SynchronousTestCase):
    def test_done_too_soon(self):
        """A receiver can't have a file that was not said to its end."""
        sender = Sender(self.mktemp(), b"abc", credit_bytes=1)
        sender.outgoing.heard(DONE)
        self.assertEqual(self.failureResultOf(sender.result).value.reason, Reason.PROTOCOL)

    def test_words_out_of_place(self):
        """What only a sender says, or was said before, ends it."""
        ready = FileReady(transfer_id="t1", facts=facts(3), credit_bytes=9)
        data = FileData(transfer_id="t1", offset=0, data=b"a")
        for word in (ready, data, FileEnd(transfer_id="t1", size_bytes=3, sha256="")):
            sender = Sender(self.mktemp(), b"abc", credit_bytes=1)
            sender.outgoing.heard(word)
            self.assertEqual(self.failureResultOf(sender.result).value.reason, Reason.PROTOCOL)

    def test_credit_before_ready(self):
        """Credit counts from FILE_READY on."""
        peer = Peer()
        outgoing = Outgoing(peer.course)
        ready = Deferred.fromCoroutine(outgoing.ready())
        outgoing.heard(credit(9))
        self.assertEqual(self.failureResultOf(ready).value.reason, Reason.PROTOCOL)


class TestChangingFiles(SynchronousTestCase):
    def assert_changed(self, content, change):
        sender = Sender(self.mktemp(), content, credit_bytes=1)
        change(sender.path)
        sender.outgoing.heard(credit(10**9))
        failure = self.failureResultOf(sender.result, TransferFailed)
        self.assertEqual(failure.value.reason, Reason.CHANGED)
        self.assertNotIn("FILE_END", sender.peer.names())

    def test_grew(self):
        """A file that grew is not sent as if it were whole."""
        self.assert_changed(b"abc", lambda path: path.write_bytes(b"abcd"))

    def test_shrank(self):
        """A file that got shorter than what is still to come ends the transfer."""
        self.assert_changed(bytes(2 * BLOCK_BYTES), lambda path: os.truncate(path, BLOCK_BYTES))

    def test_overwritten(self):
        """A file rewritten in place, of the same size, is no copy of either."""

        def rewrite(path):
            path.write_bytes(b"xyz")
            os.utime(path, ns=(5, 5))

        self.assert_changed(b"abc", rewrite)

    def test_file_without_true_size(self):
        """A file of /proc says it is empty: that is an error, not an empty copy."""
        peer = Peer()
        source = SourceFile.open(place_at("/proc/self/status", home="/"))
        outgoing = Outgoing(peer.course, credit_bytes=10**6)
        result = Deferred.fromCoroutine(outgoing.send(source))
        self.assertEqual(self.failureResultOf(result).value.reason, Reason.CHANGED)
        source.close()

    def test_renamed_over(self):
        """A file replaced by rename meanwhile is sent as it was when it was opened."""
        sender = Sender(self.mktemp(), b"abc", credit_bytes=1)
        other = Path(self.mktemp())
        other.write_bytes(b"xyz!")
        other.rename(sender.path)
        sender.outgoing.heard(credit(10**9))
        sender.outgoing.heard(DONE)
        self.successResultOf(sender.result)
        self.assertEqual(sender.bytes_said(), b"abc")

    def test_writable_may_be_a_coroutine(self):
        """The connection's `writable` may be an async function, as a client has it."""
        sender = Sender(self.mktemp(), b"abc", credit_bytes=0)

        async def writable():
            await succeed(None)

        object.__setattr__(sender.peer.link, "writable", writable)
        sender.outgoing.heard(credit(9))
        self.assertEqual(sender.bytes_said(), b"abc")
        sender.outgoing.heard(DONE)
        self.successResultOf(sender.result)
