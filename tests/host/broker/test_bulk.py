"""A guest's second connection: for what files hold, as long as there is the first, and no more."""

from __future__ import annotations

from tests.host.broker.wire import VmBrokerCase
from vmcontroller.common.destinations import (
    CONNECTION_KIND,
    CONNECTIONS,
    KIND_BULK,
    REQUESTS,
    RESPONSES,
    bulk_of,
    requests_of,
)
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.rates import Rates

GUEST = "52:54:00:00:00:01"
ANOTHER = "52:54:00:00:00:02"


class BulkCase(VmBrokerCase):
    def bulk(self, number=1):
        """Return a connection for bulk, whose session has begun."""
        peer = self.peer("127.0.0.1")
        peer.connect(login=f"52:54:00:00:00:{number:02x}", **{CONNECTION_KIND: KIND_BULK})
        return peer

    def refused_bulk(self, number=1):
        """Return why a connection for bulk is refused."""
        peer = self.peer("127.0.0.1")
        login = ("login", f"52:54:00:00:00:{number:02x}")
        peer.say("CONNECT", ("accept-version", "1.2"), login, (CONNECTION_KIND, KIND_BULK))
        return peer.error().header("message")


class BulkConnectionTests(BulkCase):
    def test_both_live_side_by_side(self):
        """The second closes nothing; each hears its own, and `from` is stamped on both."""
        host, guest, bulk = self.host(), self.guest(), self.bulk()
        host.subscribe(RESPONSES)
        guest.subscribe(requests_of(GUEST))
        bulk.subscribe(bulk_of(GUEST))
        host.send(requests_of(GUEST), b"word")
        host.send(bulk_of(GUEST), b"bytes")
        self.assertEqual((guest.bodies(), bulk.bodies()), ([b"word"], [b"bytes"]))
        bulk.send(RESPONSES, b"FILE_DATA", **{"from": ANOTHER})
        [message] = host.hear()
        self.assertEqual(message.header("from"), GUEST)
        self.assertEqual([value for name, value in message.headers if name == "from"], [GUEST])

    def test_it_is_counted_apart(self):
        """By getBrokerStats, which tells guests from their second connections."""
        self.guest(1)
        self.guest(2)
        self.bulk(1)
        self.assertEqual(self.factory.stats().by_role, {"guest": 2, "bulk": 1})

    def test_another_value_of_the_header(self):
        """Is an ordinary connection: the word is `bulk`, nothing like it."""
        older = self.guest()
        newer = self.peer()
        newer.connect(login=GUEST, **{CONNECTION_KIND: "Bulk"})
        self.assertTrue(older.is_closing)
        newer.subscribe(requests_of(GUEST))

    def test_the_hosts_connection_is_what_the_wiring_says(self):
        """The header makes no bulk of it."""
        host = self.host()
        host.send(REQUESTS, b"x")
        self.assertFalse(host.is_closing)


class WithoutTheFirstTests(BulkCase):
    def test_alone(self):
        """A guest that has no session has no business with bulk."""
        self.assertIn("no session", self.refused_bulk())
        self.guest(2)
        self.assertIn("no session", self.refused_bulk(1))

    def test_it_ends_with_the_first(self):
        """When the session is over, so is this: nothing that it says would make sense."""
        guest, bulk = self.guest(), self.bulk()
        guest.lose()
        self.assertIn("belongs to is over", bulk.error().header("message"))
        self.assertIn("no session", self.refused_bulk())
        self.assertEqual(self.factory._guests.bulk, {})

    def test_it_ends_when_the_first_is_taken_over(self):
        """The newer session opens one of its own, which then stays."""
        older, of_older = self.guest(), self.bulk()
        newer = self.guest()
        self.assertTrue(older.is_closing and of_older.is_closing)
        of_newer = self.bulk()
        older.lose()
        of_older.lose()
        self.assertFalse(newer.is_closing or of_newer.is_closing)

    def test_end_session_ends_both(self):
        """A guest whose VM goes off, or that gets another credential, keeps no way in."""
        guest, bulk = self.guest(), self.bulk()
        self.factory.end_session(GUEST, "its VM is off")
        self.assertTrue(guest.is_closing and bulk.is_closing)

    def test_the_first_stays_when_it_ends(self):
        """A copy that broke off must not cost the guest its session."""
        guest, bulk = self.guest(), self.bulk()
        bulk.lose()
        self.assertFalse(guest.is_closing)
        self.assertFalse(self.bulk().is_closing)


