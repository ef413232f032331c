"""Copies both ways between Transfers and GuestFiles, over words in memory and files on disk."""

from __future__ import annotations

import os
import stat

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.common.copying_wire import GUEST, HeldThread, Wire, facts, open_files
from vmcontroller.common.copying.course import CHUNK_BYTES
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.errors import AccessDenied, DeadlinePassed, TransferFailed
from vmcontroller.common.words.files import FileData
from vmcontroller.common.words.presence import PROTOCOL_VERSION

SIZES = st.one_of(
    st.integers(0, 3 * 2**20),
    st.builds(
        lambda k, d: max(0, k * CHUNK_BYTES + d), st.integers(0, 24), st.sampled_from([-1, 0, 1])
    ),
)


class WireCase(SynchronousTestCase):
    protocol = PROTOCOL_VERSION

    def setUp(self):
        self.wire = self.new_wire()

    def new_wire(self, **kwargs):
        return Wire(self.mktemp(), self.mktemp(), protocol=self.protocol, **kwargs)

    def assert_failed(self, result, reason, error=TransferFailed):
        failure = self.failureResultOf(result, error)
        if reason:
            self.assertEqual(failure.value.reason, reason)
        self.assert_nothing_left()
        return failure.value

    def assert_nothing_left(self):
        self.wire.pump()
        self.assertEqual(self.wire.leftovers(), [])
        for directory in (self.wire.exchange, self.wire.home):
            self.assertEqual(open_files(directory), [])
        self.assertEqual(self.wire.clock.getDelayedCalls(), [])
        self.assertEqual(self.wire.transfers._transfers, {})
        self.assertEqual(self.wire.guest._transfers, {})
        self.assertEqual(self.wire.kept(), [])


class TestCopies(WireCase):
    @settings(max_examples=30, deadline=None)
    @given(size=SIZES, mode=st.integers(0, 0o777), mtime_ns=st.integers(0, 2**60))
    def test_there_and_back(self, size, mode, mtime_ns):
        """A file of any size goes in and comes out with its bytes, its mode and its time."""
        wire = self.new_wire()
        content = os.urandom(size)
        source = wire.exchange / "source"
        source.write_bytes(content)
        source.chmod(mode)
        os.utime(source, ns=(0, mtime_ns))
        put = wire.put("source", "in the guest")
        wire.pump()
        self.assertEqual(self.successResultOf(put), facts(size, mode, mtime_ns))
        got = wire.get("in the guest", "back")
        wire.pump()
        self.assertEqual(self.successResultOf(got), facts(size, mode, mtime_ns))
        for path in (wire.home / "in the guest", wire.exchange / "back"):
            self.assertEqual(path.read_bytes(), content)
            found = path.stat()
            self.assertEqual((stat.S_IMODE(found.st_mode), found.st_mtime_ns), (mode, mtime_ns))
        self.assertEqual(wire.leftovers(), [])

    def test_words_of_a_put(self):
        """The words are those that the protocol page of the words promises, in that order."""
        (self.wire.exchange / "f").write_bytes(b"abc")
        put = self.wire.put("f")
        self.wire.pump()
        self.successResultOf(put)
        self.assertEqual(
            self.wire.names(), ["FILE_PUT", "FILE_READY", "FILE_DATA", "FILE_END", "FILE_DONE"]
        )
        self.assert_nothing_left()

    def test_words_of_a_get(self):
        """The guest sends what the first credit allows at once; the host ends with FILE_DONE."""
        (self.wire.home / "f").write_bytes(b"abc")
        got = self.wire.get("f")
        self.wire.pump()
        self.successResultOf(got)
        self.assertEqual(
            self.wire.names(), ["FILE_GET", "FILE_READY", "FILE_DATA", "FILE_END", "FILE_DONE"]
        )
        self.assert_nothing_left()

    def test_chunks_are_small(self):
        """No FILE_DATA holds more than 128 KiB, so that other words get in between."""
        (self.wire.exchange / "f").write_bytes(bytes(2**20))
        put = self.wire.put("f")
        self.wire.pump()
        self.successResultOf(put)
        sizes = [len(w.data) for w in self.wire.spoken if isinstance(w, FileData)]
        self.assertEqual(sizes, [CHUNK_BYTES] * 8)

    def test_bytes_come_while_the_file_is_created(self):
        """What a guest sends before the host's disk is ready is kept, not lost."""
        held = HeldThread()
        wire = self.new_wire(in_thread=held)
        content = os.urandom(2**20 + 5)
        (wire.home / "f").write_bytes(content)
        got = wire.get("f")
        while held.held or wire.queue:
            wire.pump()
            if held.held:
                held.run_next()
        self.successResultOf(got)
        self.assertEqual((wire.exchange / "f").read_bytes(), content)

    def test_many_at_once(self):
        """Copies of one guest, both ways at once, don't mix."""
        contents = [os.urandom(300_000 + i) for i in range(8)]
        results = []
        for i, content in enumerate(contents):
            side = self.wire.home if i % 2 else self.wire.exchange
            (side / f"f{i}").write_bytes(content)
            results.append((self.wire.get if i % 2 else self.wire.put)(f"f{i}", f"c{i}"))
        self.wire.pump()
        for i, content in enumerate(contents):
            self.successResultOf(results[i])
            side = self.wire.exchange if i % 2 else self.wire.home
            self.assertEqual((side / f"c{i}").read_bytes(), content)
        self.assert_nothing_left()


