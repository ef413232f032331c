"""Console logs that are rotated under the reader: every byte has one offset, for ever."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.hypervisor.console_files import ConsoleFiles, Placed, Seen, place


class VirtlogdModel(RuleBasedStateMachine):
    """A writer that rotates as virtlogd does, with inodes given again as soon as they are free."""

    KEPT = 3

    def __init__(self) -> None:
        super().__init__()
        self.files = [Seen(inode=1, size=0, mtime_ns=0)]
        self.true_begins = [0]
        self.now = 0
        self.known: tuple[Placed, ...] = ()
        self.unseen = 0
        """Rotations since the last look."""

    @rule(count=st.integers(1, 50))
    def write(self, count: int) -> None:
        self.now += 1
        last = self.files[-1]
        self.files[-1] = Seen(inode=last.inode, size=last.size + count, mtime_ns=self.now)

    @rule()
    def rotate(self) -> None:
        self.now += 1
        self.unseen += 1
        self.true_begins.append(self.true_begins[-1] + self.files[-1].size)
        if len(self.files) > self.KEPT:
            free = self.files.pop(0).inode
            self.true_begins.pop(0)
        else:
            free = len(self.files) + 1
        self.files.append(Seen(inode=free, size=0, mtime_ns=self.now))

    @rule()
    def look(self) -> None:
        before = self.known
        self.known = place(before, self.files)
        assert [each.seen for each in self.known] == self.files[-len(self.known) :]
        if before:
            assert self.known[0].begins >= before[0].begins
            assert self.known[-1].ends >= before[-1].ends
        if self.unseen > self.KEPT and before:
            assert self.known[0].begins > before[-1].ends, "what was dropped unseen is a gap"
        elif before:
            true = self.true_begins[-len(self.known) :]
            shifts = {each.begins - begins for each, begins in zip(self.known, true, strict=True)}
            if hasattr(self, "shift"):
                assert shifts == {self.shift}, "an offset means another byte now"
        self.shift = self.known[0].begins - self.true_begins[-len(self.known)]
        self.unseen = 0

    @invariant()
    def pieces_follow_each_other(self) -> None:
        for earlier, later in zip(self.known, self.known[1:], strict=False):
            assert earlier.ends == later.begins


VirtlogdTests = VirtlogdModel.TestCase


class ConsoleFilesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(os.path.abspath(self.mktemp()))
        self.files = ConsoleFiles(str(self.home))
        self.files.prepare()
        self.path = self.files.log_of("vm")

    def write(self, data: bytes) -> None:
        with open(self.path, "ab") as log:
            log.write(data)

    def rotate(self) -> None:
        """As virtlogd does: the oldest goes, the others move, a new one begins."""
        for number in (1, 0):
            older = Path(f"{self.path}.{number}")
            if older.exists():
                older.rename(f"{self.path}.{number + 1}")
        Path(self.path).rename(f"{self.path}.0")
        self.write(b"")

    def read(self, offset: int = 0, length: int = 1000):
        piece = self.files.read("vm", self.path, offset, length)
        return (piece.data, piece.offset, piece.next, piece.begins)

    def test_no_log_yet(self) -> None:
        """Of a machine that never ran it is empty."""
        self.assertEqual(self.read(), (b"", 0, 0, 0))
        self.assertEqual(self.read(7), (b"", 0, 0, 0))

    def test_pages(self) -> None:
        """Piece by piece, over the files' borders, and nothing behind the end."""
        self.write(b"abc")
        self.rotate()
        self.write(b"defg")
        self.assertEqual(self.read(), (b"abcdefg", 0, 7, 0))
        self.assertEqual(self.read(2, 3), (b"cde", 2, 5, 0))
        self.assertEqual(self.read(7), (b"", 7, 7, 0))
        self.assertEqual(self.read(99), (b"", 7, 7, 0))

    def test_offsets_outlive_rotation_and_the_daemon(self) -> None:
        """What was dropped is passed over; another reader, of the next daemon, goes on there."""
        self.write(b"0123")
        for digit in b"4567":
            self.assertEqual(self.read(4)[1], 4)
            self.rotate()
            self.write(bytes([digit]) * 10)
            self.files = ConsoleFiles(str(self.home))
        data, offset, end, begins = self.read(2)
        self.assertEqual((offset, end, begins), (4, 44, 4))
        self.assertEqual(data, b"4" * 10 + b"5" * 10 + b"6" * 10 + b"7" * 10)

    def test_rotated_out_of_sight(self) -> None:
        """When nothing that was known is there any more, offsets go on and show the gap."""
        self.write(b"old")
        self.assertEqual(self.read()[2], 3)
        for _ in range(4):
            self.rotate()
            self.write(b"new")
        data, offset, end, begins = self.read(3)
        self.assertGreater(offset, 3)
        self.assertEqual((data, end - offset, begins), (b"new" * 4, 12, offset))

    def test_truncated(self) -> None:
        """A log that somebody emptied goes on with new offsets: none means another byte."""
        self.write(b"abc")
        self.read()
        Path(self.path).write_bytes(b"x")
        data, offset, _, begins = self.read()
        self.assertEqual((data, offset), (b"x", begins))
        self.assertGreater(begins, 3)

    def test_removed(self) -> None:
        """After a removal there are no files and no notes: the name's next machine begins at 0."""
        self.write(b"abc")
        self.rotate()
        self.read()
        self.files.remove("vm")
        self.files.remove("vm")
        self.assertEqual(list(self.home.iterdir()), [])
        self.write(b"z")
        self.assertEqual(self.read(), (b"z", 0, 1, 0))

    def test_what_is_no_file(self) -> None:
        """A pipe in the place of a log is refused, and does not hang the reader."""
        os.mkfifo(self.path)
        self.assertRaises(OSError, self.read)

    def test_notes_that_cannot_be_read(self) -> None:
        """Notes that a crash cut off are as none."""
        self.write(b"abc")
        self.read()
        (self.home / "vm.offsets").write_text('[{"seen": {}')
        self.assertEqual(self.read(), (b"abc", 0, 3, 0))

    @given(st.lists(st.builds(Seen, inode=st.just(1), size=st.just(0), mtime_ns=st.just(0))))
    def test_empty_files(self, found: list[Seen]) -> None:
        """Files that nothing tells apart are all placed, at one offset."""
        self.assertEqual([each.begins for each in place((), found)], [0] * len(found))
