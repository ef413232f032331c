"""The reading end of a pipe, driven by hand instead of by a reactor."""

from __future__ import annotations

import os

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.guest.commands.streams import OutputPipe


class OutputPipeTests(SynchronousTestCase):
    """A pipe with both ends here."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        fd, self.writer = os.pipe()
        os.set_blocking(fd, False)
        self.data: list[bytes] = []
        self.ends = 0
        self.pipe = OutputPipe(self.reactor, fd, self.data.append, self.end)
        self.pipe.begin()
        self.addCleanup(self.reactor.advance, 1)
        self.addCleanup(self.pipe.close)
        self.addCleanup(self.close_writer)

    def end(self) -> None:
        self.ends += 1

    def close_writer(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    def test_data_and_end(self) -> None:
        """What is written is handed over, and the end is told once."""
        os.write(self.writer, b"hello")
        self.pipe.doRead()
        self.close_writer()
        self.pipe.doRead()
        self.pipe.close()
        self.assertEqual((self.data, self.ends), ([b"hello"], 1))
        self.assertEqual(self.reactor.getReaders(), [])

    def test_nothing_there(self) -> None:
        """Being called without anything to read is not the end."""
        self.pipe.doRead()
        self.assertEqual((self.data, self.ends, self.pipe.open), ([], 0, True))

    def test_drain(self) -> None:
        """All that is in the pipe comes at once, the end included."""
        os.write(self.writer, b"x" * 65536)
        self.close_writer()
        self.pipe.drain()
        self.assertEqual((sum(map(len, self.data)), self.ends), (65536, 1))

    def test_hang_up_of_another(self) -> None:
        """An event meant for a descriptor that had the number before ends nothing."""
        self.reactor.removeReader(self.pipe)  # as the reactor does before it tells
        self.pipe.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.reactor.getReaders(), [self.pipe])
        self.assertEqual((self.ends, self.pipe.open), (0, True))

    def test_hang_up(self) -> None:
        """A hang-up that is real is the end."""
        self.close_writer()
        self.pipe.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.ends, self.pipe.open), (1, False))

    def test_reactor_stops(self) -> None:
        """When the reactor gives it up, it is closed."""
        self.pipe.connectionLost(Failure(ConnectionLost()))
        self.assertEqual((self.ends, self.pipe.open), (1, False))

    def test_number_is_not_free_before_the_turn_ends(self) -> None:
        """Nothing opened in the same turn gets the number for which events may be pending."""
        fd = self.pipe.fileno()
        self.pipe.close()
        os.fstat(fd)  # raises when it is closed
        self.reactor.advance(0)
        with self.assertRaises(OSError):
            os.fstat(fd)
