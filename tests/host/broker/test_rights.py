"""Who may connect, and what a guest may hear and say; nobody speaks in another's name."""

from __future__ import annotations

from tests.host.broker.wire import Peer, VmBrokerCase
from vmcontroller.common.destinations import CONNECTIONS, REQUESTS, RESPONSES
from vmcontroller.host.broker.rights import Principal, Role

MINE = f"{REQUESTS}.525400000001"
ANOTHERS = f"{REQUESTS}.525400000002"


class AuthenticationTests(VmBrokerCase):
    def test_a_guest_is_its_mac_address(self):
        """In any usual writing; the id is the canonical one."""
        for login in ("52:54:00:AA:bb:cc", "52-54-00-aa-bb-cc", "5254.00aa.bbcc", "525400aabbcc"):
            peer = self.session(login=login)
            self.assertEqual(
                peer.connection.peer.principal, Principal(role=Role.GUEST, id="52:54:00:AA:BB:CC")
            )
            peer.lose()

    def test_anything_else_is_refused(self):
        """With an ERROR that says what is allowed."""
        for login in (None, "", "admin", "52:54:00:aa:bb", "52:54:00:aa:bb:cc:dd", "host"):
            peer = self.peer()
            peer.say("CONNECT", *([] if login is None else [("login", login)]))
            error = peer.error()
            self.assertIn("refused", error.header("message"))
            self.assertIn("passcode", error.header("message"))
            self.assertIsNone(peer.connection.peer)

    def test_the_host_needs_no_login(self):
        """Its connection says who it is; and no login makes a TCP peer the host."""
        self.assertIs(self.host().connection.peer.principal.role, Role.HOST)

    def test_in_process_a_login_changes_nothing(self):
        """The wiring decides."""
        peer = Peer(self.factory.build("in-process", Principal(role=Role.HOST)))
        peer.connect(login="52:54:00:00:00:01")
        self.assertIs(peer.connection.peer.principal.role, Role.HOST)


class GuestTests(VmBrokerCase):
    def test_hears_all_and_its_own(self):
        """The topic of all guests and the one of its own id."""
        host, guest, another = self.host(), self.guest(1), self.guest(2)
        for peer, mine in ((guest, MINE), (another, ANOTHERS)):
            peer.subscribe(REQUESTS, "all")
            peer.subscribe(mine, "mine")
        host.send(REQUESTS, b"everyone")
        host.send(MINE, b"one")
        self.assertEqual(guest.bodies(), [b"everyone", b"one"])
        self.assertEqual(another.bodies(), [b"everyone"])

    def test_may_not_listen_elsewhere(self):
        """Not to another guest's topic, not to what guests say, not to queues."""
        for destination in (
            ANOTHERS,
            RESPONSES,
            CONNECTIONS,
            "/topic/other",
            "/queue/a",
            f"{REQUESTS}.*",
            MINE.upper(),
            f" {MINE}",
        ):
            guest = self.guest(1)
            guest.say("SUBSCRIBE", ("destination", destination), ("id", "0"), ("receipt", "r"))
            error = guest.error()
            self.assertIn("may not subscribe", error.header("message"))
            self.assertEqual(error.header("receipt-id"), "r")

    def test_speaks_to_the_host(self):
        """On the two topics that the host hears."""
        host, guest = self.host(), self.guest(1)
        host.subscribe(RESPONSES, "r")
        host.subscribe(CONNECTIONS, "c")
        guest.send(RESPONSES, b"PONG")
        guest.send(CONNECTIONS, b"HELLO")
        self.assertEqual(host.bodies(), [b"PONG", b"HELLO"])

    def test_may_not_speak_elsewhere(self):
        """Not to other guests, not to itself, not to queues; nobody hears it."""
        host, another = self.host(), self.guest(2)
        host.subscribe("/queue/a")
        another.subscribe(REQUESTS, "all")
        another.subscribe(ANOTHERS, "mine")
        for destination in (REQUESTS, ANOTHERS, MINE, "/topic/other", "/queue/a"):
            guest = self.guest(1)
            guest.send(destination, b"x")
            self.assertIn("may not send", guest.error().header("message"))
        self.assertEqual((host.hear(), another.hear()), ([], []))

    def test_the_broker_says_who_sent_it(self):
        """Whatever the guest writes as `from`, once or twice, escaped or not."""
        host, guest = self.host(), self.guest(1)
        host.subscribe(RESPONSES)
        guest.raw(
            b"SEND\nfrom:someone\ndestination:%b\nfrom:else\nFrom:x\nto:host\n\n\0"
            % RESPONSES.encode()
        )
        [message] = host.hear()
        senders = [value for name, value in message.headers if name == "from"]
        self.assertEqual(senders, ["52:54:00:00:00:01"])
        self.assertEqual(message.header("to"), "host")
        self.assertEqual(message.header("From"), "x")

    def test_the_host_signs_itself(self):
        """Its `from` is passed on."""
        host, guest = self.host(), self.guest(1)
        guest.subscribe(REQUESTS)
        host.say("SEND", ("destination", REQUESTS), ("from", "the host"))
        self.assertEqual(guest.hear()[0].header("from"), "the host")


class SameGuestTwiceTests(VmBrokerCase):
    def test_the_older_connection_is_closed(self):
        """It is told; the new one has the id from then on."""
        older = self.guest(1)
        older.subscribe(MINE)
        newer = self.session(login="52-54-00-00-00-01")
        self.assertIn("another connection of 52:54:00:00:00:01", older.error().header("message"))
        newer.subscribe(MINE)
        host = self.host()
        host.send(MINE, b"x")
        self.assertEqual((older.hear(), newer.bodies()), ([], [b"x"]))

    def test_the_end_of_the_older_does_not_touch_the_newer(self):
        """And a third replaces the second."""
        older = self.guest(1)
        newer = self.guest(1)
        older.lose()
        self.assertFalse(newer.is_closing)
        self.guest(1)
        self.assertTrue(newer.is_closing)

    def test_after_the_end_there_is_no_older(self):
        """A guest that left and comes back closes nothing."""
        older = self.guest(1)
        older.lose()
        newer = self.guest(1)
        self.assertFalse(newer.is_closing)
        self.assertEqual(len(self.factory._guests.words), 1)

    def test_others_are_not_touched(self):
        """Another guest, and the host, stay."""
        host, another = self.host(), self.guest(2)
        self.guest(1)
        self.guest(1)
        self.assertFalse(host.is_closing or another.is_closing)
