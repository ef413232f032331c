"""Copies over real files, real threads and real limits of the system; only the wire is memory."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.common.copying_wire import facts, open_files, sha256
from vmcontroller.common.copying.course import threads_of
from vmcontroller.common.copying.incoming import WINDOW_BYTES
from vmcontroller.common.copying.landing import NewFile
from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.copying.source import place_at
from vmcontroller.common.errors import TransferFailed
from vmcontroller.common.model import GuestId
from vmcontroller.common.words import hear
from vmcontroller.common.words.files import FileData
from vmcontroller.common.words.presence import PROTOCOL_VERSION
from vmcontroller.guest.files import GuestFiles
from vmcontroller.host.transfers.ledger import Ledger
from vmcontroller.host.transfers.request import CopyRequest, Direction
from vmcontroller.host.transfers.roots import AllowedRoots
from vmcontroller.host.transfers.transfers import Transfers
from vmcontroller.host.transfers.world import World

GUEST = GuestId("52:54:00:00:00:01")
MIB = 2**20
NOBODY = 65534


@contextlib.contextmanager
def as_nobody():
    """Without root's rights, which no permission stops; whoever is not root stays who it is."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


class CopyingCase(TestCase):
    timeout = 60

    def setUp(self):
        # Below /tmp, where someone without rights gets to.
        self.base = Path(tempfile.mkdtemp(prefix="copying-"))
        self.base.chmod(0o755)
        self.addCleanup(shutil.rmtree, self.base)
        self.exchange, self.home = self.base / "exchange", self.base / "home"
        self.exchange.mkdir()
        self.home.mkdir()
        self.on_the_way_bytes = self.most_on_the_way_bytes = 0
        threads = threads_of(reactor)
        self.transfers = Transfers(
            World(
                clock=reactor,
                wall_s=time.time,
                in_thread=threads,
                say=lambda guest, word: self._deliver(self.guest, word),
                writable=lambda guest: succeed(None),
                bulk=None,
                ask_for_hello=lambda guest: None,
                roots=AllowedRoots([str(self.exchange)]).of,
                ledger=Ledger(self.base / "ledger"),
                resume_grace_s=60.0,
            )
        )
        self.transfers.open()
        self.guest = GuestFiles(
            reactor=reactor,
            say=lambda word: self._deliver(self.transfers, word, GUEST),
            writable=lambda: succeed(None),
            home=str(self.home),
        )
        self.guest.host_speaks(PROTOCOL_VERSION)

    def put(self, local, remote, **options):
        return self.copy(Direction.TO_VM, local, remote, **options)

    def get(self, remote, local, **options):
        return self.copy(Direction.FROM_VM, local, remote, **options)

    async def copy(self, direction, local, remote, **options):
        request = CopyRequest(
            direction=direction,
            vm_name="vm",
            vm_uuid="uuid",
            guest=GUEST,
            protocol=PROTOCOL_VERSION,
            local_path=local,
            remote_path=remote,
            **options,
        )
        return await self.transfers.copy(request)

    def _deliver(self, ears, word, *sender):
        size_bytes = len(word.data) if isinstance(word, FileData) else 0
        self.on_the_way_bytes += size_bytes
        self.most_on_the_way_bytes = max(self.most_on_the_way_bytes, self.on_the_way_bytes)
        utterance = word.how_to_say()

        def deliver():
            self.on_the_way_bytes -= size_bytes
            heard = hear(utterance)
            getattr(ears, f"heard_{heard.NAME.lower()}")(heard, *sender)

        reactor.callLater(0, deliver)

    async def settle(self):
        """Let the last words arrive, and the last threads close their files."""
        await deferLater(reactor, 0.01, lambda: None)
        await self.transfers.stop()
        await deferLater(reactor, 0.01, lambda: None)
        await self.guest.stop()
        self.transfers._stopping = False
        self.assertEqual(self.leftovers(), [])
        self.assertEqual(open_files(self.base), [])

    def leftovers(self):
        return list(self.base.rglob("*.vmcontroller-*"))

    def holds(self, size_bytes):
        """Tell whether a copy under way, or one that has just ended, has so much of the disk."""
        files = [*self.leftovers(), *self.disk.glob("copy")]
        return any(file.stat().st_blocks * 512 >= size_bytes for file in files)

    async def assert_fails(self, reason, copy):
        """Return the detail."""
        with self.assertRaises(TransferFailed) as caught:
            await copy
        self.assertEqual(caught.exception.reason, reason, caught.exception.detail)
        await self.settle()
        return caught.exception.detail


