"""How many connections are accepted before anything else has its turn."""

from __future__ import annotations

from twisted.internet.protocol import ServerFactory
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.broker.listeners import accept_few_at_once


class GreedyPort(Port):
    """Notes how many it would accept, and then wants more, as Twisted's does."""

    def __init__(self):
        super().__init__(0, ServerFactory(), reactor=MemoryReactorClock())
        self.numberAccepts = 100
        self.accepted = []

    def doRead(self):
        self.accepted.append(self.numberAccepts)
        self.numberAccepts += 20


class AcceptTests(SynchronousTestCase):
    """What a reactor calls when somebody comes."""

    def test_few_at_once(self):
        """However many wait, and again and again."""
        port = GreedyPort()
        accept_few_at_once(port)
        for _ in range(3):
            port.doRead()
        self.assertEqual(port.accepted, [1, 1, 1])

    def test_what_is_no_port_of_twisted(self):
        """It is left as it is."""
        accept_few_at_once(object())
