"""How many connections the broker takes, in all and from one address, and what it logs of them."""

from __future__ import annotations

import resource
from random import Random

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.host.broker.wire import Peer, VmBrokerCase
from vmcontroller.common.stomp.client import ReconnectDelays
from vmcontroller.host.broker.admission import Arrivals, counted_host
from vmcontroller.host.broker.limits import BrokerLimits, connections_within
from vmcontroller.host.broker.rights import Principal, Role
from vmcontroller.host.broker.seldom import Seldom
from vmcontroller.host.descriptors import MOST_DESCRIPTORS, raise_descriptor_limit

CONNECTED = "CONNECTED"


class PerAddressTests(VmBrokerCase):
    def test_the_seventeenth(self):
        """Who makes up addresses of network cards gets sixteen; others still come in."""
        for number in range(1, 17):
            self.guest(number)
        one_more = self.peer()
        self.assertIn("16 connections from 10.0.0.2", one_more.error().header("message"))
        self.assertEqual(
            self.peer("10.0.0.3").connect(login="52:54:00:00:00:22").command, CONNECTED
        )

    def test_room_again(self):
        """When one is gone, the address may come again; a refused one counts until it has gone."""
        first, *_ = [self.guest(number) for number in range(1, 17)]
        refused = [self.peer(), self.peer()]
        first.lose()
        self.assertTrue(self.peer().is_closing)
        for connection in [c for c in self.factory._connections if c._closing]:
            connection.connectionLost()
        self.assertTrue(all(peer.is_closing for peer in refused))
        self.assertEqual(self.peer().connect(login="52:54:00:00:00:22").command, CONNECTED)

    def test_refused_ones_do_not_pile_up(self):
        """An address that does not stop trying has sixteen refused ones at most; then it waits."""
        accepted = [connection for _ in range(1000) if (connection := self.joined())]
        self.assertEqual(len(accepted), 32)
        self.assertEqual(len(self.factory._connections), 32)

    def joined(self):
        connection = self.accept()
        if connection is not None:
            Peer(connection)
        return connection

    def test_nothing_is_remembered_of_who_has_gone(self):
        """Addresses can be made up, too."""
        for number in range(100):
            self.peer(f"10.1.0.{number}").lose()
        self.assertEqual(self.factory._admission._by_host, {})
        self.assertEqual(self.factory._admission._total, 0)

    def test_this_machine(self):
        """Loopback and the daemon itself have no limit of their own."""
        for host in ("127.0.0.1", "127.0.0.9", "::1", "::ffff:127.0.0.1"):
            for _ in range(20):
                self.assertFalse(self.peer(host).is_closing, host)
        for _ in range(20):
            self.assertEqual(self.host().is_closing, False)

    def test_one_address_in_two_ways_of_writing(self):
        """Counts once."""
        for number in range(1, 17):
            self.guest(number, host="::ffff:10.0.0.2" if number % 2 else "10.0.0.2")
        self.assertIn("from 10.0.0.2", self.peer().error().header("message"))


class ArrivalTests(VmBrokerCase):
    """How often new connections may come from one address."""

    def come(self, times, host="10.0.0.2"):
        """Come and go so often; return how often the broker took it."""
        taken = 0
        for _ in range(times):
            connection = self.accept(host)
            if connection is not None:
                taken += 1
                Peer(connection).lose()
        return taken

    def test_forty_and_then_four_a_second(self):
        """What is more is closed at once, and counted as too many."""
        self.assertEqual(self.come(1000), 40)
        self.assertEqual(self.factory.stats().drops["too-many"], 960)
        for _ in range(10):
            self.clock.advance(1)
            self.assertEqual(self.come(100), 4)

    def test_full_again(self):
        """After ten seconds of silence it is as if nothing had been; nothing is remembered."""
        self.come(100)
        self.clock.advance(10)
        self.assertEqual(self.come(1, "10.0.0.3"), 1)
        self.assertEqual(len(self.factory._admission._arrivals), 1)
        self.assertEqual(self.come(100), 40)

    def test_refused_ones_cost_nothing(self):
        """Who goes on trying comes in as soon as who waits."""
        self.come(40)
        taken = 0
        for _ in range(100):
            self.clock.advance(0.125)
            taken += self.come(3)
        self.assertEqual(taken, 50)

    def test_others(self):
        """Another address comes in as ever."""
        self.come(1000)
        self.assertEqual(self.come(1, "10.0.0.3"), 1)
        self.assertEqual(self.come(40, "fd00::2"), 40)

    def test_one_address_in_two_ways_of_writing(self):
        """Is one."""
        self.assertEqual(self.come(20, "::ffff:10.0.0.2"), 20)
        self.assertEqual(self.come(30), 20)

    def test_this_machine(self):
        """Loopback comes as often as it likes: many agents and tunnels do."""
        for host in ("127.0.0.1", "::1", "::ffff:127.0.0.1"):
            self.assertEqual(self.come(1000, host), 1000)

    def test_agents_that_come_again(self):
        """Eight of one address that lose each session at once, with the shortest delays, come in.

        As after each restart of the daemon, here for ten minutes on end.
        """
        attempts = []

        def again(delays):
            attempts.append(self.come(1))
            self.clock.callLater(delays.next_s(), again, delays)

        for _ in range(8):
            again(ReconnectDelays(random=Shortest()))
        self.clock.pump([0.0625] * (600 * 16))
        self.assertGreater(len(attempts), 800)
        self.assertEqual(attempts.count(0), 0)


