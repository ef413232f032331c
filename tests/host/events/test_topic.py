"""The topic of events at the embedded broker: monitors hear it, and guests have no part in it."""

from __future__ import annotations

import json

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.host.broker.wire import Peer, VmBrokerCase
from vmcontroller.common.config import BrokerConfig, check_broker
from vmcontroller.common.credentials import Credential
from vmcontroller.common.destinations import EVENTS, REQUESTS, RESPONSES
from vmcontroller.common.errors import ConfigError
from vmcontroller.host.broker.factory import StompFactory
from vmcontroller.host.broker.rights import Principal, Role
from vmcontroller.host.broker.vm_rights import VmRights, monitor_of
from vmcontroller.host.events.log import Kind
from vmcontroller.host.events.publishing import event_log_of


class GuestTests(VmBrokerCase):
    def test_not_for_guests(self) -> None:
        """A guest may neither listen to it nor send to it, on either of its connections."""
        for say in ("SUBSCRIBE", "SEND"):
            guest = self.guest(1)
            guest.say(say, ("destination", EVENTS), ("id", "0"))
            self.assertIn("may not", guest.error().header("message"))
        rights = VmRights(lambda *_: None, Credential(login="mon", passcode="itor"))
        for bulk in (False, True):
            guest = Principal(role=Role.GUEST, id="52:54:00:00:00:01", bulk=bulk)
            self.assertFalse(rights.may_subscribe(guest, EVENTS))
            self.assertFalse(rights.may_send(guest, EVENTS))


class MonitorTests(VmBrokerCase):
    def setUp(self) -> None:
        super().setUp()
        config = BrokerConfig(monitor_username="mon", monitor_password="itor")
        rights = VmRights(lambda *_: None, monitor_of(config))
        self.factory = StompFactory(reactor=self.clock, rights=rights)

    def monitor(self) -> Peer:
        return self.session(login="mon", passcode="itor")

    def test_hears(self) -> None:
        """With its login it hears what the host says there, as many at once as there are."""
        monitors = [self.monitor(), self.monitor()]
        for monitor in monitors:
            monitor.subscribe(EVENTS, "e")
        self.host().send(EVENTS, b"{}")
        for monitor in monitors:
            self.assertEqual(monitor.bodies(), [b"{}"])

    def test_nothing_else(self) -> None:
        """It hears nothing else, and says nothing."""
        for say, destination in (
            ("SUBSCRIBE", REQUESTS),
            ("SUBSCRIBE", RESPONSES),
            ("SUBSCRIBE", "/topic/vmcontroller_*"),
            ("SEND", EVENTS),
            ("SEND", RESPONSES),
            ("SEND", REQUESTS),
        ):
            monitor = self.monitor()
            monitor.say(say, ("destination", destination), ("id", "0"))
            self.assertIn("may not", monitor.error().header("message"))

    def test_login(self) -> None:
        """Another passcode is refused; without a login in the configuration there is none."""
        rights = VmRights(lambda *_: None, Credential(login="mon", passcode="itor"))
        for passcode in ("", "it", "ito\xfc", "itor "):
            self.assertIsNone(rights.authenticate("mon", passcode, "127.0.0.1"))
        self.assertIsNone(monitor_of(BrokerConfig()))
        self.assertIsNone(VmRights(lambda *_: None).authenticate("", "", "127.0.0.1"))

    def test_configuration(self) -> None:
        """Half a login is an error, and so is one for a broker that is not ours."""
        for key, config in (
            ("broker.monitor_password", {"monitor_username": "a"}),
            ("broker.monitor_username", {"monitor_password": "a"}),
            (
                "broker.monitor_username",
                {
                    "name": "external",
                    "host": ("mq",),
                    "monitor_username": "a",
                    "monitor_password": "b",
                },
            ),
        ):
            with self.assertRaises(ConfigError) as caught:
                check_broker(BrokerConfig(**config), "host.yaml")
            self.assertEqual(caught.exception.key, key)


class PublishingTests(SynchronousTestCase):
    def told(self, **config) -> list[tuple[str, str]]:
        """Note an event; return where it was sent, and what it was."""
        clock, sent = Clock(), []
        log = event_log_of(BrokerConfig(**config), clock, lambda *message: sent.append(message))
        log.note(Kind.ACTION, "vm", "uuid")
        clock.advance(0)
        return [(where, json.loads(body)["kind"]) for where, body, _ in sent]

    def test_where_it_may_be_heard(self) -> None:
        """Events go to the topic of a broker where somebody may listen, and else nowhere."""
        expected = [(EVENTS, "action")]
        self.assertEqual(self.told(), [])
        self.assertEqual(self.told(monitor_username="a", monitor_password="b"), expected)
        self.assertEqual(self.told(name="external", host=("mq",)), expected)
