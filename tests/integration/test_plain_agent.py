"""An agent that was written from docs/protocol.md alone does its work in a real VM.

It is plain_agent.py: plain Python without Twisted, and nothing of this package.
"""

from __future__ import annotations

import ast
import atexit
import os
import signal
import socket
import subprocess
import sys
import tempfile
import xmlrpc.client
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.attacks.scene import agent_pid, home
from tests.integration.daemon import DEADLINE_S, Daemon, free_port, until

AGENT = Path(__file__).with_name("plain_agent.py")
VM = "vmctest plain"

_running: list[Daemon] = []


def running() -> Daemon:
    """Return a daemon whose one VM has the plain agent instead of its own."""
    if not _running:
        daemon = Daemon("local", broker=f"{{port: {free_port()}}}").start()
        atexit.register(daemon.stop)
        daemon.api.createVM(VM, "")
        daemon.api.start(VM)
        daemon.api.ping(VM, DEADLINE_S)
        os.kill(agent_pid(daemon, VM), signal.SIGSTOP)
        command = [sys.executable, "-I", str(AGENT), str(home(daemon, VM) / "agent.env")]
        agent = subprocess.Popen(command, cwd=tempfile.gettempdir())
        atexit.register(agent.wait)
        atexit.register(agent.kill)
        until(lambda: daemon.api.getGuest(VM).get("version") == "plain", "the plain agent is there")
        _running.append(daemon)
    return _running[0]


class PlainAgentTests(SynchronousTestCase):
    """HELLO, PING and CMD_RUN of another implementation."""

    def setUp(self) -> None:
        self.daemon = running()
        self.api = self.daemon.api

    def test_it_is_plain(self) -> None:
        """At most 100 lines that are not blank, and nothing but the standard library."""
        text = AGENT.read_text()
        self.assertLessEqual(sum(bool(line.strip()) for line in text.splitlines()), 100)
        imported = {
            alias.name
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        self.assertLessEqual(imported, sys.stdlib_module_names)

    def test_hello_and_ping(self) -> None:
        """It is known with what it said of itself, and answers."""
        self.assertEqual(self.api.ping(VM, DEADLINE_S), f"PONG from {VM}")
        guest = self.api.getGuest(VM)
        self.assertTrue(guest["connected"])
        self.assertEqual((guest["os"], guest["version"]), (sys.platform, "plain"))
        self.assertEqual((guest["protocol"], guest["capabilities"]), (1, []))
        self.assertGreaterEqual(guest["latency"], 0)

    def test_a_megabyte_of_any_octets(self) -> None:
        """1 MB of binary output, stdin, environment, directory and exit code."""
        data = os.urandom(900_000)
        script = 'cat; head -c 100000 /dev/zero; printf "$WORD" >&2; pwd >&2; exit 3'
        options = {"stdin": xmlrpc.client.Binary(data), "timeout": 60}
        cmd_id = self.api.runCmd(VM, "sh", ["-c", script], {"WORD": "ü"}, "/", "", options)
        result = self.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual((result["finished"], result["exitCodeOrSignal"]), (True, 3))
        self.assertEqual(self.daemon.output(cmd_id, "stdout"), data + bytes(100_000))
        self.assertEqual(self.daemon.output(cmd_id, "stderr"), "ü/\n".encode())

    def test_other_ends(self) -> None:
        """No such program, death by a signal, the time limit, many at once."""
        result = self.daemon.run(VM, "no-such-program")
        self.assertEqual((result["exitCodeOrSignal"], result["finished"]), (127, True))
        self.assertIn("COMMAND_NOT_FOUND", result["error"])
        result = self.daemon.run(VM, "sh", "-c", "kill -9 $$")
        self.assertEqual((result["exitCodeOrSignal"], result["finished"]), (9, False))
        self.assertFalse(self.daemon.run(VM, "sleep", "1000", timeout=1)["finished"])
        ids = [self.api.runCmd(VM, "echo", [str(number)]) for number in range(20)]
        for number, cmd_id in enumerate(ids):
            self.assertEqual(self.api.waitCmd(cmd_id, DEADLINE_S)["out"], f"{number}\n")

    def test_copies_are_refused(self) -> None:
        """A copy ends at once with a Fault: the agent has said AINT."""
        source = self.daemon.exchange / "x"
        source.write_bytes(b"x")
        for call, arguments in (
            (self.api.cpFileToVM, (VM, str(source), "x")),
            (self.api.cpFileFromVM, (VM, "/etc/passwd", "y")),
        ):
            with self.assertRaises(xmlrpc.client.Fault) as caught:
                call(*arguments)
            self.assertIn("TRANSFER_FAILED: PROTOCOL: not understood", caught.exception.faultString)
        self.assertFalse((self.daemon.exchange / "y").exists())

    def test_the_daemon_comes_back(self) -> None:
        """It logs in again after a restart of the daemon; a result meanwhile is not lost to it."""
        self.daemon.terminate()
        self.daemon.start()
        self.api = self.daemon.api
        self.assertEqual(self.api.ping(VM, DEADLINE_S), f"PONG from {VM}")
        self.assertEqual(self.daemon.run(VM, "hostname")["out"].strip(), socket.gethostname())