class Shortest(Random):
    """Chance at its shortest."""

    def uniform(self, a, b):
        return a


class AnyNumberTests(VmBrokerCase):
    limits = BrokerLimits(connections=100, connections_per_address=100)

    def test_no_rate(self):
        """Where one address may have all connections, it may come as often as it likes."""
        for _ in range(1000):
            self.peer().lose()


class TakeoverTests(VmBrokerCase):
    """How often a guest may end its own older session."""

    def again(self, times, number=1, host="127.0.0.1"):
        """Log in so often without logging out; return the answers' commands."""
        answers = []
        for _ in range(times):
            peer = self.peer(host)
            answers.append(peer.connect(login=f"52:54:00:00:00:{number:02x}"))
        return answers

    def test_twenty_and_then_two_a_second(self):
        """More is told, and the session that there is stays; wherever it comes from."""
        first, *others = self.again(30)
        self.assertEqual([answer.command for answer in others], ["CONNECTED"] * 20 + ["ERROR"] * 9)
        self.assertEqual(first.command, CONNECTED)
        self.assertIn("two guests have this identity", others[-1].header("message"))
        self.assertEqual(self.factory.stats().by_role, {"guest": 1})
        self.assertEqual(self.factory.stats().drops["takeover"], 20)
        self.clock.advance(1)
        commands = [answer.command for answer in self.again(5)]
        self.assertEqual(commands, ["CONNECTED"] * 2 + ["ERROR"] * 3)

    def test_another_guest(self):
        """Is not concerned."""
        self.again(30)
        self.assertEqual(self.again(1, number=2)[0].command, CONNECTED)

    def test_without_an_older_session(self):
        """A login that ends nothing may come at any time."""
        self.again(30)
        for connection in list(self.factory._connections):
            connection.connectionLost()
        for _ in range(100):
            peer = self.guest(1, host="127.0.0.1")
            self.assertFalse(peer.is_closing)
            peer.lose()


class RateTests(SynchronousTestCase):
    def test_memory(self):
        """Made-up keys take a bounded place; who was heard of last is still known."""
        arrivals = Arrivals(at_once=1, per_s=0.1, most_keys=100)
        for number in range(5000):
            self.assertTrue(arrivals.admits(str(number), 0))
            self.assertLessEqual(len(arrivals), 100)
        self.assertFalse(arrivals.admits("4999", 0))

    def test_a_clock_that_is_put_back(self):
        """Keeps nobody out for longer than one more would have to wait."""
        arrivals = Arrivals(at_once=4, per_s=2, most_keys=100)
        arrivals.admits("a", 1e6)
        self.assertFalse(arrivals.admits("a", 0))
        self.assertTrue(arrivals.admits("a", 0.5))

    @given(st.lists(st.integers(min_value=0, max_value=12), max_size=200))
    def test_never_more_than_agreed(self, pauses):
        """In any time from one to another: those at once, and the rate; and never fewer alone."""
        arrivals = Arrivals(at_once=4, per_s=2, most_keys=100)
        now_s, taken = 0.0, []
        for pause in pauses:
            now_s += pause / 8
            if arrivals.admits("a", now_s):
                taken.append(now_s)
            else:
                self.assertGreaterEqual(len([at for at in taken if at > now_s - 2]), 4)
        for first, start_s in enumerate(taken):
            for last, end_s in enumerate(taken[first:], 1):
                self.assertLessEqual(last, 4 + 2 * (end_s - start_s))


class TotalTests(VmBrokerCase):
    limits = BrokerLimits(connections=20)

    def test_the_daemon_always_comes_in(self):
        """Guests that use up all connections do not lock it out, nor does it take one of theirs."""
        for number in range(20):
            self.peer(f"10.1.0.{number}")
        self.assertIsNone(self.accept("10.2.0.1"))
        own = Peer(self.factory.build("in-process", Principal(role=Role.HOST)))
        self.assertEqual(own.connect().command, CONNECTED)

    def test_what_is_closed_at_once_is_not_counted(self):
        """So that a flood does not outlast itself."""
        peers = [self.peer(f"10.1.0.{number}") for number in range(20)]
        for _ in range(100):
            self.accept("10.2.0.1")
        peers[0].lose()
        self.assertIsNotNone(self.accept("10.2.0.1"))


