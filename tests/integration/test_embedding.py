"""The broker by itself, as docs/broker.md shows it: the page's own code, run, and its tables."""

from __future__ import annotations

import ast
import dataclasses
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import stomp
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.broker.limits import BrokerLimits

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "broker.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
DEADLINE_S = 30


class Inbox(stomp.ConnectionListener):
    """Keeps the messages that came."""

    def __init__(self):
        self.bodies = []

    def on_message(self, frame):
        self.bodies.append(frame.body)


class Listening:
    """A program of the page in a process of its own, on a free port; a context manager."""

    def __init__(self, code):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        assert code.count("61613") == 1
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code.replace("61613", str(self.port))], cwd=ROOT
        )

    def __enter__(self):
        until = time.monotonic() + DEADLINE_S
        while True:
            assert self.process.poll() is None, "the program has ended"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except ConnectionRefusedError:
                assert time.monotonic() < until, "nobody listens"
                time.sleep(0.02)
            else:
                return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(DEADLINE_S)

    def client(self, kind):
        """Return a connected client of stomp.py, and where its messages go."""
        connection = kind([("127.0.0.1", self.port)])
        inbox = Inbox()
        connection.set_listener("", inbox)
        connection.connect(wait=True)
        return connection, inbox


def until(condition):
    """Wait for something that another thread or process brings about."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class PageTests(SynchronousTestCase):
    def serve(self, code):
        """Run a program of the page; use it with clients of each version that stomp.py has."""
        with Listening(code) as broker:
            for kind in (stomp.Connection10, stomp.Connection11, stomp.Connection12):
                sender, _ = broker.client(kind)
                one, inbox = broker.client(kind)
                sender.send("/queue/jobs", "kept")
                one.subscribe("/queue/jobs", "1")
                until(lambda inbox=inbox: inbox.bodies)
                self.assertEqual(inbox.bodies, ["kept"])
                sender.begin("t")
                sender.send("/queue/jobs", "held", transaction="t")
                sender.commit("t")
                until(lambda inbox=inbox: len(inbox.bodies) == 2)
                for connection in (one, sender):
                    connection.disconnect()

    def test_five_lines(self):
        """Run as they stand they are a broker; they are five."""
        [code] = [block for block in BLOCKS if "broker.factory" in block]
        self.assertEqual(len([line for line in code.splitlines() if line]), 5)
        self.serve(code)

    def test_only_the_import_changes(self):
        """MorbidQ's own line is a broker, with the reactor of the process."""
        [code] = [block for block in BLOCKS if "import morbid" in block]
        self.assertIn("reactor.listenTCP(61613, morbid.StompFactory(verbose=True), ", code)
        self.serve(code)

    def test_rights(self):
        """The page's example is code that does what it says."""
        [code] = [block for block in BLOCKS if "class OneUser" in block]
        names = {}
        exec(compile(code, "docs/broker.md", "exec"), names)
        rights = names["OneUser"]()
        self.assertIsNone(rights.authenticate("worker", "wrong", "x"))
        principal = rights.authenticate("worker", "a secret", "x")
        self.assertTrue(rights.may_send(principal, "/queue/a"))
        self.assertFalse(rights.may_send(principal, "/topic/a"))

    def test_each_block_was_tested(self):
        """A block that is added needs a test."""
        self.assertEqual(len(BLOCKS), 3)
        for block in BLOCKS:
            ast.parse(block)

    def test_limits(self):
        """The table has each limit in order, with the default that it has."""
        rows = re.findall(r"^\| `([a-z_.]+)` \| (.*?) \|", PAGE, re.MULTILINE)
        expected = list(written(BrokerLimits()))
        self.assertEqual([row for row in rows if row[0] in dict(expected)], expected)


def written(limits, prefix=""):
    """Yield names and values of limits as the page writes them, those of a part with its name."""
    for each in dataclasses.fields(limits):
        value = getattr(limits, each.name)
        if dataclasses.is_dataclass(value):
            yield from written(value, f"{each.name}.")
        else:
            yield prefix + each.name, with_unit(each.name, value)


def with_unit(name, value):
    if "bytes" in name:
        mib, rest = divmod(int(value), 1 << 20)
        return f"{int(value) >> 10} KiB" if rest else f"{mib} MiB"
    return f"{value:g} s" if re.search("(?<!per)_s$", name) else f"{value:g}"


class AloneTests(SynchronousTestCase):
    def imported(self, module):
        code = f"import {module}, sys; print(*sorted(sys.modules))"
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        )
        return set(done.stdout.split())

    def test_nothing_else_is_pulled_in(self):
        """Neither the daemon, nor what only it needs, nor a reactor, which the program chooses."""
        for module in ("factory", "service", "morbid"):
            names = self.imported(f"vmcontroller.host.broker.{module}")
            ours = {name for name in names if name.startswith("vmcontroller.")}
            strange = {
                name
                for name in ours
                if not name.startswith(("vmcontroller.host.broker", "vmcontroller.common"))
            }
            self.assertEqual(strange, {"vmcontroller.host"})
            for absent in ("libvirt", "yaml", "click", "psutil", "netifaces"):
                self.assertNotIn(absent, names)
            self.assertNotIn("twisted.internet.reactor", names)
