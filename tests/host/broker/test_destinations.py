"""Topics and queues as MorbidQ has them, and what a MESSAGE carries."""

from __future__ import annotations

from tests.host.broker.wire import BrokerCase
from vmcontroller.host.broker.limits import BrokerLimits


class TopicTests(BrokerCase):
    def test_fan_out(self):
        """Every subscription gets a message, the sender's own too."""
        one, two, three = (self.session() for _ in range(3))
        one.subscribe("/topic/a")
        two.subscribe("/topic/a", "x")
        two.subscribe("/topic/a", "y")
        three.subscribe("/topic/b")
        one.send("/topic/a", b"hello")
        self.assertEqual(one.bodies(), [b"hello"])
        self.assertEqual([f.header("subscription") for f in two.hear()], ["x", "y"])
        self.assertEqual(three.hear(), [])

    def test_nobody_listens(self):
        """The message is dropped; who subscribes later does not get it."""
        one = self.session()
        one.send("/topic/a", b"lost")
        one.subscribe("/topic/a")
        self.assertEqual(one.bodies(), [])

    def test_a_name_without_prefix_is_a_topic(self):
        """As in MorbidQ; RabbitMQ and ActiveMQ would take it for a queue."""
        one, two = self.session(), self.session()
        for peer in (one, two):
            peer.subscribe("plain")
        one.send("plain", b"x")
        self.assertEqual((one.bodies(), two.bodies()), ([b"x"], [b"x"]))

    def test_names_are_taken_as_they_are(self):
        """No wildcards, and a prefix is part of the name."""
        one = self.session()
        one.subscribe("/topic/a.*", "0")
        one.subscribe("a", "1")
        one.send("/topic/a.b", b"x")
        one.send("/topic/a", b"y")
        self.assertEqual(one.bodies(), [])

    def test_unsubscribe(self):
        """Ends that subscription only."""
        one = self.session()
        one.subscribe("/topic/a", "x")
        one.subscribe("/topic/a", "y")
        one.say("UNSUBSCRIBE", ("id", "x"))
        one.send("/topic/a", b"1")
        self.assertEqual([f.header("subscription") for f in one.hear()], ["y"])

    def test_a_lost_connection_is_forgotten(self):
        """Names and peers leave nothing behind in the router."""
        one, two = self.session(), self.session()
        for peer in (one, two):
            peer.subscribe("/topic/a", "t")
            peer.subscribe("/queue/a", "q")
            peer.lose()
        router = self.factory._router
        self.assertEqual((router.topics, router.queues.by_name), ({}, {}))
        self.assertEqual(router.queues.queued_bytes, 0)
        self.assertEqual((self.factory._by_peer, self.factory._connections), ({}, set()))

    def test_acknowledging_a_topic(self):
        """Is allowed and changes nothing: a topic does not deliver again."""
        one, two = self.session(), self.session()
        one.subscribe("/topic/a", ack="client")
        two.send("/topic/a", b"x")
        [message] = one.hear()
        one.say("ACK", ("id", message.header("ack")))
        self.assertFalse(one.is_closing)
        two.send("/topic/a", b"y")
        one.lose()
        three = self.session()
        three.subscribe("/topic/a")
        self.assertEqual(three.bodies(), [])

    def test_a_topic_remembers_nothing(self):
        """Who never acknowledges it costs no memory for that, and may do so later all the same."""
        one = self.session()
        one.subscribe("/topic/a", ack="client")
        for _ in range(2000):
            one.send("/topic/a", b"x")
        messages = one.hear()
        [subscription] = one.connection.peer.subscriptions.values()
        self.assertEqual(subscription.unacked, {})
        for message in (messages[0], messages[-1]):
            one.say("ACK", ("id", message.header("ack")))
        self.assertFalse(one.is_closing)

    def test_an_ack_of_what_a_topic_never_had(self):
        """Another name, a number not reached yet, no number, or not awaited: an ERROR."""
        for ack, message_id in (
            ("client", "/topic/b_1"),
            ("client", "/topic/a_2"),
            ("client", "/topic/a_x"),
            ("client", "/topic/a_" + "9" * 5000),
            ("client", "1"),
            ("auto", "/topic/a_1"),
        ):
            self.start(self.limits)
            one = self.session("1.1")
            one.subscribe("/topic/a", ack=ack)
            one.send("/topic/a")
            one.say("ACK", ("message-id", message_id), ("subscription", "0"))
            self.assertIn("names no message", one.error().header("message"))


