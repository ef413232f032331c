"""BEGIN, COMMIT, ABORT: all of it or nothing, and no more held than may be."""

from __future__ import annotations

from tests.host.broker.wire import BrokerCase, VmBrokerCase
from vmcontroller.common.destinations import RESPONSES
from vmcontroller.host.broker.limits import BrokerLimits


class TransactionCase(BrokerCase):
    def held(self):
        return len(self.factory._router.transactions)

    def begun(self, *names, version="1.2"):
        peer = self.session(version)
        for name in names or ("t",):
            peer.say("BEGIN", ("transaction", name))
        assert not peer.is_closing
        return peer

    def send(self, peer, destination, body, name="t"):
        peer.say("SEND", ("destination", destination), ("transaction", name), body=body)
        self.assertFalse(peer.is_closing)

    def listener(self, *destinations, ack="auto"):
        peer = self.session()
        for destination in destinations:
            peer.subscribe(destination, destination, ack=ack)
        return peer


class SendTests(TransactionCase):
    def test_held_till_commit(self):
        """Then sent in order, to topics and queues, in every version."""
        for version in ("1.0", "1.1", "1.2"):
            self.start(self.limits)
            listener = self.listener("/topic/a", "/queue/a")
            peer = self.begun(version=version)
            for body in (b"1", b"2", b"3"):
                self.send(peer, "/topic/a", body)
                self.send(peer, "/queue/a", body)
            self.assertEqual(listener.hear(), [])
            peer.say("COMMIT", ("transaction", "t"))
            bodies = {"/topic/a": [], "/queue/a": []}
            for frame in listener.hear():
                bodies[frame.header("destination")].append(frame.body)
            self.assertEqual(bodies, {name: [b"1", b"2", b"3"] for name in bodies})
            self.assertEqual(self.held(), 0)

    def test_abort(self):
        """Drops it; the name may be used again."""
        listener, peer = self.listener("/queue/a"), self.begun()
        self.send(peer, "/queue/a", b"no")
        peer.say("ABORT", ("transaction", "t"))
        peer.say("BEGIN", ("transaction", "t"))
        self.send(peer, "/queue/a", b"yes")
        peer.say("COMMIT", ("transaction", "t"))
        self.assertEqual(listener.bodies(), [b"yes"])

    def test_the_end_of_the_connection_aborts(self):
        """Lost, by DISCONNECT, or after an ERROR: nothing is sent, nothing is kept."""
        listener = self.listener("/queue/a")
        lost, gone, failed = self.begun(), self.begun("t", "u"), self.begun()
        for peer in (lost, gone, failed):
            self.send(peer, "/queue/a", b"x")
        lost.lose()
        gone.say("DISCONNECT")
        failed.say("SEND")
        self.assertEqual((listener.hear(), self.held()), ([], 0))

    def test_outside_it_goes_at_once(self):
        """Only frames with the header are held."""
        listener, peer = self.listener("/queue/a"), self.begun()
        self.send(peer, "/queue/a", b"held")
        peer.send("/queue/a", b"now")
        self.assertEqual(listener.bodies(), [b"now"])

    def test_two_at_once(self):
        """Each holds its own; order is that of the COMMITs."""
        listener, peer = self.listener("/queue/a"), self.begun("t", "u")
        self.send(peer, "/queue/a", b"1", "t")
        self.send(peer, "/queue/a", b"2", "u")
        self.send(peer, "/queue/a", b"3", "t")
        peer.say("COMMIT", ("transaction", "u"))
        peer.say("ABORT", ("transaction", "t"))
        self.assertEqual(listener.bodies(), [b"2"])

    def test_names_are_of_one_connection(self):
        """Two may use the same."""
        listener, one, two = self.listener("/queue/a"), self.begun(), self.begun()
        self.send(one, "/queue/a", b"1")
        self.send(two, "/queue/a", b"2")
        one.say("COMMIT", ("transaction", "t"))
        self.assertEqual(listener.bodies(), [b"1"])
        two.say("COMMIT", ("transaction", "t"))
        self.assertEqual(listener.bodies(), [b"2"])

    def test_the_header_is_not_passed_on(self):
        """It meant the sender's transaction and nothing to who listens."""
        listener, peer = self.listener("/queue/a"), self.begun()
        peer.say("SEND", ("destination", "/queue/a"), ("transaction", "t"), ("keep", "1"))
        peer.say("COMMIT", ("transaction", "t"))
        [message] = listener.hear()
        self.assertEqual((message.header("transaction"), message.header("keep")), (None, "1"))

    def test_receipts(self):
        """At once for what is held, in order; that of COMMIT after all of it is done."""
        peer = self.session()
        peer.subscribe("/queue/a")
        peer.say("BEGIN", ("transaction", "t"), ("receipt", "b"))
        peer.say("SEND", ("destination", "/queue/a"), ("transaction", "t"), ("receipt", "s"))
        self.assertEqual([f.header("receipt-id") for f in peer.hear()], ["b", "s"])
        peer.say("COMMIT", ("transaction", "t"), ("receipt", "c"))
        self.assertEqual([f.command for f in peer.hear()], ["MESSAGE", "RECEIPT"])
        peer.say("BEGIN", ("transaction", "t"))
        peer.say("ABORT", ("transaction", "t"), ("receipt", "a"))
        self.assertEqual([f.header("receipt-id") for f in peer.hear()], ["a"])