class DescriptorTests(SynchronousTestCase):
    @given(st.integers(min_value=0, max_value=1 << 20))
    def test_what_is_left_for_others(self, descriptors):
        """256 at least, wherever there are so many, and never more than the usual most."""
        connections = connections_within(descriptors)
        self.assertTrue(1 <= connections <= 4096)
        if descriptors > 256:
            self.assertGreaterEqual(descriptors - connections, 256)

    def test_usual_limits(self):
        """Of a login shell, and of a service."""
        self.assertEqual(connections_within(1024), 768)
        self.assertEqual(connections_within(65536), 4096)

    def test_raised_for_real(self):
        """This very process gets what its hard limit allows, and no more than 65536."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        most = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
        self.assertEqual(raise_descriptor_limit(), most)
        self.assertEqual(resource.getrlimit(resource.RLIMIT_NOFILE), (most, hard))
        self.assertEqual(raise_descriptor_limit(), most)


class LogTests(VmBrokerCase):
    limits = BrokerLimits(connections=20, arrivals_at_once=1000)

    def setUp(self):
        super().setUp()
        self.logged = []
        globalLogPublisher.addObserver(self.logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.logged.append)

    def texts(self):
        """Return the lines since the last time."""
        texts = [
            event["log_format"].format(**event)
            for event in self.logged
            if event["log_level"] >= LogLevel.info
        ]
        self.logged.clear()
        return texts

    def test_coming_and_going_without_end(self):
        """One line of each kind and address in ten seconds; the next says what was left out."""
        for _ in range(100):
            self.guest(1).lose()
        self.assertEqual(len(self.texts()), 2)
        self.guest(2, host="10.0.0.3")
        self.assertEqual(len(self.texts()), 1)
        self.clock.advance(10)
        self.guest(1).lose()
        came, went = self.texts()
        self.assertIn("(99 such lines were left out)", came)
        self.assertIn("(99 such lines were left out)", went)

    def test_the_same_guest_again_and_again(self):
        """A guest that pushes itself out does not fill the log."""
        for _ in range(20):
            self.guest(1)
            for connection in list(self.factory._connections):
                if connection._closing:
                    connection.connectionLost()
        self.assertLess(len(self.texts()), 4)

    def test_coming_too_often(self):
        """One line in ten seconds says it of an address."""
        for _ in range(1200):
            connection = self.accept()
            if connection is not None:
                Peer(connection).lose()
        *_, line = self.texts()
        self.assertIn("from 10.0.0.2 was closed at once: they come more often than 4", line)

    def test_a_flood_beyond_the_total(self):
        """One line a minute, whoever it comes from."""
        for number in range(20):
            self.peer(f"10.1.0.{number}")
        self.texts()
        for number in range(200):
            self.accept(f"10.2.0.{number}")
        [line] = self.texts()
        self.assertIn("20 connections", line)
        self.clock.advance(61)
        self.accept("10.2.0.1")
        [line] = self.texts()
        self.assertIn("(199 such lines", line)

    def test_many_agents_of_this_machine(self):
        """All of them are in the log."""
        for number in range(1, 16):
            self.guest(number, host="127.0.0.1")
        self.assertEqual(len(self.texts()), 15)


class SeldomTests(SynchronousTestCase):
    def test_memory(self):
        """Made-up hosts take a bounded place, and what is beyond it is still limited."""
        clock = Clock()
        seldom = Seldom(clock)
        lines = [seldom.due("a", str(n), interval_s=10) for n in range(5000)]
        self.assertLess(len(lines) - lines.count(None), 1100)
        self.assertLess(len(seldom._windows), 1100)
        clock.advance(10)
        self.assertEqual(seldom.due("a", "new", interval_s=10), "")
        self.assertLess(len(seldom._windows), 10)

    @given(
        st.lists(
            st.tuples(st.floats(min_value=0, max_value=20), st.sampled_from("ab")), max_size=50
        ),
        st.integers(min_value=1, max_value=3),
    )
    def test_never_more_than_agreed(self, events, lines):
        """From the first line of an interval on, whatever comes when."""
        clock = Clock()
        seldom = Seldom(clock)
        written = {"a": [], "b": []}
        for pause, host in events:
            clock.advance(pause)
            if seldom.due("x", host, interval_s=10, lines=lines) is not None:
                written[host].append(clock.seconds())
        for times in written.values():
            for earlier, later in zip(times, times[2 * lines :], strict=False):
                self.assertGreaterEqual(later - earlier, 10)


class CountedHostTests(SynchronousTestCase):
    def test_addresses(self):
        """Only this machine's own are not counted."""
        for host, counted in (
            ("127.1.2.3", ""),
            ("::1", ""),
            ("::ffff:127.0.0.1", ""),
            ("192.168.122.5", "192.168.122.5"),
            ("::ffff:192.168.122.5", "192.168.122.5"),
            ("FE80:0::1%eth0", "fe80::1%eth0"),
            ("0.0.0.0", "0.0.0.0"),
            ("what is this", "what is this"),
        ):
            self.assertEqual(counted_host(host), counted)
