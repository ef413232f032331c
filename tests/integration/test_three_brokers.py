"""The same scenarios on the embedded broker, on RabbitMQ and on ActiveMQ.

And on our broker outside of the daemon: what embeds it elsewhere is an external broker, too.
"""

from __future__ import annotations

import atexit

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.broker_scenarios import (
    BrokerScenarios,
    ExternalScenarios,
    external,
    started,
)
from tests.integration.brokers import GUEST, HOST, free_port, shared
from tests.integration.daemon import Daemon

_daemons: dict[str, Daemon] = {}


def running(name: str) -> Daemon:
    """Return the one daemon for all tests on this broker, as guests' words are the host's."""
    if name not in _daemons:
        if name == "embedded":
            section = f"broker: {{port: {free_port()}}}"
        else:
            section = external(shared(name), HOST, GUEST)
        _daemons[name] = started(section)
        atexit.register(_daemons[name].stop)
    daemon = _daemons[name]
    if daemon.process is None or daemon.process.poll() is not None:
        daemon.start()  # after a test that failed with the daemon down
    return daemon


class EmbeddedTests(BrokerScenarios, SynchronousTestCase):
    def setUp(self) -> None:
        self.daemon = running("embedded")


class ExternalCase(ExternalScenarios):
    name: str

    def setUp(self) -> None:
        self.broker = shared(self.name)
        self.daemon = running(self.name)


class RabbitMqTests(ExternalCase, SynchronousTestCase):
    name = "rabbitmq"


class ActiveMqTests(ExternalCase, SynchronousTestCase):
    name = "activemq"


class OwnBrokerTests(ExternalCase, SynchronousTestCase):
    name = "own"