class MessageTests(BrokerCase):
    def message(self, *headers, body=b"", version="1.2", to="1.2"):
        sender, receiver = self.session(version), self.session(to)
        receiver.subscribe("/topic/a")
        sender.say("SEND", ("destination", "/topic/a"), *headers, body=body)
        [message] = receiver.hear()
        return message

    def test_all_headers_go_on(self):
        """As in MorbidQ, in order and with repetitions; `from` too where there are no guests."""
        message = self.message(("to", "x"), ("from", "y"), ("to", "z"), ("content-type", "a/b"))
        kept = [h for h in message.headers if h[0] in {"to", "from", "content-type"}]
        self.assertEqual(kept, [("to", "x"), ("from", "y"), ("to", "z"), ("content-type", "a/b")])

    def test_what_a_message_must_have(self):
        """1.2, MESSAGE: destination, message-id and subscription; no ack for auto."""
        message = self.message()
        self.assertEqual(message.header("destination"), "/topic/a")
        self.assertEqual(message.header("message-id"), "/topic/a_1")
        self.assertEqual(message.header("subscription"), "0")
        self.assertIsNone(message.header("ack"))

    def test_a_sender_cannot_forge_what_the_broker_says(self):
        """Its own message-id, subscription, ack, redelivered and lengths are not passed on."""
        message = self.message(
            ("message-id", "x"),
            ("subscription", "y"),
            ("ack", "z"),
            ("receipt", "r"),
            ("redelivered", "true"),
            ("destination", "/topic/b"),
            body=b"ab",
        )
        names = sorted(name for name, _ in message.headers)
        self.assertEqual(names, ["content-length", "destination", "message-id", "subscription"])
        self.assertEqual(message.header("destination"), "/topic/a")

    def test_message_ids_differ(self):
        """Each message has its own, of MorbidQ's shape."""
        one = self.session()
        one.subscribe("/topic/a")
        one.send("/topic/a")
        one.send("/topic/a")
        self.assertEqual([f.header("message-id") for f in one.hear()], ["/topic/a_1", "/topic/a_2"])

    def test_between_versions(self):
        """Each hears the same text, escaped by its own version's rules."""
        for version in ("1.1", "1.2"):
            for to in ("1.1", "1.2"):
                message = self.message(("a:b", "c\\d:e\nf"), body=b"\0", version=version, to=to)
                self.assertEqual(message.header("a:b"), "c\\d:e\nf")
                self.assertEqual(message.body, b"\0")

    def test_a_carriage_return_for_1_1(self):
        """It has no escape there and goes as it is."""
        message = self.message(("a", "b\rc"), to="1.1")
        self.assertEqual(message.header("a"), "b\rc")

    def test_a_line_feed_for_1_0(self):
        """1.0 cannot carry it: it is written as 1.1 would, and makes no header of its own."""
        message = self.message(("a", "b\nevil:x"), to="1.0")
        self.assertEqual(message.header("a"), "b\\nevil\\cx")
        self.assertIsNone(message.header("evil"))

    def test_1_0_needs_no_subscription_id(self):
        """Then the MESSAGE has none; with one it has it."""
        one = self.session("1.0")
        one.say("SUBSCRIBE", ("destination", "/topic/a"))
        one.say("SUBSCRIBE", ("destination", "/topic/b"), ("id", "b"))
        one.send("/topic/a")
        one.send("/topic/b")
        self.assertEqual([f.header("subscription") for f in one.hear()], [None, "b"])
        one.say("SUBSCRIBE", ("destination", "/topic/a"))
        one.say("UNSUBSCRIBE", ("destination", "/topic/a"))
        one.say("UNSUBSCRIBE", ("id", "b"))
        one.send("/topic/a")
        self.assertEqual(one.hear(), [])

    def test_messages_of_1_0_end_in_a_line_feed(self):
        """As MorbidQ's did, for clients built on stomper."""
        one = self.session("1.0")
        one.say("SUBSCRIBE", ("destination", "/topic/a"))
        one.send("/topic/a", b"x")
        self.assertTrue(one.wire.value().endswith(b"\n\nx\0\n"))

    def test_large_bodies(self):
        """Up to the limit of a frame, unharmed."""
        body = bytes(range(256)) * 4096
        self.assertEqual(self.message(body=body).body, body)


