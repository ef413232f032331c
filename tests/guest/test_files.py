"""The guest's end of a copy by itself: what it answers, and what it never leaves behind."""

from __future__ import annotations

import time
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.common.copying_wire import HeldThread, at_once, facts, open_files, sha256
from vmcontroller.common.errors import NotConnected
from vmcontroller.common.words.files import (
    FileCredit,
    FileData,
    FileDone,
    FileEnd,
    FileFailed,
    FileGet,
    FilePut,
    FileReady,
)
from vmcontroller.guest.files import GuestFiles
from vmcontroller.guest.notes import Notes


class GuestFilesCase(SynchronousTestCase):
    def setUp(self):
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()
        self.said = []
        self.connected = True
        self.clock = Clock()
        self.before = open_files()
        self.files = self.new_files(at_once)

    def new_files(self, in_thread):
        self.notes = Path(self.mktemp()).absolute()
        notes = Notes(self.notes, wall_s=time.time)
        notes.open()
        return GuestFiles(
            reactor=self.clock,
            say=self.say,
            writable=lambda: succeed(None),
            in_thread=in_thread,
            home=str(self.home),
            notes=notes,
        )

    def say(self, word):
        if not self.connected:
            raise NotConnected("no connection")
        self.said.append(word)

    def put(self, path="new", transfer_id="t1", size_bytes=3):
        self.files.heard_file_put(
            FilePut(transfer_id=transfer_id, path=path, facts=facts(size_bytes))
        )

    def get(self, path="f", transfer_id="t1", credit_bytes=100):
        self.files.heard_file_get(
            FileGet(transfer_id=transfer_id, path=path, credit_bytes=credit_bytes)
        )

    def data(self, content, offset=0, transfer_id="t1"):
        self.files.heard_file_data(FileData(transfer_id=transfer_id, offset=offset, data=content))

    def names(self):
        return [word.NAME for word in self.said]

    def assert_nothing_left(self, *names):
        self.assertEqual(sorted(path.name for path in self.home.iterdir()), sorted(names))
        self.assertEqual(open_files(), self.before)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(list(self.notes.iterdir()), [])


