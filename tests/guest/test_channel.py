"""The guest's port in the reactor: a pseudo-terminal plays the device, the test plays the host."""

from __future__ import annotations

import contextlib
import os
import select
import termios
import tty
from pathlib import Path

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.common.cable import Talk
from vmcontroller.common.channel import PADDING, Deframer, Frame, Kind
from vmcontroller.common.errors import NotConnected
from vmcontroller.guest.channel import ANSWER_S, LINGER_S, ChannelEndpoint, open_port


class DescriptorClock(Clock):
    """A clock that is also asked to watch descriptors, and is told when to look."""

    def __init__(self) -> None:
        super().__init__()
        self.readers: set = set()
        self.writers: set = set()

    def addReader(self, reader):
        self.readers.add(reader)

    def addWriter(self, writer):
        self.writers.add(writer)

    def removeReader(self, reader):
        self.readers.discard(reader)

    def removeWriter(self, writer):
        self.writers.discard(writer)

    def look(self) -> None:
        """Do what a reactor does for each descriptor that is ready, once."""
        self.advance(0)
        for watched, do, flag in (
            (self.writers, "doWrite", select.POLLOUT),
            (self.readers, "doRead", select.POLLIN | select.POLLHUP),
        ):
            for each in list(watched):
                poll = select.poll()
                poll.register(each.fileno(), flag)
                if poll.poll(0):
                    why = getattr(each, do)()
                    if why is not None:
                        each.connectionLost(Failure(why))


class PortCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.reactor = DescriptorClock()
        self.host, device = os.openpty()
        self.path = os.ttyname(device)
        os.close(device)
        os.set_blocking(self.host, False)
        self.deframer = Deframer()
        self.factory = Factory.forProtocol(Talk)
        self.factory.noisy = False
        self.addCleanup(self.leave)

    def leave(self) -> None:
        """The host goes away."""
        if self.host >= 0:
            os.close(self.host)
            self.host = -1

    def connect(self):
        """Begin a session; return the Deferred of it."""
        return ChannelEndpoint(self.reactor, self.path).connect(self.factory)

    def hear(self) -> list[Frame]:
        """Return the frames that the guest has written."""
        frames = []
        for _ in range(200):
            self.reactor.look()
            try:
                self.deframer.push(os.read(self.host, 1 << 16))
            except OSError:
                continue
            while (frame := self.deframer.next_frame()) is not None:
                frames.append(frame)
        return frames

    def say(self, octets: bytes) -> None:
        """Let the host write."""
        while octets:
            with contextlib.suppress(BlockingIOError):
                octets = octets[os.write(self.host, octets) :]
            self.reactor.look()

    def session(self) -> tuple[Talk, int]:
        """Return the guest's protocol of a new session, and its number."""
        opened = self.connect()
        [call] = self.hear()
        self.assertEqual(call.kind, Kind.OPEN)
        self.say(Frame(kind=Kind.OPENED, session=call.session).encode())
        return self.successResultOf(opened), call.session


class PortTests(PortCase):
    def test_session(self) -> None:
        """A session goes through the device octet for octet, whatever they are."""
        octets = bytes(range(256)) * 200
        talk, number = self.session()
        self.say(Frame(kind=Kind.DATA, session=number, payload=octets[:16384]).encode())
        self.assertEqual(talk.heard, octets[:16384])
        talk.transport.write(octets)
        heard = b"".join(frame.payload for frame in self.hear())
        self.assertEqual(heard, octets)

    def test_closed_by_the_host(self) -> None:
        """The end of the session closes the device, and answers."""
        talk, number = self.session()
        self.say(Frame(kind=Kind.CLOSE, session=number).encode())
        self.assertTrue(talk.end.check(ConnectionDone))
        self.assertEqual([frame.kind for frame in self.hear()], [Kind.CLOSE])
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        self.reactor.advance(LINGER_S)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_host_that_does_not_read(self) -> None:
        """A device that takes nothing more is closed all the same when the session ends."""
        talk, _ = self.session()
        talk.transport.write(bytes(1 << 20))
        for _ in range(50):
            self.reactor.look()
        talk.transport.abortConnection()
        self.reactor.look()
        self.assertNotEqual(self.reactor.writers, set())
        self.reactor.advance(LINGER_S)
        self.reactor.advance(0)
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))

    def test_host_goes_away(self) -> None:
        """A device without a host is a lost connection, told once, and watched no more."""
        talk, _ = self.session()
        self.leave()
        self.reactor.look()
        self.assertTrue(talk.end.check(ConnectionDone, ConnectionLost))
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))
        self.assertEqual(self.reactor.getDelayedCalls()[1:], [])

    def test_nobody_answers(self) -> None:
        """A host that never answers fails the attempt, and the device is closed."""
        opened = self.connect()
        self.reactor.advance(ANSWER_S)
        self.failureResultOf(opened, NotConnected)
        self.reactor.advance(0)
        self.assertEqual((self.reactor.readers, self.reactor.writers), (set(), set()))

    def test_number_is_new_each_time(self) -> None:
        """An agent that was restarted is not taken for the one before."""
        numbers = set()
        for _ in range(5):
            talk, number = self.session()
            numbers.add(number)
            talk.transport.abortConnection()
            self.hear()
            self.reactor.advance(LINGER_S)
        self.assertEqual(len(numbers), 5)

    def test_padding_first(self) -> None:
        """The first octets complete whatever the agent before has left half-said."""
        self.connect()
        octets = b""
        for _ in range(200):
            self.reactor.look()
            try:
                octets += os.read(self.host, 1 << 16)
            except OSError:
                continue
        self.assertEqual(octets[: len(PADDING)], PADDING)


class OpenTests(PortCase):
    def test_no_device(self) -> None:
        """What is not there, or is no device, is said by its path."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "file").write_bytes(b"")
        for path, expected in (
            (folder / "none", "No such file"),
            (folder / "file", "is no device"),
        ):
            with self.assertRaisesRegex(NotConnected, expected) as raised:
                open_port(str(path))
            self.assertIn(str(path), str(raised.exception))

    def test_is_there(self) -> None:
        """A machine without the device has no channel."""
        self.assertTrue(ChannelEndpoint(self.reactor, self.path).is_there())
        self.assertFalse(ChannelEndpoint(self.reactor, self.path + "x").is_there())

    def test_no_host(self) -> None:
        """A device without a host fails at once, and is not left open."""
        device = os.open(self.path, os.O_RDWR | os.O_NOCTTY)
        path = f"/proc/self/fd/{device}"
        self.addCleanup(os.close, device)
        before = len(os.listdir("/proc/self/fd"))
        self.leave()
        error = self.failureResultOf(ChannelEndpoint(self.reactor, path).connect(self.factory))
        self.assertTrue(error.check(NotConnected))
        self.assertEqual(len(os.listdir("/proc/self/fd")), before - 1)

    def test_a_terminal_is_made_raw(self) -> None:
        """A serial port passes octets on as they are, and echoes none."""
        descriptor = open_port(self.path)
        self.addCleanup(os.close, descriptor)
        flags = termios.tcgetattr(descriptor)[tty.LFLAG]
        self.assertFalse(flags & (termios.ECHO | termios.ICANON))
