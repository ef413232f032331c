"""MorbidQ's interface: its constructor, its configuration, its rights module, its destinations."""

from __future__ import annotations

import os

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from tests.host.broker.wire import Peer
from vmcontroller.common.errors import ConfigError
from vmcontroller.host.broker import morbid, morbid_rights

BY_NAME = """
class Parms(object):
    def checker_config(self):
        return {"sec_type": "test"}

    def group_config(self):
        return lambda name: ["admin", name] if name == "usr0" else [name]

    def get_group_access_rights(self):
        return self.queue_rights

    def queue_rights(self, groups, queue):
        if "admin" in groups:
            return set("crw")
        return set(right for right in "crw" if "/%s/" % right in queue)
"""
"""Usr0 may do anything, the others what the destination's name says."""


class FacadeCase(SynchronousTestCase):
    def start(self, **arguments):
        self.factory = morbid.StompFactory(reactor=Clock(), **arguments)

    def peer(self, host="10.0.0.2"):
        return Peer(self.factory.buildProtocol(IPv4Address("TCP", host, 1000)))

    def session(self, login=None, passcode=None):
        """Return a 1.0 session, as MorbidQ's clients had it."""
        peer = self.peer()
        pairs = (("login", login), ("passcode", passcode))
        peer.say("CONNECT", *(pair for pair in pairs if pair[1] is not None))
        [connected] = peer.hear()
        self.assertEqual(connected.command, "CONNECTED")
        return peer

    def subscribe(self, peer, destination):
        peer.say("SUBSCRIBE", ("destination", destination))
        return not peer.is_closing

    def send(self, peer, destination, body=b""):
        peer.say("SEND", ("destination", destination), body=body)
        return not peer.is_closing

    def file(self, text, name="rights.py"):
        folder = self.mktemp()
        os.mkdir(folder)
        path = os.path.join(folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class SemanticsTests(FacadeCase):
    """What the original does, measured on it, with clients of 1.0 that log in as nobody."""

    def setUp(self):
        self.start(verbose=True)

    def test_every_name_but_queue_is_a_topic(self):
        """With any prefix or none: all who listen get it, and what nobody hears is dropped."""
        for name in ("/topic/a", "a", "/a", "queue/a", "/queues/a", "/exchange/x/y", "/pubsub/x"):
            one, two, sender = self.session(), self.session(), self.session()
            self.send(sender, name, b"lost")
            self.subscribe(one, name)
            self.subscribe(two, name)
            self.send(sender, name, b"x")
            self.assertEqual((name, one.bodies(), two.bodies()), (name, [b"x"], [b"x"]))

    def test_a_queue_is_kept_and_taken_in_turn(self):
        """While nobody listens it waits; then each message goes to one, in turn."""
        one, two, sender = self.session(), self.session(), self.session()
        for body in (b"1", b"2"):
            self.send(sender, "/queue/a", body)
        self.subscribe(one, "/queue/a")
        self.assertEqual(one.bodies(), [b"1", b"2"])
        self.subscribe(two, "/queue/a")
        for body in (b"3", b"4", b"5", b"6"):
            self.send(sender, "/queue/a", body)
        self.assertEqual(sorted((one.bodies(), two.bodies())), [[b"3", b"5"], [b"4", b"6"]])

    def test_a_message(self):
        """Its id is the destination and a number; it has the sender's headers and no id of ours."""
        one = self.session()
        self.subscribe(one, "/queue/a")
        one.say("SEND", ("destination", "/queue/a"), ("x", "y"), body=b"b")
        [message] = one.hear()
        self.assertRegex(message.header("message-id"), r"\A/queue/a_[0-9]+\Z")
        self.assertEqual(message.header("x"), "y")
        self.assertIsNone(message.header("subscription"))

    def test_connected_names_a_session(self):
        """Clients built on stomper read it."""
        peer = self.peer()
        peer.say("CONNECT")
        self.assertTrue(peer.hear()[0].header("session"))

    def test_anybody_may_do_anything(self):
        """Without a rights module, with any login or none."""
        for login in (None, "x", "self"):
            peer = self.session(login, "y")
            self.assertTrue(self.subscribe(peer, "/topic/a") and self.send(peer, "/queue/b"))

    def test_unsubscribe_by_destination(self):
        """1.0 without an id."""
        one = self.session()
        self.subscribe(one, "/topic/a")
        one.say("UNSUBSCRIBE", ("destination", "/topic/a"))
        self.send(one, "/topic/a")
        self.assertEqual(one.hear(), [])

    def test_twice_subscribed_is_once(self):
        """The same client to the same name gets each message once."""
        one = self.session()
        self.subscribe(one, "/topic/a")
        self.subscribe(one, "/topic/a")
        self.send(one, "/topic/a", b"x")
        self.assertEqual(one.bodies(), [b"x"])

    def test_large_bodies_and_many_clients_of_one_machine(self):
        """MorbidQ had no limits; what its users may have relied on is left."""
        peers = [self.session() for _ in range(50)]
        self.subscribe(peers[0], "/topic/a")
        self.send(peers[1], "/topic/a", b"x" * (8 << 20))
        self.assertEqual(len(peers[0].bodies()[0]), 8 << 20)


class ConstructionTests(FacadeCase):
    def test_as_the_old_code_has_it(self):
        """`StompFactory(verbose=True)`, and the positions of its arguments."""
        mqm = morbid.MessageQueueManager()
        made = morbid.StompFactory(mqm, None, None, True)
        self.assertIs(made.mqm, mqm)
        self.assertTrue(made.verbose)
        self.assertFalse(morbid.StompFactory().verbose)

    def test_listening(self):
        """It is a factory like any of Twisted."""
        reactor = MemoryReactorClock()
        made = morbid.StompFactory(reactor=reactor)
        reactor.listenTCP(61613, made, interface="127.0.0.1")
        peer = Peer(made.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1)))
        peer.connect()
        made.doStart()
        made.doStop()
        closed = made.close()
        self.assertIn("stopping", peer.error().header("message"))
        peer.lose()
        self.successResultOf(closed)
        self.assertEqual(reactor.getDelayedCalls(), [])

    def test_close_before_use(self):
        """Nothing is there to be closed."""
        self.successResultOf(morbid.StompFactory().close())

    def test_restq_is_not_offered(self):
        """Said, not ignored: it may have been what kept people out."""
        for make in (
            lambda: morbid.StompFactory(rqaddr="http://127.0.0.1/"),
            lambda: morbid.get_stomp_factory(cfg={"restq": "http://127.0.0.1/"}),
            lambda: morbid.get_stomp_factory(self.file("restq = http://127.0.0.1/\n")),
        ):
            error = self.assertRaises(ConfigError, make)
            self.assertIn("HTTP callbacks are not offered", str(error))

    def test_verbose_reports(self):
        """With `verbose` what it reports is logged, else not."""
        logged = []
        globalLogPublisher.addObserver(logged.append)
        self.addCleanup(globalLogPublisher.removeObserver, logged.append)
        morbid.StompFactory(verbose=False).report("quiet")
        morbid.StompFactory(verbose=True).report("loud")
        texts = [event["log_format"].format(**event) for event in logged]
        self.assertEqual(texts, ["the broker: loud"])