class TwoOfThemTests(BulkCase):
    def test_the_newer_closes_the_older(self):
        """One guest has one, as it has one session."""
        guest, older = self.guest(), self.bulk()
        newer = self.bulk()
        self.assertIn("another connection", older.error().header("message"))
        self.assertFalse(guest.is_closing or newer.is_closing)
        self.assertEqual(self.factory.stats().drops, {"takeover": 1})

    def test_not_without_end(self):
        """Who ends its own again and again is refused, and can still log in for words."""
        guest = self.guest()
        for _ in range(21):
            self.bulk()
        self.assertIn("too often", self.refused_bulk())
        self.assertFalse(guest.is_closing)
        self.assertFalse(self.guest().is_closing)


class RightsTests(BulkCase):
    def test_hears_its_own_bulk_topic_only(self):
        """No words, no other guest's bytes."""
        for destination in (
            REQUESTS,
            requests_of(GUEST),
            bulk_of(ANOTHER),
            RESPONSES,
            f"{bulk_of(GUEST)}.more",
            "/queue/a",
        ):
            guest, bulk = self.guest(), self.bulk()
            bulk.say("SUBSCRIBE", ("destination", destination), ("id", "0"))
            self.assertIn("may not subscribe", bulk.error().header("message"))
            self.assertFalse(guest.is_closing)

    def test_says_nothing_but_answers(self):
        """No HELLO, no BYE, nothing to others."""
        host = self.host()
        host.subscribe(CONNECTIONS)
        for destination in (CONNECTIONS, REQUESTS, bulk_of(GUEST), requests_of(ANOTHER), "/x"):
            guest, bulk = self.guest(), self.bulk()
            bulk.send(destination, b"HELLO")
            self.assertIn("may not send", bulk.error().header("message"))
            self.assertFalse(guest.is_closing)
        self.assertEqual(host.hear(), [])

    def test_the_first_connection_has_no_business_with_bulk(self):
        """A guest's session for words may not subscribe to the topic of bytes."""
        guest = self.guest()
        guest.say("SUBSCRIBE", ("destination", bulk_of(GUEST)), ("id", "0"))
        self.assertIn("may not subscribe", guest.error().header("message"))


class SlowBulkTests(BulkCase):
    def test_who_does_not_read_loses_the_bulk_only(self):
        """The session for words stays, and the guest is told there why its copy ended."""
        self.start(BrokerLimits(outbox_bytes=100_000))
        host, guest, bulk = self.host(), self.guest(), self.bulk()
        bulk.subscribe(bulk_of(GUEST))
        bulk.wire.stuck = True
        for _ in range(6):
            host.send(bulk_of(GUEST), bytes(50_000))
        self.assertTrue(bulk.is_closing)
        self.assertFalse(guest.is_closing or host.is_closing)

    def test_its_rate_is_its_own(self):
        """What a copy sends does not use up what the guest may say, nor the other way round."""
        slow = Rates(frames_per_s=10, burst_frames=10, bytes_per_s=1000, burst_bytes=1000)
        self.start(BrokerLimits(bulk_rates=slow))
        guest, bulk = self.guest(), self.bulk()
        bulk.send(RESPONSES, bytes(5000))
        self.assertTrue(bulk.connection.is_unread)
        guest.send(RESPONSES, bytes(5000))
        self.assertFalse(guest.connection.is_unread)
        self.clock.advance(5)
        self.assertFalse(bulk.connection.is_unread)