class TestNames(WireCase):
    def test_put_into_a_directory(self):
        """An existing directory, a slash and an empty path get the file under its own name."""
        (self.wire.exchange / "f").write_bytes(b"abc")
        (self.wire.home / "d").mkdir()
        for remote, place in {"d": "d/f", "d/": "d/f", "": "f", ".": "f"}.items():
            put = self.wire.put("f", remote)
            self.wire.pump()
            self.successResultOf(put)
            path = self.wire.home / place
            self.assertEqual(path.read_bytes(), b"abc")
            path.unlink()

    def test_put_over_a_directory_in_a_directory(self):
        """A directory of the file's own name is not replaced, and it is tried only once."""
        (self.wire.exchange / "f").write_bytes(b"abc")
        (self.wire.home / "d" / "f").mkdir(parents=True)
        put = self.wire.put("f", "d")
        self.wire.pump()
        self.assert_failed(put, Reason.IS_A_DIRECTORY)
        self.assertEqual(self.wire.names().count("FILE_PUT"), 2)
        put = self.wire.put("f", "d/")
        self.wire.pump()
        self.assert_failed(put, Reason.IS_A_DIRECTORY)
        self.assertEqual(self.wire.names().count("FILE_PUT"), 3)

    def test_get_into_a_directory(self):
        """The host chooses the name: that of the path it asked for."""
        (self.wire.home / "sub").mkdir()
        (self.wire.home / "sub" / "f").write_bytes(b"abc")
        (self.wire.exchange / "d").mkdir()
        for local, place in {"d": "d/f", "d/": "d/f", "": "f", "g": "g"}.items():
            got = self.wire.get("sub/f", local)
            self.wire.pump()
            self.successResultOf(got)
            self.assertEqual((self.wire.exchange / place).read_bytes(), b"abc")

    def test_outside_the_roots(self):
        """The guest hears nothing of a copy that the host may not make."""
        (self.wire.home / "f").write_bytes(b"abc")
        for result in (self.wire.put("/etc/passwd"), self.wire.get("f", "../f")):
            self.assert_failed(result, None, AccessDenied)
        self.assertEqual(self.wire.spoken, [])