class QueueTests(BrokerCase):
    def test_kept_while_nobody_listens(self):
        """And delivered in order to the first who does; once."""
        one, two = self.session(), self.session()
        for body in (b"1", b"2", b"3"):
            one.send("/queue/a", body)
        two.subscribe("/queue/a")
        self.assertEqual(two.bodies(), [b"1", b"2", b"3"])
        one.subscribe("/queue/a")
        self.assertEqual(one.bodies(), [])

    def test_one_consumer_at_a_time_in_turn(self):
        """Round-robin in the order in which they subscribed."""
        sender, one, two, three = (self.session() for _ in range(4))
        for peer in (one, two, three):
            peer.subscribe("/queue/a")
        for number in range(7):
            sender.send("/queue/a", b"%d" % number)
        self.assertEqual(one.bodies(), [b"0", b"3", b"6"])
        self.assertEqual(two.bodies(), [b"1", b"4"])
        self.assertEqual(three.bodies(), [b"2", b"5"])

    def test_who_leaves_gets_no_more(self):
        """By UNSUBSCRIBE or with the connection."""
        sender, one, two, three = (self.session() for _ in range(4))
        for peer in (one, two, three):
            peer.subscribe("/queue/a")
        one.say("UNSUBSCRIBE", ("id", "0"))
        two.lose()
        for number in range(3):
            sender.send("/queue/a", b"%d" % number)
        self.assertEqual((one.bodies(), three.bodies()), ([], [b"0", b"1", b"2"]))

    def test_a_full_queue(self):
        """Refuses with an ERROR: nothing is dropped silently."""
        self.start(BrokerLimits(queue_messages=2))
        one, two = self.session(), self.session()
        for _ in range(3):
            one.send("/queue/a", b"x")
        self.assertIn("2 messages wait", one.error().header("message"))
        two.subscribe("/queue/a")
        self.assertEqual(len(two.bodies()), 2)

    def test_all_queues_together(self):
        """Have a bound in bytes, and get it back when they are read."""
        self.start(BrokerLimits(queue_bytes=10_000))
        one = self.session()
        for number in range(4):
            one.send(f"/queue/{number}", b"x" * 1200)
        other = self.session()
        other.send("/queue/9", b"x" * 1200)
        self.assertIn("10000 bytes", other.error().header("message"))
        for number in range(4):
            one.subscribe(f"/queue/{number}", str(number))
        self.assertEqual(len(one.bodies()), 4)
        self.assertEqual(self.factory._router.queues.queued_bytes, 0)