class ConfigurationTests(FacadeCase):
    def test_a_file(self):
        """Keys of MorbidQ; its own crashed at `verbose` and `port`."""
        rights = self.file(BY_NAME)
        path = self.file(f"# x\n\nauth={rights}\nverbose = True\nport=61613\nrestq=\n", "morbid")
        made = morbid.get_stomp_factory(path)
        self.assertTrue(made.verbose)
        self.assertFalse(made._rights.authenticate("usr1", "wrong", "x"))

    def test_a_dict(self):
        """As the command line passed it; what is missing is the default."""
        made = morbid.get_stomp_factory(cfg={"auth": None, "restq": None, "verbose": True})
        self.assertTrue(made.verbose)
        self.assertFalse(morbid.get_stomp_factory("").verbose)

    def test_one_call_leaves_nothing_to_the_next(self):
        """MorbidQ's default dict was shared by all calls."""
        cfg = {"verbose": False}
        morbid.get_stomp_factory(self.file("verbose=true\n"), cfg)
        self.assertEqual(cfg, {"verbose": False})
        self.assertFalse(morbid.get_stomp_factory().verbose)

    def test_mistakes(self):
        """Are named with their file and key."""
        for text, naming in (
            ("verbose\n", "'verbose' is not key=value"),
            ("verbose=perhaps\n", "verbose: 'perhaps'"),
            ("port=http\n", "port: 'http'"),
            ("colour=red\n", "colour: is not one of auth"),
        ):
            path = self.file(text)
            error = self.assertRaises(ConfigError, morbid.get_stomp_factory, path)
            self.assertIn(naming, str(error))
            self.assertIn(path, str(error))
        error = self.assertRaises(ConfigError, morbid.get_stomp_factory, "absent")
        self.assertIn("no such file", str(error))


