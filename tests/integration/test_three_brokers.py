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
from tests.integration.brokers import GUEST, HOST, RabbitMq, shared
from tests.integration.daemon import Daemon, free_port, until

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

    def test_host_over_tls(self) -> None:
        """The daemon reaches it over TLS, too, once it trusts the certificate, and not before."""
        recipe = self.broker.recipe
        assert isinstance(recipe, RabbitMq)
        good = self.daemon.config.read_text()
        over_tls = good.replace(f"port: {self.broker.port}", f"port: {recipe.tls_port}, tls: true")
        self.daemon.terminate()
        self.daemon.config.write_text(over_tls)
        self.daemon.start()
        until(lambda: "certificate verify failed" in self.daemon.log.read_text(), "no trust")
        self.daemon.terminate()
        trust = f"tls: true, tls_ca: {self.broker.home}/rabbitmq.crt"
        self.daemon.config.write_text(over_tls.replace("tls: true", trust))
        self.daemon.start()
        self.both_answer()
        self.daemon.terminate()
        self.daemon.config.write_text(good)
        self.daemon.start()
        self.both_answer()


class ActiveMqTests(ExternalCase, SynchronousTestCase):
    name = "activemq"


class OwnBrokerTests(ExternalCase, SynchronousTestCase):
    name = "own"