class AckTests(BrokerCase):
    def consumer(self, ack, version="1.2"):
        peer = self.session(version)
        peer.subscribe("/queue/a", ack=ack)
        return peer

    def filled(self, count=3):
        sender = self.session()
        for number in range(1, count + 1):
            sender.send("/queue/a", b"%d" % number)
        return sender

    def rest_after(self, consumer):
        """Let the consumer go; return what the next one gets, and whether again."""
        consumer.lose()
        after = self.consumer("auto")
        return [(frame.body, frame.header("redelivered")) for frame in after.hear()]

    def test_auto_needs_nothing(self):
        """What was delivered is done."""
        self.filled()
        one = self.consumer("auto")
        self.assertEqual(self.rest_after(one), [])

    def test_unacknowledged_messages_are_redelivered(self):
        """In order, before all others, and marked."""
        sender = self.filled(2)
        one = self.consumer("client")
        self.assertEqual(one.bodies(), [b"1", b"2"])
        one.lose()
        sender.send("/queue/a", b"3")
        after = self.consumer("auto")
        self.assertEqual(
            [(frame.body, frame.header("redelivered")) for frame in after.hear()],
            [(b"1", "true"), (b"2", "true"), (b"3", None)],
        )

    def test_redelivered_to_who_is_there(self):
        """At once, when another consumer listens."""
        self.filled(1)
        one = self.consumer("client-individual")
        two = self.consumer("client-individual")
        self.assertEqual((len(one.hear()), two.hear()), (1, []))
        one.lose()
        self.assertEqual(two.bodies(), [b"1"])

    def test_unsubscribing_gives_back_too(self):
        """Not only losing the connection."""
        self.filled(1)
        one = self.consumer("client")
        one.say("UNSUBSCRIBE", ("id", "0"))
        self.assertEqual(self.rest_after(one), [(b"1", "true")])

    def test_client_is_cumulative(self):
        """1.2, SUBSCRIBE: an ACK counts for all messages before it, too."""
        self.filled()
        one = self.consumer("client")
        _, second, _ = one.hear()
        one.say("ACK", ("id", second.header("ack")))
        self.assertEqual(self.rest_after(one), [(b"3", "true")])

    def test_client_individual_is_not(self):
        """1.2, SUBSCRIBE: only the message named."""
        self.filled()
        one = self.consumer("client-individual")
        _, second, _ = one.hear()
        one.say("ACK", ("id", second.header("ack")))
        self.assertEqual(self.rest_after(one), [(b"1", "true"), (b"3", "true")])

    def test_ack_of_1_1_and_1_0(self):
        """By message-id and, in 1.1, subscription; there is no `ack` header on the MESSAGE."""
        for version in ("1.0", "1.1"):
            self.start(self.limits)
            self.filled(2)
            one = self.consumer("client-individual", version)
            first, _ = one.hear()
            self.assertIsNone(first.header("ack"))
            one.say(
                "ACK",
                ("message-id", first.header("message-id")),
                ("subscription", "0"),
            )
            self.assertEqual(self.rest_after(one), [(b"2", "true")])

    def test_an_ack_of_nothing(self):
        """Unknown, twice, or of another connection: an ERROR."""
        self.filled(1)
        one, two = self.consumer("client"), self.session()
        [message] = one.hear()
        two.say("ACK", ("id", message.header("ack")))
        self.assertIn("names no message", two.error().header("message"))
        one.say("ACK", ("id", message.header("ack")))
        self.assertFalse(one.is_closing)
        one.say("ACK", ("id", message.header("ack")))
        self.assertIn("names no message", one.error().header("message"))

    def test_a_bounded_number_unacknowledged(self):
        """The queue keeps the rest until some are acknowledged, or for another consumer."""
        self.start(BrokerLimits(unacked_messages=2))
        self.filled(5)
        one = self.consumer("client")
        _, second = one.hear()
        one.say("ACK", ("id", second.header("ack")))
        self.assertEqual(one.bodies(), [b"3", b"4"])
        two = self.consumer("client")
        self.assertEqual(two.bodies(), [b"5"])

    def test_unacknowledged_bytes_count(self):
        """Taking without acknowledging does not make room for more."""
        self.start(BrokerLimits(queue_bytes=5000))
        sender = self.filled(3)
        one = self.consumer("client")
        messages = one.hear()
        sender.send("/queue/a", b"x" * 3000)
        sender.error()
        one.say("ACK", ("id", messages[-1].header("ack")))
        again = self.session()
        again.send("/queue/a", b"x" * 3000)
        self.assertEqual(one.bodies(), [b"x" * 3000])

    def test_order_across_subscriptions_of_one_connection(self):
        """What two of its subscriptions held goes back in the order in which it was sent."""
        one = self.session()
        one.subscribe("/queue/a", "x", ack="client")
        one.subscribe("/queue/a", "y", ack="client")
        self.filled(4)
        self.assertEqual([b for b, _ in self.rest_after(one)], [b"1", b"2", b"3", b"4"])