class RightsTests(FacadeCase):
    def test_logins_of_sec_type_test(self):
        """Usr0 to usr9, each with its own passcode."""
        self.start(filename=self.file(BY_NAME))
        self.session("usr9", "pwd9")
        for login, passcode in (("usr1", "pwd2"), ("usr10", "pwd10"), (None, None)):
            peer = self.peer()
            peer.say("CONNECT", ("login", login or ""), ("passcode", passcode or ""))
            self.assertIn("is refused", peer.error().header("message"))

    def test_create_read_write(self):
        """Each right by itself; who may not create waits for somebody who has."""
        self.start(filename=self.file(BY_NAME))
        for name, can_send, can_subscribe in (
            ("/queue/c/r/w/", True, True),
            ("/queue/c/w/", True, False),
            ("/queue/c/r/", False, True),
            ("/queue/r/w/", False, False),
            ("/queue/", False, False),
        ):
            peers = self.session("usr1", "pwd1"), self.session("usr2", "pwd2")
            found = self.send(peers[0], name), self.subscribe(peers[1], name)
            self.assertEqual((name, *found), (name, can_send, can_subscribe))
        admin = self.session("usr0", "pwd0")
        self.send(admin, "/topic/r/w/")
        user = self.session("usr1", "pwd1")
        self.assertTrue(self.subscribe(user, "/topic/r/w/") and self.send(user, "/topic/r/w/"))

    def test_a_refusal_creates_nothing(self):
        """Otherwise who may not read could create for others."""
        self.start(filename=self.file(BY_NAME))
        self.assertFalse(self.subscribe(self.session("usr1", "pwd1"), "/topic/c/"))
        self.assertEqual(self.factory.mqm.get_list_of_queues(), [])

    def test_an_error_names_who_and_what(self):
        """And the connection ends, which MorbidQ's did not."""
        self.start(filename=self.file(BY_NAME))
        user = self.session("usr1", "pwd1")
        self.send(user, "/topic/a")
        message = user.error().header("message")
        self.assertEqual(message, "user 'usr1' may not send to '/topic/a'")

    def test_a_file_of_passwords(self):
        """As Twisted's FilePasswordDB reads it, with its options."""
        users = os.path.abspath(self.file("ann|secret\nbob|other\n", "users"))
        self.start(
            filename=self.file(
                "class Parms:\n"
                "    def checker_config(self):\n"
                f"        return dict(sec_type='file', filename={users!r}, delim='|')\n"
                "    def get_group_access_rights(self):\n"
                "        return lambda groups, queue: 'crw' if groups == ['NoGroup'] else ''\n"
            )
        )
        ann = self.session("ann", "secret")
        self.assertTrue(self.send(ann, "/topic/a"))
        for login, passcode in (("ann", "other"), ("eve", "secret"), ("ann", "")):
            peer = self.peer()
            peer.say("CONNECT", ("login", login), ("passcode", passcode))
            peer.error()

    def test_rights_set_on_the_manager_count(self):
        """Before or after the factory is made, and its subclass may decide by itself."""

        class Deny(morbid.MessageQueueManager):
            def test_queue_rights(self, groups, qname, right):
                raise morbid.QueueError("FAILC")

        before, after = morbid.MessageQueueManager(), morbid.MessageQueueManager()
        before.set_queue_rights(lambda groups, queue: set())
        for mqm in (before, after, Deny()):
            self.start(mqm=mqm)
            if mqm is after:
                mqm.set_queue_rights(lambda groups, queue: set())
            self.assertFalse(self.send(self.session(), "/topic/a"))

    def test_inheriting_from_the_defaults(self):
        """A module may change one thing only."""
        text = "from vmcontroller.host.broker import morbid\n"
        text += "class Parms(morbid.Parms):\n"
        text += "    def get_group_access_rights(self):\n"
        text += "        return lambda groups, queue: 'crw' if 'ann' in groups else ''\n"
        self.start(filename=self.file(text))
        self.assertTrue(self.send(self.session("ann"), "/topic/a"))
        self.assertFalse(self.send(self.session("bob"), "/topic/a"))

    def test_a_path_without_py_and_a_neighbour(self):
        """As MorbidQ's `auth` was written; the module may import one beside it."""
        path = self.file(BY_NAME, "morbid_test_neighbour.py")
        beside = os.path.join(os.path.dirname(path), "morbid_test_user.py")
        with open(beside, "w", encoding="utf-8") as file:
            file.write("from morbid_test_neighbour import Parms\n")
        self.start(filename=beside.removesuffix(".py"))
        self.session("usr1", "pwd1")

    def test_mistakes(self):
        """A rights module that cannot be had must not mean that anybody may do anything."""
        for text, naming in (
            ("class Parms(object:\n", "SyntaxError"),
            ("x = 1\n", "AttributeError"),
            ("1/0\n", "ZeroDivisionError"),
            (BY_NAME.replace("test", "pam"), "'pam' is not one of any, test, file"),
            (BY_NAME.replace('"test"', "'file', 'filename': 'absent'"), "'absent' cannot be read"),
        ):
            path = self.file(text)
            error = self.assertRaises(ConfigError, morbid.StompFactory, filename=path)
            self.assertIn(naming, str(error))
        self.assertRaises(ConfigError, morbid.StompFactory, filename="absent")

    def test_a_bounded_number_of_destinations_is_remembered(self):
        """Names made up by clients do not fill the memory; the oldest goes."""
        mqm = morbid.MessageQueueManager()
        mqm.set_queue_rights(lambda groups, queue: "crw")
        for number in range(morbid_rights.MOST_QUEUES + 1):
            self.assertTrue(mqm.allows((), f"/topic/{number}", "w"))
        names = mqm.get_list_of_queues()
        self.assertEqual(len(names), morbid_rights.MOST_QUEUES)
        self.assertNotIn("/topic/0", names)