class SettlementTests(TransactionCase):
    def delivered(self, *bodies, ack="client-individual"):
        sender = self.session()
        for body in bodies:
            sender.send("/queue/a", body)
        peer = self.listener("/queue/a", ack=ack)
        peer.say("BEGIN", ("transaction", "t"))
        return peer, peer.hear()

    def settle(self, peer, message, verb="ACK"):
        peer.say(verb, ("id", message.header("ack")), ("transaction", "t"))
        self.assertFalse(peer.is_closing)

    def rest(self, peer):
        peer.lose()
        return [m.body for m in self.listener("/queue/a").hear()]

    def test_an_ack_counts_from_commit(self):
        """Before that, the end of the connection gives the message to others."""
        for committed, rest in ((False, [b"1", b"2"]), (True, [b"2"])):
            self.start(self.limits)
            peer, messages = self.delivered(b"1", b"2")
            self.settle(peer, messages[0])
            if committed:
                peer.say("COMMIT", ("transaction", "t"))
            self.assertEqual(self.rest(peer), rest)

    def test_abort_undoes_acks(self):
        """The messages may be acknowledged again, in or outside a transaction."""
        peer, [message] = self.delivered(b"1")
        self.settle(peer, message)
        peer.say("ABORT", ("transaction", "t"))
        peer.say("ACK", ("id", message.header("ack")))
        self.assertFalse(peer.is_closing)
        self.assertEqual(self.rest(peer), [])

    def test_a_nack_counts_from_commit(self):
        """Then another consumer gets the message."""
        peer, [message] = self.delivered(b"1")
        other = self.listener("/queue/a")
        self.settle(peer, message, "NACK")
        self.assertEqual(other.hear(), [])
        peer.say("COMMIT", ("transaction", "t"))
        self.assertEqual(other.bodies(), [b"1"])

    def test_take_and_pass_on(self):
        """What a worker does: the job is done and its result sent, or neither."""
        peer, [message] = self.delivered(b"job")
        results = self.listener("/queue/results")
        self.settle(peer, message)
        self.send(peer, "/queue/results", b"result")
        peer.say("COMMIT", ("transaction", "t"))
        self.assertEqual(results.bodies(), [b"result"])
        self.assertEqual(self.rest(peer), [])

    def test_of_a_topic(self):
        """Are held and change nothing."""
        peer = self.listener("/topic/a", ack="client")
        self.session().send("/topic/a", b"x")
        [message] = peer.hear()
        peer.say("BEGIN", ("transaction", "t"))
        self.settle(peer, message)
        self.settle(peer, message, "NACK")
        peer.say("COMMIT", ("transaction", "t"))
        self.assertEqual((peer.is_closing, peer.hear()), (False, []))

    def test_what_names_nothing_is_refused_at_once(self):
        """Not only at the COMMIT."""
        peer, _ = self.delivered(b"1")
        peer.say("ACK", ("id", "9-x"), ("transaction", "t"))
        self.assertIn("names no message", peer.error().header("message"))

    def assert_commit_refused(self, peer, naming, rest):
        """The COMMIT is an ERROR, and neither its SEND nor its ACKs were done."""
        results = self.listener("/queue/results")
        self.send(peer, "/queue/results", b"no")
        peer.say("COMMIT", ("transaction", "t"), ("receipt", "c"))
        error = peer.error()
        self.assertIn(naming, error.header("message"))
        self.assertEqual(error.header("receipt-id"), "c")
        self.assertEqual(results.hear(), [])
        self.assertEqual(self.rest(peer), rest)

    def test_acknowledged_twice(self):
        """Within the transaction: the COMMIT fails whole."""
        peer, [message, _] = self.delivered(b"1", b"2")
        self.settle(peer, message)
        self.settle(peer, message, "NACK")
        self.assert_commit_refused(peer, "no longer awaited", [b"1", b"2"])

    def test_acknowledged_meanwhile(self):
        """Outside the transaction."""
        peer, [one, two] = self.delivered(b"1", b"2")
        self.settle(peer, two)
        self.settle(peer, one)
        peer.say("ACK", ("id", one.header("ack")))
        self.assert_commit_refused(peer, "no longer awaited", [b"2"])

    def test_covered_by_a_cumulative_one(self):
        """With ack:client the later one has settled the earlier."""
        peer, [one, two] = self.delivered(b"1", b"2", ack="client")
        self.settle(peer, two)
        self.settle(peer, one)
        self.assert_commit_refused(peer, "no longer awaited", [b"1", b"2"])

    def test_cumulative_ones_in_order(self):
        """Settle all of it."""
        peer, [one, _, three] = self.delivered(b"1", b"2", b"3", ack="client")
        self.settle(peer, one)
        self.settle(peer, three)
        peer.say("COMMIT", ("transaction", "t"))
        self.assertEqual(self.rest(peer), [])

    def test_the_subscription_ended_meanwhile(self):
        """Its messages went back to the queue: they can no longer be acknowledged."""
        peer, [message] = self.delivered(b"1")
        self.settle(peer, message)
        peer.say("UNSUBSCRIBE", ("id", "/queue/a"))
        self.assert_commit_refused(peer, "ended before the COMMIT", [b"1"])


