"""The real broker and the real client over loopback TCP, and the daemon's own session."""

from __future__ import annotations

import hashlib
import os
import socket

from twisted.internet import defer, reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.fakes.logins import credulous_rights
from vmcontroller.common.destinations import CONNECTIONS, REQUESTS, RESPONSES, requests_of
from vmcontroller.common.model import guest_id
from vmcontroller.common.stomp.client import Credentials, ReconnectDelays, StompClient
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.own_client import OwnClient
from vmcontroller.host.broker.rights import OpenRights
from vmcontroller.host.broker.service import BrokerService

MIB = 1 << 20


class Party:
    """A client and what happened to it; `until` waits for something to become true."""

    def __init__(self, kind, subscriptions, **more):
        self.messages = []
        self.events = []
        self.waiting = []
        self.client = kind(
            subscriptions=subscriptions,
            on_message=self.note(self.messages),
            on_connected=lambda: self.note(self.events)("connected"),
            on_lost=self.note(self.events),
            **more,
        )
        self.client.startService()

    def note(self, where):
        def append(what):
            where.append(what)
            self.check()

        return append

    def check(self):
        for condition, fired in list(self.waiting):
            if condition():
                self.waiting.remove((condition, fired))
                fired.callback(None)

    def until(self, condition):
        fired = Deferred()
        self.waiting.append((condition, fired))
        self.check()
        return fired.addTimeout(60, reactor)

    def connected(self):
        return self.until(lambda: self.events[-1:] == ["connected"])


class TcpCase(TestCase):
    timeout = 120
    rights = credulous_rights()
    limits = BrokerLimits()

    async def setUp(self):
        self.parties = []
        self.broker = BrokerService(reactor=reactor, rights=self.rights, limits=self.limits)
        self.broker.startService()
        await self.broker.listen(["127.0.0.1"], 0)
        [self.port] = self.broker.listening().values()

    async def tearDown(self):
        await DeferredList([party.client.stopService() for party in self.parties])
        await self.broker.stopService()

    async def guest(self, number=1, *subscriptions):
        """Return a guest that is connected over TCP."""
        mac = f"52:54:00:00:00:{number:02x}"
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        own = (REQUESTS, requests_of(guest_id(mac)))
        party = Party(
            StompClient,
            subscriptions or own,
            endpoint=endpoint,
            reactor=reactor,
            credentials=Credentials(login=mac),
            delays=ReconnectDelays(first_s=0.05, most_s=0.1),
        )
        self.parties.append(party)
        await party.connected()
        return party

    async def host(self, *subscriptions):
        """Return the daemon's own client."""
        party = Party(
            OwnClient,
            subscriptions or (RESPONSES, CONNECTIONS),
            broker=self.broker.factory,
            clock=reactor,
        )
        self.parties.append(party)
        await party.connected()
        return party


class BrokerTcpTests(TcpCase):
    async def test_there_and_back(self):
        """Host and guest talk through the broker, and the broker says who speaks."""
        host, guest = await self.host(), await self.guest()
        guest.client.send(CONNECTIONS, b"HELLO", {"from": "somebody else"})
        await host.until(lambda: host.messages)
        self.assertEqual(host.messages[0].headers["from"], "52:54:00:00:00:01")
        host.client.send(requests_of(guest_id("525400000001")), b"PING", {"to": "52:54\n"})
        await guest.until(lambda: guest.messages)
        self.assertEqual(guest.messages[0].body, b"PING")
        self.assertEqual(guest.messages[0].headers["to"], "52:54\n")

    async def test_ten_megabytes_of_output(self):
        """Arrive whole and in order, and nobody is dropped."""
        host, guest = await self.host(), await self.guest()
        sent = hashlib.sha256()
        for _ in range(10):
            body = os.urandom(MIB)
            sent.update(body)
            await guest.client.writable()
            guest.client.send(RESPONSES, body, {})
        await host.until(lambda: len(host.messages) == 10)
        got = hashlib.sha256(b"".join(message.body for message in host.messages))
        self.assertEqual(got.digest(), sent.digest())
        self.assertEqual((host.events, guest.events), (["connected"], ["connected"]))

    async def test_a_host_that_does_not_listen(self):
        """Makes its guests wait instead of filling the broker's memory; then all arrives."""
        host, guest = await self.host(), await self.guest()
        inbox = host.client.outbox
        turn, inbox.turn = inbox.turn, list
        sent = 0
        try:
            while sent < 1000:
                await Deferred.fromCoroutine(guest.client.writable()).addTimeout(0.5, reactor)
                guest.client.send(RESPONSES, bytes(64 << 10), {})
                sent += 1
        except defer.TimeoutError:
            self.assertGreater(sent * (64 << 10), self.limits.outbox_bytes)
        self.assertLess(sent, 1000)
        self.assertLess(inbox.size_bytes, self.limits.outbox_bytes + 2 * MIB)
        inbox.turn = turn
        await host.until(lambda: len(host.messages) == sent)
        self.assertEqual(guest.events, ["connected"])

    async def test_a_guest_that_comes_twice(self):
        """The older client is told why it lost the connection."""
        older = await self.guest()
        older.client._delays = ReconnectDelays(first_s=60)
        await self.guest()
        await older.until(lambda: len(older.events) == 2)
        self.assertIn("another connection of 52:54:00:00:00:01", older.events[1])

    async def test_the_broker_restarts(self):
        """Clients come back by themselves, subscribed again."""
        guest = await self.guest()
        await self.broker.stopService()
        await guest.until(lambda: not guest.client.connected)
        self.assertIn("stopping", guest.events[1])
        self.broker = BrokerService(reactor=reactor, rights=self.rights)
        self.broker.startService()
        await self.broker.listen(["127.0.0.1"], self.port)
        await guest.connected()
        host = await self.host()
        host.client.send(REQUESTS, b"PING", {})
        await guest.until(lambda: guest.messages)

    async def test_a_refused_guest_hears_why(self):
        """The ERROR arrives though the client had more to send; TCP does not reset it away."""
        octets = await deferToThread(self.refused)
        self.assertTrue(octets.startswith(b"ERROR\n"), octets[:80])
        self.assertIn(b"'nobody' is refused", octets)

    def refused(self):
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as peer:
            peer.sendall(b"CONNECT\nlogin:nobody\n\n\0" + b"SEND\n\n\0" * 20_000)
            return b"".join(iter(lambda: peer.recv(1 << 16), b""))

    async def test_addresses_come_and_go(self):
        """Opened and closed for real; one that this machine does not have is reported."""
        failed = await self.broker.listen(["127.0.0.1", "127.0.0.2", "203.0.113.1"], 0)
        self.assertEqual(list(failed), ["203.0.113.1"])
        self.assertEqual(set(self.broker.listening()), {"127.0.0.1", "127.0.0.2"})
        self.assertEqual(self.broker.listening()["127.0.0.1"], self.port)
        await self.broker.listen(["127.0.0.2"], 0)
        with socket.socket() as probe:
            self.assertNotEqual(probe.connect_ex(("127.0.0.1", self.port)), 0)


class OpenBrokerTcpTests(TcpCase):
    rights = OpenRights()

    async def test_a_queue_between_two(self):
        """What is sent while nobody listens is there for who comes."""
        sender = await self.guest(1, "/topic/none")
        for number in range(100):
            sender.client.send("/queue/jobs", b"%d" % number, {})
        receiver = await self.guest(2, "/queue/jobs")
        await receiver.until(lambda: len(receiver.messages) == 100)
        self.assertEqual([m.body for m in receiver.messages], [b"%d" % n for n in range(100)])