class TestGuestFiles(GuestFilesCase):
    def test_put(self):
        """FILE_DONE is said when the file is in place, and not before."""
        self.put()
        self.data(b"abc")
        self.assertEqual(self.names(), ["FILE_READY"])
        self.assertFalse((self.home / "new").exists())
        self.files.heard_file_end(FileEnd(transfer_id="t1", size_bytes=3, sha256=sha256(b"abc")))
        self.assertEqual(self.said[-1], FileDone(transfer_id="t1"))
        self.assertEqual((self.home / "new").read_bytes(), b"abc")
        self.assert_nothing_left("new")

    def test_put_is_noted(self):
        """While the temporary file is there, a note names it."""
        self.put()
        (temporary,) = self.home.iterdir()
        (note,) = self.notes.iterdir()
        self.assertEqual((note.name, note.readlink()), ("t1", temporary))
        self.files.connection_lost("broken")
        self.assert_nothing_left()

    def test_get(self):
        """Facts, then bytes as far as the credit goes, then the rest and the digest."""
        (self.home / "f").write_bytes(b"abc")
        self.get(credit_bytes=2)
        self.assertIsInstance(self.said[0], FileReady)
        self.assertEqual(self.said[0].facts.size_bytes, 3)
        self.assertEqual(self.said[1:], [FileData(transfer_id="t1", offset=0, data=b"ab")])
        self.files.heard_file_credit(FileCredit(transfer_id="t1", credit_bytes=9))
        self.assertEqual(self.names()[2:], ["FILE_DATA", "FILE_END"])
        self.files.heard_file_done(FileDone(transfer_id="t1"))
        self.assert_nothing_left("f")

    def test_failure_names_the_path(self):
        """A failure says the published reason and what it was about."""
        self.get("none")
        (failed,) = self.said
        self.assertEqual(failed.reason, "NO_SUCH_FILE")
        self.assertIn("none", failed.detail)
        self.assert_nothing_left()

    def test_absolute_path(self):
        """An absolute path is taken as it is."""
        target = Path(self.mktemp()).absolute()
        self.put(str(target), size_bytes=0)
        self.files.heard_file_end(FileEnd(transfer_id="t1", size_bytes=0, sha256=sha256(b"")))
        self.assertTrue(target.exists())

    def test_strange_id(self):
        """An id that could lead out of the directory as part of a name is refused."""
        for transfer_id in ("../../x", "a/b", "", "x" * 65, "a\n"):
            self.said.clear()
            self.put(transfer_id=transfer_id)
            self.assertEqual([word.reason for word in self.said], ["PROTOCOL"])
        self.assert_nothing_left()

    def test_begun_twice(self):
        """A word that comes twice neither ends the transfer nor begins a second one."""
        self.put()
        self.put()
        self.data(b"abc")
        self.files.heard_file_end(FileEnd(transfer_id="t1", size_bytes=3, sha256=sha256(b"abc")))
        self.assertEqual(self.names(), ["FILE_READY", "FILE_DONE"])

    def test_unknown_transfer(self):
        """Words about a transfer that this agent never knew are answered, once."""
        for _ in range(3):
            self.data(b"x", transfer_id="lost")
        self.files.heard_file_ready(FileReady(transfer_id="lost", facts=facts(1), credit_bytes=0))
        self.assertEqual([word.reason for word in self.said], ["CONNECTION_LOST"])

    def test_unknown_failures(self):
        """A failure of an unknown transfer is not answered, or two sides would never rest."""
        self.files.heard_file_failed(FileFailed(transfer_id="lost", reason="X", detail=""))
        self.assertEqual(self.said, [])

    def test_late_words(self):
        """Words that were under way when the transfer failed here are not answered."""
        self.put()
        self.data(b"abcdef")
        self.data(b"ghi", offset=6)
        self.assertEqual(self.names(), ["FILE_READY", "FILE_FAILED"])
        self.assertEqual(self.said[-1].reason, "PROTOCOL")
        self.assert_nothing_left()

    def test_host_gives_up(self):
        """What the host gave up is cleared away without a word back."""
        self.put()
        self.files.heard_file_failed(FileFailed(transfer_id="t1", reason="CANCELLED", detail=""))
        self.assertEqual(self.names(), ["FILE_READY"])
        self.assert_nothing_left()

    def test_connection_lost(self):
        """A lost connection ends every transfer and leaves no temporary file."""
        (self.home / "f").write_bytes(b"abc")
        self.put()
        self.get(transfer_id="t2", credit_bytes=0)
        self.connected = False
        self.files.connection_lost("broken")
        self.assert_nothing_left("f")
        self.data(b"x", transfer_id="unknown")
        self.files.heard_file_failed(FileFailed(transfer_id="t1", reason="X", detail=""))

    def test_word_that_cannot_be_said(self):
        """A connection that is gone before anyone said so ends the transfer too."""
        self.connected = False
        self.put()
        self.assert_nothing_left()

    def test_in_place_though_nobody_hears(self):
        """A file that is whole stays, even if its FILE_DONE can't be said."""
        self.put()
        self.data(b"abc")
        self.connected = False
        self.files.heard_file_end(FileEnd(transfer_id="t1", size_bytes=3, sha256=sha256(b"abc")))
        self.assert_nothing_left("new")

    def test_stop_waits_for_threads(self):
        """Stopping returns when no thread touches a file any more."""
        held = HeldThread()
        self.files = self.new_files(held)
        self.put()
        held.run_next()
        held.run_next()
        self.data(b"ab")
        stopped = Deferred.fromCoroutine(self.files.stop())
        self.assertNoResult(stopped)
        while held.held:
            held.run_next()
        self.successResultOf(stopped)
        self.assertEqual([w.reason for w in self.said[1:]], ["CANCELLED"])
        self.assert_nothing_left()

    def test_bug_is_contained(self):
        """An error nobody expected ends that transfer, is logged, and is told to the host."""

        def broken(work, /, *args):
            raise RuntimeError("boom")

        self.files = self.new_files(broken)
        self.put()
        (failed,) = self.said
        self.assertEqual((failed.reason, failed.detail), ("IO_ERROR", "a bug"))
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.assertEqual(self.files._transfers, {})

    def test_home(self):
        """Without being told, relative paths begin in the agent's own home or at the root."""
        files = GuestFiles(
            reactor=self.clock,
            say=self.say,
            writable=lambda: succeed(None),
            in_thread=at_once,
        )
        self.assertTrue(Path(files._sites.home).is_dir())