class TestRefusals(WireCase):
    def test_guest_paths(self):
        """Each thing in the guest that is no file to read has its own reason."""
        os.mkfifo(self.wire.home / "fifo")
        (self.wire.home / "d").mkdir()
        for remote, reason in {
            "none": Reason.NO_SUCH_FILE,
            "none/f": Reason.NO_SUCH_FILE,
            "d": Reason.IS_A_DIRECTORY,
            "d/": Reason.IS_A_DIRECTORY,
            "d/..": Reason.IS_A_DIRECTORY,
            "": Reason.NO_SUCH_FILE,
            "fifo": Reason.NOT_A_FILE,
            "/dev/zero": Reason.NOT_A_FILE,
            "/proc/cpuinfo": Reason.CHANGED,
            "a\0b": Reason.NO_SUCH_FILE,
            "x" * 5000: Reason.NO_SUCH_FILE,
        }.items():
            got = self.wire.get(remote, "here")
            self.wire.pump()
            self.assert_failed(got, reason)
        self.assertEqual(list(self.wire.exchange.iterdir()), [])

    def test_guest_targets(self):
        """A put to where no file can be says why, and the guest's files stay as they are."""
        (self.wire.exchange / "f").write_bytes(b"abc")
        (self.wire.home / "file").write_bytes(b"old")
        os.mkfifo(self.wire.home / "fifo")
        for remote, reason in {
            "none/f": Reason.NO_SUCH_FILE,
            "none/": Reason.NO_SUCH_FILE,
            "file/f": Reason.NO_SUCH_FILE,
            "fifo": Reason.NOT_A_FILE,
            "n" * 256: Reason.NO_SUCH_FILE,
            "x" * 5000: Reason.NO_SUCH_FILE,
        }.items():
            put = self.wire.put("f", remote)
            self.wire.pump()
            self.assert_failed(put, reason)
        self.assertEqual({p.name for p in self.wire.home.iterdir()}, {"file", "fifo"})

    def test_host_paths(self):
        """What is wrong on the host is said in the same words, and the guest is not asked."""
        os.mkfifo(self.wire.exchange / "fifo")
        for local, reason in {
            "none": Reason.NO_SUCH_FILE,
            "": Reason.NO_SUCH_FILE,
            "fifo": Reason.NOT_A_FILE,
            ".": Reason.IS_A_DIRECTORY,
        }.items():
            self.assert_failed(self.wire.put(local, "x"), reason)
        self.assert_failed(self.wire.get("x", "none/x"), Reason.NO_SUCH_FILE)
        self.assertEqual(self.wire.spoken, [])

    def test_no_connection(self):
        """A guest that can't be reached all the while is a lost connection."""
        (self.wire.exchange / "f").write_bytes(b"abc")
        self.wire.cut = True
        results = self.wire.put("f"), self.wire.get("f")
        self.wire.clock.advance(301)
        for result in results:
            self.assert_failed(result, Reason.CONNECTION_LOST)

    def test_host_disk_fails_after_ready(self):
        """The guest hears that the host gave up, but none of the host's paths."""
        (self.wire.home / "f").write_bytes(b"abc")
        got = self.wire.get("f", "here")
        os.mkfifo(self.wire.exchange / "here")
        self.wire.pump()
        self.assert_failed(got, Reason.NOT_A_FILE)
        (failed,) = [w for w in self.wire.spoken if w.NAME == "FILE_FAILED"]
        self.assertEqual((failed.reason, failed.detail), ("NOT_A_FILE", ""))