class RefusalTests(TransactionCase):
    def refused(self, peer, command, *headers):
        peer.say(command, *headers)
        return peer.error().header("message")

    def test_unknown_names(self):
        """COMMIT, ABORT, SEND and ACK of a transaction that is not open are ERRORs."""
        for command in ("COMMIT", "ABORT", "SEND"):
            headers = (("transaction", "x"), ("destination", "/topic/a"))
            message = self.refused(self.begun(), command, *headers)
            self.assertIn("no transaction 'x'", message)
        ended = self.begun()
        ended.say("COMMIT", ("transaction", "t"))
        self.assertIn("no transaction 't'", self.refused(ended, "COMMIT", ("transaction", "t")))

    def test_a_name_that_is_open(self):
        """A second BEGIN is an ERROR."""
        message = self.refused(self.begun(), "BEGIN", ("transaction", "t"))
        self.assertIn("'t' has begun already", message)

    def test_no_name(self):
        """BEGIN, COMMIT and ABORT need one; an empty one is none."""
        for command in ("BEGIN", "COMMIT", "ABORT"):
            for headers in ((), (("transaction", ""),)):
                message = self.refused(self.begun(), command, *headers)
                self.assertIn(f"{command} needs the header transaction", message)

    def test_syntax_is_checked_at_once(self):
        """A SEND without destination is refused when it comes."""
        message = self.refused(self.begun(), "SEND", ("transaction", "t"))
        self.assertIn("needs the header destination", message)

    def test_a_full_queue_refuses_the_commit_whole(self):
        """Nothing of it is done: not what came before, nor to other destinations."""
        self.start(BrokerLimits(queue_messages=2))
        listener, peer = self.listener("/topic/a"), self.begun()
        for destination in ("/topic/a", "/queue/b", "/queue/a", "/queue/a", "/queue/a"):
            self.send(peer, destination, b"x")
        self.assertIn("2 messages wait", self.refused(peer, "COMMIT", ("transaction", "t")))
        self.assertEqual(listener.hear(), [])
        self.assertEqual(self.factory._router.queues.by_name, {})

    def test_bytes_of_queues_refuse_the_commit_whole(self):
        """They are counted for all its messages together."""
        self.start(BrokerLimits(queue_bytes=10_000))
        peer = self.begun()
        peer.send("/queue/0", b"x" * 3000)
        queues = self.factory._router.queues
        before = queues.queued_bytes
        for number in range(2):
            self.send(peer, f"/queue/{number}", b"x" * 3000)
        self.assertIn("10000 bytes", self.refused(peer, "COMMIT", ("transaction", "t")))
        self.assertEqual((list(queues.by_name), queues.queued_bytes), (["/queue/0"], before))

    def test_limits(self):
        """Of open transactions, and of frames and bytes in all of a connection's together."""
        limits = BrokerLimits(transactions=2, transaction_frames=3, transaction_bytes=5000)
        self.start(limits)
        message = self.refused(self.begun("t", "u"), "BEGIN", ("transaction", "v"))
        self.assertIn("2 transactions", message)
        peer = self.begun("t", "u")
        for name in ("t", "t", "u"):
            self.send(peer, "/queue/a", b"x", name)
        held = (("transaction", "u"), ("destination", "/queue/a"))
        self.assertIn("3 frames", self.refused(peer, "SEND", *held))
        peer = self.begun("t", "u")
        self.send(peer, "/queue/a", b"x" * 3500, "t")
        self.assertIn("5000 bytes", self.refused(peer, "SEND", *held))

    def test_room_comes_back(self):
        """With the end of each transaction."""
        self.start(BrokerLimits(transactions=1, transaction_frames=1))
        peer = self.session()
        for verb in ("COMMIT", "ABORT") * 3:
            peer.say("BEGIN", ("transaction", "t"))
            self.send(peer, "/topic/a", b"x")
            peer.say(verb, ("transaction", "t"))
            self.assertFalse(peer.is_closing)

    def test_all_connections_together(self):
        """May hold as much as queues; what ends, however it ends, makes room."""
        self.start(BrokerLimits(queue_bytes=10_000))
        peers = [self.begun() for _ in range(4)]
        for peer in peers[:3]:
            self.send(peer, "/topic/a", b"x" * 2000)
        held = (("transaction", "t"), ("destination", "/topic/a"), ("x", "y" * 2000))
        self.assertIn("of all connections", self.refused(peers[3], "SEND", *held))
        peers[0].say("COMMIT", ("transaction", "t"))
        peers[1].say("ABORT", ("transaction", "t"))
        peers[2].lose()
        self.assertEqual(self.factory._router.transactions.held_bytes, 0)

    def test_a_whole_transaction_overflows_nobody(self):
        """What one may hold fits into the outbox of a subscriber that has read what came before."""
        limits = BrokerLimits()
        self.assertLessEqual(2 * limits.transaction_bytes, limits.outbox_bytes)
        listener, peer = self.listener("/topic/a"), self.begun()
        listener.wire.stuck = True
        for _ in range(limits.transaction_bytes // 17_000):
            self.send(peer, "/topic/a", b"x" * 15_000)
        peer.say("COMMIT", ("transaction", "t"))
        self.assertFalse(listener.is_closing)
        self.assertEqual(len(listener.unstick()), limits.transaction_bytes // 17_000)


class RightsTests(VmBrokerCase):
    def test_rights_are_checked_at_once(self):
        """What a guest may not send it may not hold either."""
        guest = self.guest()
        guest.say("BEGIN", ("transaction", "t"))
        guest.say("SEND", ("destination", "/topic/other"), ("transaction", "t"))
        self.assertIn("may not send", guest.error().header("message"))

    def test_the_broker_says_who_sent_it(self):
        """In a transaction as outside."""
        host, guest = self.host(), self.guest(1)
        host.subscribe(RESPONSES)
        guest.say("BEGIN", ("transaction", "t"))
        guest.say("SEND", ("destination", RESPONSES), ("transaction", "t"), ("from", "other"))
        guest.say("COMMIT", ("transaction", "t"))
        [message] = host.hear()
        self.assertEqual(message.header("from"), "52:54:00:00:00:01")
