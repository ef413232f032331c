"""Sessions on a cable: both ends as transports, whatever was left on it and whoever comes anew."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IConsumer, IPushProducer, ITransport
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from tests.common.cable import BUFFER_BYTES, Cable, Talk
from vmcontroller.common.channel import MOST_PAYLOAD_BYTES, PADDING, Frame, Kind
from vmcontroller.common.channel_stream import STREAM_BUFFER_BYTES
from vmcontroller.common.errors import NotConnected
from vmcontroller.guest.channel import ANSWER_S, LINGER_S, CallingPort
from vmcontroller.host.channels import SESSION_INTERVAL_S, AnsweringPort

MEGABYTE = bytes(range(256)) * 4096


class Line(Cable):
    """A cable with a daemon on one end that notes its sessions, and a guest that can call."""

    def __init__(self) -> None:
        super().__init__(Clock())
        self.answered: list[Talk] = []
        self.sessions = iter(range(1, 1000))
        self.daemon()

    def daemon(self) -> None:
        """A daemon comes to the host's end, after whoever was there."""
        self.plug("host", AnsweringPort(self.clock, self._answer))

    def _answer(self) -> Talk:
        self.answered.append(Talk())
        return self.answered[-1]

    def call(self):
        """An agent comes to the guest's end; return what fires with its protocol."""
        self.clock.advance(SESSION_INTERVAL_S)
        factory = Factory.forProtocol(Talk)
        factory.noisy = False
        port = CallingPort(self.clock, next(self.sessions), factory)
        self.plug("guest", port)
        return port.opened


class LineCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.line = Line()

    def session(self) -> tuple[Talk, Talk]:
        """Return the guest's and the host's protocol of a new session."""
        opened = self.line.call()
        self.line.run()
        return self.successResultOf(opened), self.line.answered[-1]


class SessionTests(LineCase):
    def test_both_ways(self) -> None:
        """What one side writes the other hears, whole and in order."""
        guest, host = self.session()
        guest.transport.write(MEGABYTE)
        guest.transport.writeSequence((b"a", b"b"))
        host.transport.write(b"answer")
        self.line.run()
        self.assertEqual((host.heard, guest.heard), (MEGABYTE + b"ab", b"answer"))

    def test_it_is_a_transport(self) -> None:
        """It is what Twisted's protocols ask of a transport, both ways."""
        for talk in self.session():
            for interface in (ITransport, IConsumer, IPushProducer):
                self.assertTrue(verifyObject(interface, talk.transport))
            self.assertIsNotNone(talk.transport.getPeer())
            self.assertIsNotNone(talk.transport.getHost())

    def test_closed_by_either(self) -> None:
        """What was written before a close arrives; then both know that it is over."""
        for closing in (0, 1):
            pair = self.session()
            pair[closing].transport.write(MEGABYTE)
            pair[closing].transport.loseConnection()
            pair[closing].transport.write(b"too late")
            self.line.run()
            self.assertEqual(pair[1 - closing].heard, MEGABYTE)
            for talk in pair:
                self.assertTrue(talk.end.check(ConnectionDone))

    def test_half_close(self) -> None:
        """Who closes its half hears the other's end of it."""
        guest, host = self.session()
        host.transport.write(b"last words")
        host.transport.loseWriteConnection()
        self.assertIsNone(host.end)
        self.line.run()
        self.assertEqual(guest.heard, b"last words")
        self.assertTrue(guest.end.check(ConnectionDone))
        self.assertTrue(host.end.check(ConnectionDone))

    def test_aborted(self) -> None:
        """An abort forgets what waits, and is told after the call; the other side hears of it."""
        guest, host = self.session()
        self.line.host.is_stuck = True
        host.transport.write(MEGABYTE)
        host.transport.abortConnection()
        self.assertIsNone(host.end)
        guest.transport.write(b"not heard any more")
        self.line.run()
        self.assertTrue(host.end.check(ConnectionAborted))
        self.assertEqual(host.heard, b"")
        self.line.host.is_stuck = False
        self.line.run()
        self.assertLessEqual(len(guest.heard), BUFFER_BYTES + MOST_PAYLOAD_BYTES)
        self.assertTrue(guest.end.check(ConnectionDone))

    def test_guest_lets_go_of_the_port(self) -> None:
        """When its session is over, the guest closes the port, for there is one opening only."""
        _, host = self.session()
        host.transport.loseConnection()
        self.line.run()
        self.assertTrue(self.line.guest.is_lost)
        self.line.clock.advance(LINGER_S)

    def test_port_lost(self) -> None:
        """With the port, the session on it is gone."""
        guest, host = self.session()
        self.line.host.abortConnection()
        self.assertTrue(host.end.check(ConnectionDone))
        self.assertIsNone(guest.end)
        host.transport.write(b"nowhere")
        host.transport.resumeProducing()
        self.line.run()