class TestEnds(WireCase):
    """With agents and hosts of old, which begin a broken copy from its beginning."""

    protocol = 2

    def under_way(self):
        """Both a put and a get in their middle."""
        for directory in (self.wire.exchange, self.wire.home):
            (directory / "f").write_bytes(bytes(5 * 2**20))
        results = self.wire.put("f", "copy"), self.wire.get("f", "copy")
        self.wire.pump(20)
        self.assertEqual(len(self.wire.leftovers()), 2)
        return results

    def test_guest_lost(self):
        """When the guest is gone both ends clear up, and the caller learns why."""
        results = self.under_way()
        self.wire.queue.clear()
        self.wire.cut = True
        self.wire.transfers.guest_lost(GUEST, "the agent's connection broke")
        self.wire.guest.connection_lost("the connection broke")
        for result in results:
            error = self.assert_failed(result, Reason.CONNECTION_LOST)
            self.assertEqual(error.detail, "the agent's connection broke")

    def test_guest_lost_but_there(self):
        """A guest that was only silent for a while hears of it and keeps nothing either."""
        results = self.under_way()
        self.wire.transfers.guest_lost(GUEST, "unheard for 31 s")
        self.wire.pump()
        for result in results:
            self.assert_failed(result, Reason.CONNECTION_LOST)
        said = [(w.reason, w.detail) for w in self.wire.spoken if w.NAME == "FILE_FAILED"]
        self.assertEqual(said, [("CONNECTION_LOST", "")] * 2)

    def test_in_place_though_nobody_hears(self):
        """A get whose file is whole and in place succeeds, even if its guest just vanished."""
        (self.wire.home / "f").write_bytes(b"abc")
        got = self.wire.get("f")
        self.wire.pump(1)
        self.wire.cut = True
        self.wire.pump()
        self.assertEqual(self.successResultOf(got).size_bytes, 3)
        self.wire.guest.connection_lost("broken")
        self.assert_nothing_left()

    def test_cancel(self):
        """Cancelling what awaits the copy ends it on both sides."""
        for result in self.under_way():
            result.cancel()
            self.failureResultOf(result, CancelledError)
        self.assert_nothing_left()
        failed = [word for word in self.wire.spoken if word.NAME == "FILE_FAILED"]
        self.assertEqual([word.reason for word in failed], ["CANCELLED", "CANCELLED"])

    def test_cancel_during_a_step(self):
        """Cancelling while a thread works ends the wait now, and the file after the thread."""
        held = HeldThread()
        self.wire = self.new_wire(in_thread=held)
        (self.wire.exchange / "f").write_bytes(b"abc")
        put = self.wire.put("f")
        put.cancel()
        self.failureResultOf(put, CancelledError)
        stopped = Deferred.fromCoroutine(self.wire.transfers.stop())
        self.assertNoResult(stopped)
        while held.held:
            held.run_next()
        self.successResultOf(stopped)
        self.assertEqual(self.wire.spoken, [])
        self.assert_nothing_left()

    def test_stop(self):
        """A daemon that stops ends its copies, tells the guests, and begins no more."""
        results = self.under_way()
        self.successResultOf(Deferred.fromCoroutine(self.wire.transfers.stop()))
        for result in results:
            self.assert_failed(result, Reason.CONNECTION_LOST)
        self.assert_failed(self.wire.put("f"), Reason.CONNECTION_LOST)

    def test_agent_stops(self):
        """An agent that stops ends its copies and tells the host."""
        results = self.under_way()
        self.successResultOf(Deferred.fromCoroutine(self.wire.guest.stop()))
        self.wire.pump()
        for result in results:
            self.assert_failed(result, Reason.CANCELLED)

    def test_agent_restarted(self):
        """An agent that came back and knows nothing says so; no deadline need pass."""
        results = self.under_way()
        self.wire.queue.clear()
        self.wire.guest.connection_lost("killed")
        self.wire.guest._past.clear()
        (put, get) = self.wire.transfers._transfers.values()
        for transfer in (put, get):
            chunk = FileData(transfer_id=transfer.transfer_id, offset=0, data=b"x")
            self.wire.guest.heard_file_data(chunk)
            self.wire.guest.heard_file_data(chunk)
        self.assertEqual(len(self.wire.queue), 2)
        self.wire.pump()
        for result in results:
            self.assert_failed(result, Reason.CONNECTION_LOST)

    def test_silent_guest(self):
        """A guest that says nothing for the deadline ends the copy, at any point of it."""
        for words in (0, 1, 2, 5, 25):
            (self.wire.exchange / "f").write_bytes(bytes(5 * 2**20))
            put = self.wire.put("f", "copy")
            self.wire.pump(words)
            self.wire.queue.clear()
            self.wire.clock.advance(59)
            self.assertNoResult(put)
            self.wire.clock.advance(2)
            error = self.failureResultOf(put, DeadlinePassed).value
            self.assertEqual(error.deadline_s, 60)
            self.assert_nothing_left()

    def test_silent_host(self):
        """An agent whose host fell silent gives up by itself, so no temporary file stays."""
        results = self.under_way()
        self.wire.queue.clear()
        self.wire.clock.advance(61)
        for result in results:
            self.failureResultOf(result, DeadlinePassed)
        self.wire.queue.clear()
        self.assertEqual(self.wire.leftovers(), [self.wire.home / self.wire.leftovers()[0].name])
        self.wire.clock.advance(240)
        self.assert_nothing_left()
