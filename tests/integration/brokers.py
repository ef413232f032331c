"""RabbitMQ, ActiveMQ and our own broker as processes on loopback, for integration tests.

Each has a directory, a port and a configuration of its own and leaves nothing behind. The first
two are Debian's packages (rabbitmq-server; activemq with openjdk-17-jre-headless).
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Protocol, Self

from tests.integration.certificates import certificate
from tests.integration.daemon import free_port, until
from tests.integration.raw_stomp import RawStomp

HOST = ("host", "host's password")
GUEST = ("guest-agents", "guests-password")
"""Login and passcode of the daemon and of its guests, on each of them. Guests may say nothing but
to the host, and hear nothing but the host."""


class Recipe(Protocol):
    """How one kind of broker is started."""

    name: str

    def prepare(self, home: Path, port: int) -> None:
        """Write the configuration."""
        ...

    def command(self, home: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """Return what to run, and what to add to its environment."""
        ...

    def stopped(self) -> None:
        """Clear away what does not end with the broker."""
        ...


class Broker:
    """One broker. `start` and `kill` as often as one likes; `stop` leaves nothing behind."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.name = recipe.name
        self.port = free_port()
        self.home = Path(tempfile.mkdtemp(prefix=f"vmcontroller-{recipe.name}-"))
        self.log = self.home / "console.log"
        self.process: subprocess.Popen[bytes] | None = None
        recipe.prepare(self.home, self.port)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> Broker:
        """Start it, and return when it lets the host in."""
        command, more = self.recipe.command(self.home, self.port)
        environment = {**os.environ, "HOME": str(self.home), **more}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._answers, f"{self.name} answers; its log: {self.log}")
        return self

    def client(self, login: str = HOST[0], passcode: str = HOST[1]) -> RawStomp:
        """Return a new session with it."""
        return RawStomp(self.port, login=login, passcode=passcode)

    def kill(self) -> None:
        """Kill it as a crash would."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """End it, and remove its directory."""
        if self.process is not None:
            self.kill()
        self.recipe.stopped()
        shutil.rmtree(self.home, ignore_errors=True)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended:\n{self.log.read_text()}")
        try:
            self.client().close()
        except (OSError, AssertionError):
            return False
        return True


class RabbitMq:
    """RabbitMQ with its STOMP plugin, and with an epmd of its own."""

    name = "rabbitmq"

    def __init__(self) -> None:
        self._epmd: subprocess.Popen[bytes] | None = None
        self._epmd_port = free_port()
        self.tls_port = free_port()

    def prepare(self, home: Path, port: int) -> None:
        """Write the configuration; users are imported at the start, from definitions."""
        chain, key = certificate(home, "rabbitmq", "127.0.0.1")
        (home / "rabbitmq.conf").write_text(
            "listeners.tcp = none\n"
            f"stomp.listeners.ssl.1 = 127.0.0.1:{self.tls_port}\n"
            f"ssl_options.cacertfile = {chain}\nssl_options.certfile = {chain}\n"
            f"ssl_options.keyfile = {key}\nssl_options.verify = verify_none\n"
            "ssl_options.fail_if_no_peer_cert = false\n"
            f"stomp.listeners.tcp.1 = 127.0.0.1:{port}\n"
            "log.console.level = warning\nlog.file = false\n"
            f"load_definitions = {home}/definitions.json\n"
        )
        host, guest = ({"user": name, "vhost": "/"} for name, _ in USERS)
        own_queues = r"^stomp-subscription-.*"
        definitions = {
            "vhosts": [{"name": "/"}],
            "users": [{"name": name, "password": word, "tags": ""} for name, word in USERS],
            "permissions": [
                {**host, "configure": ".*", "write": ".*", "read": ".*"},
                {
                    **guest,
                    "configure": own_queues,
                    "write": rf"{own_queues}|^amq\.topic$",
                    "read": rf"{own_queues}|^amq\.topic$",
                },
            ],
            "topic_permissions": [
                {
                    **guest,
                    "exchange": "amq.topic",
                    "write": "^vmcontroller_(connections|responses)$",
                    "read": r"^vmcontroller_(requests|(requests|bulk)\.[0-9a-f]{12})$",
                }
            ],
        }
        (home / "definitions.json").write_text(json.dumps(definitions))
        (home / "enabled_plugins").write_text("[rabbitmq_stomp].\n")
        (home / "env.conf").write_text("")

    def command(self, home: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """Start epmd where it does not run; return the server's command."""
        if self._epmd is None:
            self._epmd = subprocess.Popen(
                ["epmd", "-address", "127.0.0.1", "-port", str(self._epmd_port)],
                stdin=subprocess.DEVNULL,
            )
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"], {
            "RABBITMQ_NODENAME": f"vmcontroller{port}@localhost",
            "RABBITMQ_CONFIG_FILE": f"{home}/rabbitmq.conf",
            "RABBITMQ_CONF_ENV_FILE": f"{home}/env.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{home}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{home}/mnesia",
            "RABBITMQ_LOG_BASE": f"{home}/log",
            "RABBITMQ_PID_FILE": f"{home}/pid",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}"
            " +sbwt none",
            # Without a shell script between us and the server, which would stay behind unreaped.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_SERVER_START_ARGS": "-noinput",
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
        }

    def stopped(self) -> None:
        """End the epmd."""
        if self._epmd is not None:
            self._epmd.kill()
            self._epmd.wait()
            self._epmd = None


