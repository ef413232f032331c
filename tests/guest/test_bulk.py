"""The agent's second connection by itself: when it is opened, used, done without, and closed."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.common.copying_wire import facts
from tests.common.stomp.test_client import ScriptedEndpoint
from tests.guest.fakes import FakeLink
from vmcontroller.common.copying.course import Way
from vmcontroller.common.destinations import (
    CONNECTION_KIND,
    GUEST_ID,
    KIND_BULK,
    RESPONSES,
    bulk_of,
)
from vmcontroller.common.errors import NotConnected
from vmcontroller.common.stomp.client import Credentials
from vmcontroller.common.words.files import (
    FileCredit,
    FileData,
    FileDone,
    FileEnd,
    FileFailed,
    FileHole,
    FileReady,
)
from vmcontroller.guest.bulk import (
    AGAIN_AFTER_S,
    CLOSED_AFTER_S,
    OPEN_WITHIN_S,
    Bulk,
    Outcome,
    Session,
)
from vmcontroller.guest.bulk_session import BulkSession

GUEST = "52:54:00:00:00:01"


class FakeSession(FakeLink, Session):
    """A second connection that the test brings about."""

    def __init__(self, outcome):
        super().__init__(connected=False)
        self.outcome = outcome
        self.started = self.stopped = False

    def start(self):
        self.started = True

    def stop(self):
        self.stopped = True
        self.connected = False

    def become_ready(self):
        self.connected = True
        self.outcome.ready()


class BulkCase(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.first = FakeLink()
        self.sessions = []
        self.has_way = True
        self.lost = []
        self.bulk = Bulk(
            clock=self.clock,
            first=Way(say=self.first.say, writable=self.first.writable),
            build=self.build,
        )
        self.bulk.host_speaks(3)

    def build(self, outcome):
        if not self.has_way:
            return None
        self.sessions.append(FakeSession(outcome))
        return self.sessions[-1]

    def line(self):
        """Return a copy's line and whether it has got the second connection."""
        line = self.bulk.line()
        return line, Deferred.fromCoroutine(line.open(self.lost.append))

    def opened(self):
        """Return the line of a copy that goes by the second connection, which is there then."""
        line, opening = self.line()
        if not opening.called:
            self.sessions[-1].become_ready()
        self.assertTrue(self.successResultOf(opening))
        return line


