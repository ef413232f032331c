"""NACK: another consumer gets the message, or the same again a few times; then it is dropped."""

from __future__ import annotations

from tests.host.broker.wire import BrokerCase
from vmcontroller.host.broker.limits import BrokerLimits


class NackCase(BrokerCase):
    def consumer(self, ack="client-individual", version="1.2", destination="/queue/a"):
        peer = self.session(version)
        peer.subscribe(destination, ack=ack)
        return peer

    def filled(self, count=1):
        sender = self.session()
        for number in range(1, count + 1):
            sender.send("/queue/a", b"%d" % number)
        return sender

    def refuse(self, peer, message):
        peer.say("NACK", ("id", message.header("ack")))
        self.assertFalse(peer.is_closing)

    def left_bytes(self):
        return self.factory._router.queues.queued_bytes


class QueueNackTests(NackCase):
    def test_another_consumer_gets_it(self):
        """At once, marked as delivered before; who refused it does not."""
        self.filled()
        one, two = self.consumer(), self.consumer()
        [message] = one.hear()
        self.refuse(one, message)
        self.assertEqual(one.hear(), [])
        [again] = two.hear()
        self.assertEqual((again.body, again.header("redelivered")), (b"1", "true"))
        self.assertEqual(again.header("message-id"), message.header("message-id"))

    def test_each_consumer_once_before_any_twice(self):
        """As long as somebody is there who has not refused it."""
        self.start(BrokerLimits(refusals=10))
        consumers = [self.consumer() for _ in range(3)]
        self.filled()
        asked = []
        for _ in range(3):
            [(number, message)] = [(n, m) for n, c in enumerate(consumers) for m in c.hear()]
            asked.append(number)
            self.refuse(consumers[number], message)
        self.assertEqual(sorted(asked), [0, 1, 2])

    def test_no_hot_loop(self):
        """A consumer alone gets it `refusals` times in all; then it is dropped, bytes and all."""
        self.filled()
        one = self.consumer()
        deliveries = 0
        while messages := one.hear():
            deliveries += 1
            self.refuse(one, messages[0])
        self.assertEqual(deliveries, BrokerLimits().refusals)
        self.assertEqual(self.left_bytes(), 0)
        self.assertEqual(self.consumer().hear(), [])

    def test_a_refused_message_does_not_stop_the_queue(self):
        """What waits behind it is delivered all the same, and the refused one keeps its place."""
        self.start(BrokerLimits(unacked_messages=1))
        self.filled(3)
        one = self.consumer()
        bodies = []
        while messages := one.hear():
            bodies.append(messages[0].body)
            verb = "NACK" if messages[0].body == b"1" else "ACK"
            one.say(verb, ("id", messages[0].header("ack")))
        self.assertEqual(bodies, [b"1", b"1", b"1", b"2", b"3"])

    def test_a_busy_consumer_is_not_waited_for(self):
        """Who refused it gets it again rather than that nobody gets anything."""
        self.start(BrokerLimits(unacked_messages=1))
        one, busy = self.consumer(), self.consumer()
        self.filled(2)
        [message] = one.hear()
        self.assertEqual(len(busy.hear()), 1)
        self.refuse(one, message)
        self.assertEqual(one.bodies(), [b"1"])

    def test_client_is_cumulative(self):
        """1.2, NACK: what is said of ack modes holds for it; all up to this one are refused."""
        self.filled(3)
        one, two = self.consumer("client"), self.session()
        messages = one.hear()
        two.subscribe("/queue/a", ack="client")
        self.refuse(one, messages[1])
        self.assertEqual(two.bodies(), [b"1", b"2"])
        one.say("ACK", ("id", messages[2].header("ack")))
        self.assertFalse(one.is_closing)

    def test_client_individual_is_not(self):
        """Only the message named."""
        self.filled(3)
        one, two = self.consumer(), self.consumer()
        self.refuse(one, one.hear()[1])
        self.assertEqual(two.bodies(), [b"2"])

    def test_order_is_kept(self):
        """What comes back waits at its place, before what was sent later."""
        self.filled(4)
        one = self.consumer()
        messages = one.hear()
        self.start_refusing(one, messages, order=(2, 0, 3, 1))
        self.assertEqual([m.body for m in self.consumer("auto").hear()], [b"1", b"2", b"3", b"4"])

    def start_refusing(self, one, messages, order):
        # The consumer must not get them again, so it is taken for one that does not keep up.
        self.factory._router.throttled.add(one.connection.peer)
        one.wire.producer.pauseProducing()
        for number in order:
            self.refuse(one, messages[number])

    def test_room_for_more(self):
        """A dropped message makes room in the queue's bytes."""
        self.start(BrokerLimits(queue_bytes=5000, refusals=1))
        sender, one = self.filled(3), self.consumer("client")
        self.refuse(one, one.hear()[-1])
        sender.send("/queue/a", b"x" * 3000)
        self.assertEqual(one.bodies(), [b"x" * 3000])

    def test_a_receipt(self):
        """Comes after what the NACK brought about."""
        self.filled()
        one = self.consumer()
        [message] = one.hear()
        one.say("NACK", ("id", message.header("ack")), ("receipt", "r"))
        self.assertEqual([f.command for f in one.hear()], ["MESSAGE", "RECEIPT"])


class OtherNackTests(NackCase):
    def test_on_a_topic(self):
        """It is only acknowledged away: nobody gets it again."""
        one, two = self.consumer(destination="/topic/a"), self.consumer(destination="/topic/a")
        sender = self.session()
        sender.send("/topic/a", b"x")
        [message] = one.hear()
        self.assertEqual(two.bodies(), [b"x"])
        self.refuse(one, message)
        self.assertEqual((one.hear(), two.hear()), ([], []))

    def test_in_1_1(self):
        """1.1, NACK: named by subscription and message-id."""
        self.filled()
        one, two = self.consumer(version="1.1"), self.consumer()
        [message] = one.hear()
        one.say("NACK", ("subscription", "0"), ("message-id", message.header("message-id")))
        self.assertFalse(one.is_closing)
        self.assertEqual(two.bodies(), [b"1"])

    def test_in_1_0(self):
        """Does not exist: an ERROR; the message goes to the next consumer with the connection."""
        self.filled()
        one, two = self.consumer("client", "1.0"), self.consumer()
        [message] = one.hear()
        one.say("NACK", ("message-id", message.header("message-id")))
        self.assertIn("1.0 has no NACK", one.error().header("message"))
        self.assertEqual(two.bodies(), [b"1"])

    def test_of_nothing(self):
        """Unknown, twice, of an auto subscription, or of another connection: an ERROR."""
        self.start(BrokerLimits(refusals=1))
        self.filled(2)
        one = self.consumer()
        message, other = one.hear()
        self.refuse(one, message)
        one.say("NACK", ("id", message.header("ack")))
        self.assertIn("NACK names no message", one.error().header("message"))
        two = self.session()
        two.say("NACK", ("id", other.header("ack")))
        two.error()
        three = self.consumer("auto", "1.1")
        [message] = three.hear()
        three.say("NACK", ("subscription", "0"), ("message-id", message.header("message-id")))
        three.error()

    def test_missing_headers(self):
        """Are named, as those of ACK."""
        for version, headers, name in (
            ("1.2", (), "id"),
            ("1.1", (("subscription", "0"),), "message-id"),
            ("1.1", (("message-id", "x"),), "subscription"),
        ):
            peer = self.session(version)
            peer.say("NACK", *headers)
            self.assertIn(f"NACK needs the header {name}", peer.error().header("message"))