class ActiveMq:
    """ActiveMQ with its STOMP connector, and nothing else."""

    name = "activemq"

    def prepare(self, home: Path, port: int) -> None:
        """Write the configuration."""
        for name in ("conf", "data", "tmp"):
            (home / name).mkdir()
        users = "".join(
            f'<authenticationUser username="{name}" password="{word}" groups="{group}"/>'
            for group, (name, word) in zip(("hosts", "guests"), USERS, strict=True)
        )
        entries = "".join(
            f'<authorizationEntry topic="{topic}" read="{read}" write="{write}" admin="{admin}"/>'
            for topic, read, write, admin in (
                (">", "hosts", "hosts", "hosts"),
                ("vmcontroller_requests.>", "hosts,guests", "hosts", "hosts,guests"),
                ("vmcontroller_bulk.>", "hosts,guests", "hosts", "hosts,guests"),
                ("vmcontroller_connections", "hosts", "hosts,guests", "hosts,guests"),
                ("vmcontroller_responses", "hosts", "hosts,guests", "hosts,guests"),
                ("ActiveMQ.Advisory.>", "hosts,guests", "hosts,guests", "hosts,guests"),
            )
        )
        (home / "conf" / "activemq.xml").write_text(
            '<beans xmlns="http://www.springframework.org/schema/beans"'
            ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="'
            "http://www.springframework.org/schema/beans"
            " http://www.springframework.org/schema/beans/spring-beans-2.0.xsd"
            " http://activemq.apache.org/schema/core"
            ' http://activemq.apache.org/schema/core/activemq-core.xsd">'
            '<broker xmlns="http://activemq.apache.org/schema/core" brokerName="vmcontroller"'
            f' useJmx="false" persistent="false" dataDirectory="{home}/data">'
            '<plugins><simpleAuthenticationPlugin anonymousAccessAllowed="false">'
            f"<users>{users}</users></simpleAuthenticationPlugin>"
            "<authorizationPlugin><map><authorizationMap><authorizationEntries>"
            f'<authorizationEntry queue=">" read="hosts" write="hosts" admin="hosts"/>{entries}'
            "</authorizationEntries></authorizationMap></map></authorizationPlugin></plugins>"
            "<transportConnectors>"
            f'<transportConnector name="stomp" uri="stomp://127.0.0.1:{port}"/>'
            "</transportConnectors></broker></beans>"
        )

    def command(self, home: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """Return Java's command, which Debian's own start script would make up, too."""
        return [
            *("java", "-Xms64m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"),
            *("-Djava.awt.headless=true", f"-Djava.io.tmpdir={home}/tmp"),
            *(f"-Dactivemq.classpath={home}/conf;", "-Dactivemq.home=/usr/share/activemq"),
            *(f"-Dactivemq.base={home}", f"-Dactivemq.conf={home}/conf"),
            *(f"-Dactivemq.data={home}/data", "-jar", "/usr/share/activemq/bin/activemq.jar"),
            *("start", f"xbean:file:{home}/conf/activemq.xml"),
        ], {}

    def stopped(self) -> None:
        """Nothing outlasts it."""


class OwnBroker:
    """The embedded broker without the daemon around it, as somebody else would embed it."""

    name = "own"

    def prepare(self, home: Path, port: int) -> None:
        """It has no configuration."""

    def command(self, home: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """Return the command; see own_broker.py."""
        repo = str(Path(__file__).resolve().parents[2])
        return [sys.executable, "-m", "tests.integration.own_broker", str(port)], {
            "PYTHONPATH": os.pathsep.join([repo, os.environ.get("PYTHONPATH", "")]).rstrip(":")
        }

    def stopped(self) -> None:
        """Nothing outlasts it."""


USERS = (HOST, GUEST)
KINDS: dict[str, type[RabbitMq | ActiveMq | OwnBroker]] = {
    kind.name: kind for kind in (RabbitMq, ActiveMq, OwnBroker)
}
_shared: dict[str, Broker] = {}


def shared(name: str) -> Broker:
    """Return the one broker of this kind of this test process, started; it is stopped at exit."""
    if name not in _shared:
        broker = Broker(KINDS[name]())
        atexit.register(broker.stop)
        _shared[name] = broker.start()
    return _shared[name]