class TestRealFiles(CopyingCase):
    async def test_20_mb_both_ways(self):
        """20 MB go in and come out equal, and never more than the window is on the way."""
        content = os.urandom(20_000_000)
        (self.exchange / "in").write_bytes(content)
        await self.put("in", "copy")
        await self.get("copy", "out")
        self.assertEqual((self.exchange / "out").read_bytes(), content)
        self.assertEqual((self.home / "copy").read_bytes(), content)
        self.assertLessEqual(self.most_on_the_way_bytes, WINDOW_BYTES)
        await self.settle()

    async def test_reactor_stays_free(self):
        """While 64 MiB are copied the reactor never waits for the disk or for SHA-256."""
        (self.exchange / "in").write_bytes(bytes(64 * MIB))
        gaps, last = [], [reactor.seconds()]

        def tick():
            now = reactor.seconds()
            gaps.append(now - last[0])
            last[0] = now
            self.ticking = reactor.callLater(0.001, tick)

        tick()
        try:
            await self.put("in", "copy")
        finally:
            self.ticking.cancel()
        # An fsync or the hash of 64 MiB in the reactor would be one gap of all that time.
        self.assertGreater(len(gaps), 10)
        self.assertLess(max(gaps), 0.5 * sum(gaps))

    async def test_many_at_once(self):
        """Twelve copies at once, more than the threads of the pool, all arrive whole."""
        contents = [os.urandom(2 * MIB + i) for i in range(12)]
        copies = []
        for i, content in enumerate(contents):
            side, copy = (self.exchange, self.put) if i % 2 else (self.home, self.get)
            (side / f"f{i}").write_bytes(content)
            copies.append(Deferred.fromCoroutine(copy(f"f{i}", f"c{i}")))
        await gatherResults(copies)
        for i, content in enumerate(contents):
            side = self.home if i % 2 else self.exchange
            self.assertEqual((side / f"c{i}").read_bytes(), content)

    async def test_cancelled(self):
        """A copy cancelled in its middle leaves nothing on either side."""
        (self.exchange / "in").write_bytes(bytes(64 * MIB))
        copy = Deferred.fromCoroutine(self.put("in", "copy"))
        while not self.leftovers():
            await deferLater(reactor, 0.001, lambda: None)
        copy.cancel()
        with contextlib.suppress(CancelledError):
            await copy
            self.fail("it was not cancelled")
        await self.settle()
        self.assertEqual(list(self.home.iterdir()), [])

    async def test_what_is_no_file(self):
        """An endless device, a FIFO nobody writes to and a directory are refused at once."""
        os.mkfifo(self.home / "fifo")
        for remote, reason in {
            "/dev/zero": Reason.NOT_A_FILE,
            "fifo": Reason.NOT_A_FILE,
            "/": Reason.IS_A_DIRECTORY,
            "/tmp/": Reason.IS_A_DIRECTORY,
            "/proc/self/status": Reason.CHANGED,
        }.items():
            await self.assert_fails(reason, self.get(remote, "x"))

    async def test_no_permission(self):
        """A file that may not be read, and a directory that may not be written, say so."""
        (self.home / "secret").write_bytes(b"abc")
        (self.home / "secret").chmod(0)
        (self.home / "closed").mkdir(mode=0o555)
        (self.home / "open").mkdir()
        (self.home / "open").chmod(0o777)
        (self.exchange / "f").write_bytes(b"abc")
        await self.put("f", "warm")  # everything is imported by now
        self.exchange.chmod(0o777)
        with as_nobody():
            await self.assert_fails(Reason.PERMISSION_DENIED, self.get("secret", "x"))
            await self.put("f", "open/f")  # so it is not the host's file
            detail = await self.assert_fails(Reason.PERMISSION_DENIED, self.put("f", "closed/f"))
        self.assertIn("closed/f", detail)  # the guest's own words: it was the guest that refused
        self.assertTrue((self.home / "open" / "f").exists())
        self.assertEqual(list((self.home / "closed").iterdir()), [])

    async def test_larger_than_files_may_be(self):
        """A limit on the size of files ends it as TOO_LARGE before the first byte."""
        (self.exchange / "in").write_bytes(bytes(8 * MIB))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4 * MIB, hard))
        try:
            await self.assert_fails(Reason.TOO_LARGE, self.put("in", "copy"))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class SmallDiskCase(CopyingCase):
    def small_disk(self, parent):
        self.disk = parent / "disk"
        self.disk.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(self.disk)]
        subprocess.run(mount, check=True)
        self.addCleanup(subprocess.run, ["umount", str(self.disk)], check=True)