class PressureTests(LineCase):
    def test_slow_reader_stops_the_writer(self) -> None:
        """Who writes more than the other reads is told to stop, and to go on when it has."""
        for source in (0, 1):
            pair = self.session()
            end = (self.line.guest, self.line.host)[source]
            end.is_stuck = True
            talk = pair[source]
            talk.transport.registerProducer(talk, True)
            written = 0
            while not talk.is_paused:
                talk.transport.write(bytes(1000))
                written += 1000
            self.assertLess(written, STREAM_BUFFER_BYTES + BUFFER_BYTES + 10_000)
            self.assertLess(end.most_bytes, BUFFER_BYTES + 2 * len(PADDING))
            end.is_stuck = False
            self.line.run()
            self.assertFalse(talk.is_paused)
            self.assertEqual(len(pair[1 - source].heard), written)
            talk.transport.unregisterProducer()

    def test_paused_reader(self) -> None:
        """A protocol that does not want to be read to is not; nothing is lost by it."""
        guest, host = self.session()
        host.transport.pauseProducing()
        guest.transport.write(MEGABYTE)
        self.line.run()
        self.assertEqual(host.heard, b"")
        self.assertTrue(self.line.host.is_paused)
        host.transport.resumeProducing()
        self.line.run()
        self.assertEqual(host.heard, MEGABYTE)

    def test_end_waits_for_what_is_to_be_written(self) -> None:
        """A close waits until a slow reader has everything."""
        guest, host = self.session()
        self.line.host.is_stuck = True
        host.transport.write(MEGABYTE)
        host.transport.loseConnection()
        self.line.clock.advance(1)
        self.assertIsNone(host.end)
        self.line.host.is_stuck = False
        self.line.run()
        self.assertEqual(guest.heard, MEGABYTE)
        self.assertIsNotNone(host.end)

    def test_guest_that_begins_and_never_reads(self) -> None:
        """One that begins sessions without end and reads no answer costs a bounded amount."""
        opens = b"".join(Frame(kind=Kind.OPEN, session=n).encode() for n in range(1, 2000))
        stale = b"".join(
            Frame(kind=Kind.DATA, session=n, payload=b"x").encode() for n in range(3000, 9000)
        )
        self.line.host.is_stuck = True
        for _ in range(20):
            self.line.host.protocol.dataReceived(opens + stale)
            for _ in range(20):
                self.line.clock.advance(SESSION_INTERVAL_S)
        self.assertLess(self.line.host.most_bytes, BUFFER_BYTES + 2 * len(PADDING))
        self.assertTrue(self.line.host.is_paused)
        self.assertLess(len(self.line.answered), 10)

    def test_sessions_one_after_the_other_are_slowed_down(self) -> None:
        """A guest can't keep the host busy with beginnings: there are so many in a second."""
        opens = b"".join(Frame(kind=Kind.OPEN, session=n).encode() for n in range(1, 200))
        self.line.host.protocol.dataReceived(opens)
        for _ in range(100):
            self.line.clock.advance(0.01)
            self.line.host.take(1 << 20)
        self.assertLessEqual(len(self.line.answered), 12)
        self.assertGreaterEqual(len(self.line.answered), 9)