class OpenTests(BulkCase):
    def test_not_before_the_first_copy(self):
        """A guest that copies nothing costs the host one connection."""
        self.clock.advance(1000)
        self.assertEqual(self.sessions, [])

    def test_copies_wait_for_it_and_share_it(self):
        """All that begin while it is opened; later ones have it at once."""
        (_, one), (_, two) = self.line(), self.line()
        self.assertNoResult(one)
        self.sessions[0].become_ready()
        self.assertEqual((self.successResultOf(one), self.successResultOf(two)), (True, True))
        self.assertTrue(self.successResultOf(self.line()[1]))
        self.assertEqual(len(self.sessions), 1)

    def test_one_stream_only(self):
        """On a serial channel the copy begins at once, by the first connection."""
        self.has_way = False
        line, opening = self.line()
        self.assertFalse(self.successResultOf(opening))
        line.say(FileReady(transfer_id="t", facts=facts(1)))
        self.assertEqual([word.bulk for word in self.first.words()], [False])

    def test_an_older_host(self):
        """Its broker would take the second connection for a new first one, and close that."""
        for protocol in (1, 2):
            self.bulk.host_speaks(protocol)
            self.assertFalse(self.successResultOf(self.line()[1]))
        self.assertEqual(self.sessions, [])

    def test_before_the_host_has_answered(self):
        """Who the host is, and what it speaks, is not known then."""
        self.bulk.first_lost("gone")
        self.assertFalse(self.successResultOf(self.line()[1]))

    def test_refused(self):
        """The copy goes by the first connection, and the next ones do not ask again at once."""
        _, opening = self.line()
        self.sessions[0].outcome.failed("too many connections")
        self.assertFalse(self.successResultOf(opening))
        self.assertTrue(self.sessions[0].stopped)
        self.assertFalse(self.successResultOf(self.line()[1]))
        self.clock.advance(AGAIN_AFTER_S)
        self.assertNoResult(self.line()[1])
        self.assertEqual(len(self.sessions), 2)

    def test_a_new_session_asks_again(self):
        """Another host, or the same one after a restart, may well have room."""
        self.line()
        self.sessions[0].outcome.failed("no")
        self.bulk.first_lost("gone")
        self.bulk.host_speaks(3)
        self.assertNoResult(self.line()[1])

    def test_no_answer(self):
        """After five seconds the copy goes by the first connection."""
        _, opening = self.line()
        self.clock.advance(OPEN_WITHIN_S - 0.1)
        self.assertNoResult(opening)
        self.clock.advance(0.1)
        self.assertFalse(self.successResultOf(opening))
        self.assertTrue(self.sessions[0].stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_first_is_lost_meanwhile(self):
        """Nobody waits any longer."""
        _, opening = self.line()
        self.bulk.first_lost("gone")
        self.assertFalse(self.successResultOf(opening))
        self.assertTrue(self.sessions[0].stopped)


class WayTests(BulkCase):
    def test_what_goes_where(self):
        """Bytes, and what keeps its order with them, by the second; the rest by the first."""
        line = self.opened()
        line.say(FileReady(transfer_id="t", facts=facts(9)))
        line.say(FileData(transfer_id="t", offset=0, data=b"x"))
        line.say(FileHole(transfer_id="t", offset=1, length_bytes=8))
        line.say(FileEnd(transfer_id="t", size_bytes=9, sha256="0" * 64))
        line.say(FileFailed(transfer_id="t", reason="CHANGED", detail=""))
        line.say(FileCredit(transfer_id="t", credit_bytes=5))
        line.say(FileDone(transfer_id="t"))
        words = self.sessions[0].words()
        self.assertEqual(
            [word.NAME for word in words],
            ["FILE_READY", "FILE_DATA", "FILE_HOLE", "FILE_END", "FILE_FAILED"],
        )
        self.assertTrue(words[0].bulk)
        self.assertEqual([word.NAME for word in self.first.words()], ["FILE_CREDIT", "FILE_DONE"])

    def test_room_is_that_of_the_way(self):
        """A full second connection makes its copies wait, and no others."""
        line = self.opened()
        self.sessions[0].room = 0
        waiting = Deferred.fromCoroutine(line.writable())
        self.assertNoResult(waiting)
        self.successResultOf(Deferred.fromCoroutine(self.bulk.line().writable()))
        self.sessions[0].make_room(1)
        self.successResultOf(waiting)

    def test_lost(self):
        """Its copies hear so, and say FILE_FAILED by the first; copies by the first go on."""
        by_first = self.bulk.line()
        line = self.opened()
        self.sessions[0].connected = False
        self.sessions[0].outcome.lost("reset by peer")
        self.assertEqual(self.lost, ["reset by peer"])
        self.assertRaises(NotConnected, line.say, FileData(transfer_id="t", offset=0, data=b"x"))
        line.say(FileFailed(transfer_id="t", reason="CONNECTION_LOST", detail=""))
        by_first.say(FileData(transfer_id="u", offset=0, data=b"x"))
        self.assertEqual([w.NAME for w in self.first.words()], ["FILE_FAILED", "FILE_DATA"])
        line.close()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_next_copy_after_a_loss(self):
        """Opens another: so a transfer that is resumed has a way again."""
        self.opened().close()
        self.sessions[0].outcome.lost("reset by peer")
        self.opened()
        self.assertEqual(len(self.sessions), 2)

    def test_the_failed_copy_says_nothing_on_the_next_connection(self):
        """Its FILE_FAILED goes by the first also when there is another second one by then."""
        line = self.opened()
        self.sessions[0].outcome.lost("reset by peer")
        self.opened()
        line.say(FileFailed(transfer_id="t", reason="CONNECTION_LOST", detail=""))
        self.assertEqual(self.sessions[1].words(), [])
        self.assertEqual(len(self.first.words()), 1)


class CloseTests(BulkCase):
    def test_a_minute_after_the_last_copy(self):
        """Not while one goes on, however long."""
        one, two = self.opened(), self.opened()
        self.clock.advance(1000)
        one.close()
        self.clock.advance(1000)
        self.assertFalse(self.sessions[0].stopped)
        two.close()
        self.clock.advance(CLOSED_AFTER_S - 1)
        self.assertFalse(self.sessions[0].stopped)
        self.clock.advance(1)
        self.assertTrue(self.sessions[0].stopped)
        self.assertEqual((self.lost, self.clock.getDelayedCalls()), ([], []))

    def test_a_copy_in_that_minute(self):
        """Keeps it."""
        self.opened().close()
        self.clock.advance(CLOSED_AFTER_S - 1)
        self.opened()
        self.clock.advance(CLOSED_AFTER_S)
        self.assertFalse(self.sessions[0].stopped)

    def test_opened_in_vain(self):
        """When the copy that asked is over already it is closed after a minute, too."""
        line, opening = self.line()
        self.sessions[0].become_ready()
        self.successResultOf(opening)
        line.close()
        line.close()
        self.clock.advance(CLOSED_AFTER_S)
        self.assertTrue(self.sessions[0].stopped)

    def test_with_the_first(self):
        """Both are gone; the copies were ended by the loss of the first."""
        self.opened()
        self.bulk.first_lost("gone")
        self.assertTrue(self.sessions[0].stopped)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class SessionTests(SynchronousTestCase):
    """As STOMP."""

    def setUp(self):
        self.clock = Clock()
        self.endpoint = ScriptedEndpoint()
        self.heard = []
        self.told = []
        self.session = BulkSession(
            endpoint=self.endpoint,
            clock=self.clock,
            credentials=lambda: Credentials(login="me", passcode="1-secret"),
            own_id=GUEST,
            time=lambda: 7.0,
            on_message=self.heard.append,
            outcome=Outcome(
                ready=lambda: self.told.append("ready"),
                failed=lambda reason: self.told.append(f"failed: {reason}"),
                lost=lambda reason: self.told.append(f"lost: {reason}"),
            ),
        )
        self.session.start()

    def connect(self, **headers):
        """Let the broker accept it; return the wire."""
        wire = self.endpoint.accept()
        [self.connect_frame] = wire.sent()
        wire.say("CONNECTED", ("version", "1.2"), *headers.items())
        return wire

    def ready(self):
        wire = self.connect(**{GUEST_ID: GUEST})
        [subscribe] = wire.sent()
        self.assertEqual(subscribe.header("destination"), bulk_of(GUEST))
        wire.say("RECEIPT", ("receipt-id", subscribe.header("receipt")))
        return wire

    def test_marked(self):
        """The same login, and the header that makes it the second; one subscription."""
        wire = self.ready()
        self.assertEqual(self.connect_frame.header(CONNECTION_KIND), KIND_BULK)
        self.assertEqual(self.connect_frame.header("login"), "me")
        self.assertEqual(self.told, ["ready"])
        self.session.say(FileData(transfer_id="t", offset=0, data=b"x"))
        [send] = wire.sent()
        self.assertEqual((send.header("destination"), send.header("from")), (RESPONSES, GUEST))
        wire.say("MESSAGE", ("destination", bulk_of(GUEST)), body=b"FILE_DONE")
        self.assertEqual([message.body for message in self.heard], [b"FILE_DONE"])

    def test_someone_else(self):
        """A broker that takes it for another guest is left at once."""
        wire = self.connect(**{GUEST_ID: "52:54:00:00:00:02"})
        self.assertTrue(wire.disconnecting)
        wire.lose()
        [told] = self.told
        self.assertIn("failed: the second connection is 52:54:00:00:00:02's", told)

    def test_an_error_of_the_broker(self):
        """Says why there is no second connection; nothing is tried again."""
        wire = self.endpoint.accept()
        wire.say("ERROR", ("message", "there are 16 connections"))
        wire.lose()
        [told] = self.told
        self.assertIn("there are 16 connections", told)
        self.session.stop()
        self.clock.advance(0)
        self.clock.advance(100)
        self.assertEqual(len(self.endpoint.attempts), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_lost(self):
        """Is told once; nothing is said on it any more."""
        wire = self.ready()
        wire.lose()
        self.assertEqual(len(self.told), 2)
        self.assertIn("lost: ", self.told[1])
        self.assertRaises(
            NotConnected, self.session.say, FileData(transfer_id="t", offset=0, data=b"x")
        )

    def test_stopped(self):
        """Says goodbye to the broker, and tells nobody."""
        wire = self.ready()
        self.session.stop()
        self.clock.advance(0)
        self.assertEqual([frame.command for frame in wire.sent()], ["DISCONNECT"])
        wire.lose()
        self.assertEqual(self.told, ["ready"])