class TestSmallDiskOfTheHost(SmallDiskCase):
    def setUp(self):
        super().setUp()
        self.small_disk(self.exchange)

    async def test_reserve(self):
        """What a guest sends may not take the last of the host's disk; a bit less may come."""
        (self.home / "all").write_bytes(bytes(4 * MIB))
        (self.home / "less").write_bytes(bytes(3 * MIB + MIB // 2))
        await self.assert_fails(Reason.DISK_FULL, self.get("all", "disk/copy"))
        self.assertEqual(list(self.disk.iterdir()), [])
        await self.get("less", "disk/copy")
        self.assertEqual((self.disk / "copy").stat().st_size, 3 * MIB + MIB // 2)


class TestSmallDisk(SmallDiskCase):
    def setUp(self):
        super().setUp()
        self.small_disk(self.home)

    async def test_full_before(self):
        """A file that does not fit is refused, and what was there stays."""
        (self.exchange / "in").write_bytes(bytes(5 * MIB))
        (self.disk / "copy").write_bytes(b"as it was")
        await self.assert_fails(Reason.DISK_FULL, self.put("in", "disk/copy"))
        self.assertEqual((self.disk / "copy").read_bytes(), b"as it was")
        self.assertEqual([path.name for path in self.disk.iterdir()], ["copy"])

    async def test_space_is_held_for_it(self):
        """Someone who fills the disk meanwhile can't take the space of a copy under way."""
        content = os.urandom(3 * MIB)
        (self.exchange / "in").write_bytes(content)
        copy = Deferred.fromCoroutine(self.put("in", "disk/copy"))
        while not self.holds(len(content)):  # the file is made a moment before its space is
            await deferLater(reactor, 0.001, lambda: None)
        with (self.disk / "greedy").open("wb", buffering=0) as greedy, contextlib.suppress(OSError):
            while True:
                greedy.write(bytes(64 * 1024))
        await copy
        self.assertEqual((self.disk / "copy").read_bytes(), content)

    async def test_full_in_the_middle(self):
        """Where no space could be held, running out of it ends the file and removes it."""
        place = place_at(str(self.disk / "copy"), home="/")
        new = NewFile(place, "t1", facts(1))
        with (self.disk / "greedy").open("wb", buffering=0) as greedy, contextlib.suppress(OSError):
            while True:
                greedy.write(bytes(64 * 1024))
        with self.assertRaises(TransferFailed) as caught:
            new.write(bytes(MIB))
        self.assertEqual(caught.exception.reason, Reason.DISK_FULL)
        new.discard()
        place.close()
        self.assertEqual([path.name for path in self.disk.iterdir()], ["greedy"])

    async def test_read_only_disk(self):
        """A disk mounted read-only is PERMISSION_DENIED, for root too."""
        remount = ["mount", "-o", "remount,ro", str(self.disk)]
        await deferToThread(subprocess.run, remount, check=True)
        (self.exchange / "in").write_bytes(b"abc")
        copy = self.put("in", "disk/copy")
        await self.assert_fails(Reason.PERMISSION_DENIED, copy)

    async def test_exactly_full(self):
        """A file that fills the disk to its last byte arrives."""
        content = os.urandom(4 * MIB)
        (self.exchange / "in").write_bytes(content)
        await self.put("in", "disk/copy")
        self.assertEqual(sha256((self.disk / "copy").read_bytes()), sha256(content))
