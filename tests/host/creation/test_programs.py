"""Programs of the host: what is known of their end, and that none outlives whoever wanted it."""

from __future__ import annotations

import os

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from vmcontroller.common.spawning import StartFailed
from vmcontroller.host.creation.programs import SAID_BYTES, Ended, runner


class ProgramTests(TestCase):
    timeout = 30

    def setUp(self) -> None:
        self.run = runner(reactor)

    async def test_success(self) -> None:
        """A program that ends well is told so, with what it warned of."""
        ended = await self.run(["sh", "-c", "echo out; echo hm >&2"], 20)
        self.assertEqual(ended, Ended(succeeded=True, said="hm"))

    async def test_failure(self) -> None:
        """The end of what it said is told; or its exit code or signal when it said nothing."""
        ended = await self.run(["sh", "-c", "echo no room >&2; exit 3"], 20)
        self.assertEqual(ended, Ended(succeeded=False, said="no room"))
        ended = await self.run(["sh", "-c", "exit 3"], 20)
        self.assertEqual(ended.said, "exit code 3")
        ended = await self.run(["sh", "-c", "kill -9 $$"], 20)
        self.assertEqual(ended.said, "ended by signal 9")
        ended = await self.run(["sh", "-c", "yes 123456789 | head -c 1000000 >&2; exit 1"], 20)
        self.assertLessEqual(len(ended.said), SAID_BYTES)

    async def test_deadline(self) -> None:
        """A program that doesn't end is killed with what it started."""
        ended = await self.run(["sh", "-c", "sleep 1000 & sleep 1000"], 0.01)
        self.assertEqual(ended, Ended(succeeded=False, said="did not end within 0.01 s"))

    async def test_what_it_makes_is_private(self) -> None:
        """A disk that a program makes is not for every user of the host to read."""
        path = self.mktemp()
        await self.run(["sh", "-c", f"echo x >{path}"], 20)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    async def test_missing(self) -> None:
        """A program that isn't there can't be started."""
        with self.assertRaises(StartFailed):
            await self.run(["no-such-program-here"], 1)

    async def test_cancelled(self) -> None:
        """When nobody waits any more, it is killed."""
        fifo = self.mktemp()
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        running = Deferred.fromCoroutine(self.run(["sh", "-c", f"exec sleep 1000 >{fifo}"], 900))
        running.cancel()
        with self.assertRaises(CancelledError):
            await running