class AnewTests(LineCase):
    """One side goes without a word, and somebody else comes in its place."""

    @settings(max_examples=60, deadline=None)
    @given(
        cut=st.integers(0, 40_000),
        size=st.integers(0, 40_000),
        chunk=st.integers(1, 5000),
        lost=st.booleans(),
    )
    def test_agent_killed(self, cut: int, size: int, chunk: int, lost: bool) -> None:
        """Whatever the old agent left half-said, the new one's session is whole.

        And nothing is heard of the old one that it had not said.
        """
        self.line = Line()
        guest, host = self.session()
        host.transport.write(bytes(size))  # what the old one has not read
        guest.transport.write(b"x" * 40_000)
        del self.line.guest.waiting[cut:]
        if lost:
            self.line.host.waiting.clear()
        opened = self.line.call()
        self.line.run(chunk)
        self.assertEqual(bytes(host.heard), b"x" * len(host.heard))
        self.assertIsNotNone(host.end)
        anew = self.successResultOf(opened)
        self.assertEqual(anew.heard, b"")
        anew.transport.write(MEGABYTE)
        self.line.answered[-1].transport.write(MEGABYTE)
        self.line.run(MOST_PAYLOAD_BYTES)
        self.assertEqual(self.line.answered[-1].heard, MEGABYTE)
        self.assertEqual(anew.heard, MEGABYTE)
        self.assertEqual(len(self.line.answered), 2)

    @settings(max_examples=60, deadline=None)
    @given(cut=st.integers(0, 40_000), chunk=st.integers(1, 5000), noticed=st.booleans())
    def test_daemon_killed(self, cut: int, chunk: int, noticed: bool) -> None:
        """A new daemon's first word ends the session of the old one, which can begin anew."""
        self.line = Line()
        guest, host = self.session()
        host.transport.write(b"x" * 40_000)
        del self.line.host.waiting[cut:]
        self.line.guest.waiting.clear()
        self.line.daemon()
        self.line.run(chunk)
        self.assertEqual(bytes(guest.heard), b"x" * len(guest.heard))
        self.assertIsNotNone(guest.end)
        anew, answered = self.session()
        anew.transport.write(b"hello")
        self.line.run()
        self.assertEqual(answered.heard, b"hello")

    def test_daemon_comes_while_the_guest_calls(self) -> None:
        """A call that the old daemon took with it is made again when the new one has come."""
        opened = self.line.call()
        self.line.guest.waiting.clear()
        self.line.daemon()
        self.line.run()
        talk = self.successResultOf(opened)
        self.assertIsNone(talk.end)
        self.assertEqual(len(self.line.answered), 1)

    def test_call_that_comes_twice(self) -> None:
        """A call that was made again but had arrived is one session, not two."""
        opened = self.line.call()
        self.line.host.protocol.say(Kind.CLOSE, 0)
        self.line.run()
        talk = self.successResultOf(opened)
        talk.transport.write(b"once")
        self.line.run()
        self.assertEqual([bytes(each.heard) for each in self.line.answered], [b"once"])

    def test_guest_put_back(self) -> None:
        """A guest that is restored to an earlier state of its session is told that it is over."""
        guest, host = self.session()
        state = guest.transport.numbering
        for _ in range(3):
            guest.transport.write(b"before")
        self.line.run()
        state._sent = 1
        guest.transport.write(b"again")
        self.line.run()
        self.assertTrue(host.end.check(ConnectionAborted))
        self.assertTrue(guest.end.check(ConnectionDone))
        self.assertEqual(host.heard, b"before" * 3)

    def test_guest_put_back_to_another_session(self) -> None:
        """One restored to a session that the host has forgotten is told so at its first word."""
        guest, _ = self.session()
        guest.transport.numbering.session = 0xDEAD
        guest.transport.write(b"is anybody there?")
        self.line.run()
        self.assertTrue(guest.end.check(ConnectionDone))
        self.assertEqual(self.line.answered[0].heard, b"")


class CallTests(LineCase):
    def test_nobody_answers(self) -> None:
        """A call without an answer fails in time, and the port is closed."""
        self.line.host.is_stuck = True
        opened = self.line.call()
        self.line.run()
        self.line.clock.advance(ANSWER_S)
        self.failureResultOf(opened, NotConnected)
        self.line.clock.advance(0)
        self.assertTrue(self.line.guest.is_lost)

    def test_given_up(self) -> None:
        """A call can be given up."""
        self.line.host.is_stuck = True
        opened = self.line.call()
        opened.cancel()
        self.failureResultOf(opened, NotConnected)
        self.assertTrue(self.line.guest.is_lost)
        self.assertEqual(self.line.clock.getDelayedCalls(), [])

    def test_host_goes_before_it_answers(self) -> None:
        """A call ends with the port."""
        opened = self.line.call()
        self.line.guest.abortConnection()
        self.failureResultOf(opened, NotConnected)

    def test_nobody_wants_it(self) -> None:
        """A factory that builds nothing fails the call."""
        factory = Factory()
        factory.buildProtocol = lambda addr: None
        port = CallingPort(self.line.clock, 5, factory)
        self.line.plug("guest", port)
        self.line.run()
        self.failureResultOf(port.opened, NotConnected)
        self.assertTrue(self.line.guest.is_lost)

    def test_words_of_the_wrong_side(self) -> None:
        """What only the other side may say is ignored."""
        guest, host = self.session()
        self.line.guest.protocol.say(Kind.OPENED, 1)
        self.line.host.protocol.say(Kind.OPEN, 9)
        self.line.run()
        self.assertEqual((guest.end, host.end), (None, None))
