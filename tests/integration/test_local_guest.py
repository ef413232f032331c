"""The backend `local`, end to end: daemon, agents and commands are processes of their own."""

from __future__ import annotations

import atexit
import os
import signal
import socket

import psutil
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import Daemon, until
from tests.integration.guest_contract import GuestTests
from tests.integration.work_contract import WorkContract

_running: list[Daemon] = []


def running() -> Daemon:
    """Return one daemon with one started VM for all tests of this module."""
    if not _running:
        daemon = Daemon("local").start()
        atexit.register(daemon.stop)
        daemon.api.createVM("vmctest local", "")
        daemon.api.start("vmctest local")
        daemon.api.ping("vmctest local", 60)
        _running.append(daemon)
    return _running[0]


class LocalGuestTests(GuestTests, WorkContract, SynchronousTestCase):
    """All that a guest must do, on a local VM."""

    def setUp(self) -> None:
        self.daemon = running()
        self.vm = "vmctest local"
        self.scratch = "."


class LocalFaultTests(SynchronousTestCase):
    """What is killed leaves nothing behind that the next one stumbles over."""

    def setUp(self) -> None:
        self.daemon = Daemon("local").start()
        self.addCleanup(self.daemon.stop)
        self.daemon.api.createVM("vmctest", "")
        self.daemon.api.start("vmctest")
        self.daemon.api.ping("vmctest", 60)

    def agent(self) -> psutil.Process:
        return until(self._lone_agent, "one process is the agent")

    def _lone_agent(self) -> psutil.Process | None:
        """Return it, but while a command is between its fork and its exec: that looks alike."""
        mark = str(self.daemon.dir / "state" / "local")
        found = [
            process
            for process in psutil.process_iter(["cmdline"])
            if any(mark in word for word in process.info["cmdline"] or ())
        ]
        return found[0] if len(found) == 1 else None

    def test_agent_killed(self) -> None:
        """A killed agent is an aborted VM; its command is lost, with the reason, and goes too."""
        api = self.daemon.api
        cmd_id = api.runCmd("vmctest", "sleep", ["4711"])
        agent = self.agent()
        until(lambda: agent.children(recursive=True), "the command runs")
        command = agent.children(recursive=True)[0]
        agent.kill()
        result = api.waitCmd(cmd_id, 60)
        self.assertEqual(result["state"], "lost")
        self.assertIn("Aborted", result["error"])
        self.assertEqual(api.getState("vmctest"), "Aborted")
        until(lambda: not command.is_running(), "the command is gone")
        api.start("vmctest")
        api.ping("vmctest", 60)

    def test_daemon_killed(self) -> None:
        """VMs outlive the daemon; the next one finds them running, and their agents come back."""
        agent = self.agent()
        port = next(
            connection.raddr.port for connection in agent.net_connections() if connection.raddr
        )
        self.daemon.kill()
        text = self.daemon.config.read_text().replace(
            "broker: {port: 0}", f"broker: {{port: {port}}}"
        )
        self.daemon.config.write_text(text)
        self.daemon.start()
        self.assertEqual(self.daemon.api.getState("vmctest"), "Running")
        self.assertEqual(self.daemon.api.ping("vmctest", 60), "PONG from vmctest")
        self.assertEqual(self.agent().pid, agent.pid)

    def test_daemon_stopped(self) -> None:
        """SIGTERM ends the daemon in order, with status 0; its VMs run on."""
        agent = self.agent()
        self.assertEqual(self.daemon.terminate(), 0)
        self.assertTrue(agent.is_running())
        self.daemon.start()
        self.daemon.api.powerOff("vmctest")
        until(lambda: not agent.is_running(), "the agent is gone")

    def test_shutdown(self) -> None:
        """A VM that is asked to shut down is off when the call answers, and can be removed."""
        api = self.daemon.api
        api.shutdown("vmctest")
        self.assertEqual(api.getState("vmctest"), "PoweredOff")
        api.removeVM("vmctest")
        self.assertEqual(api.listVMs(), [])

    def test_reset(self) -> None:
        """A reset VM runs with a new agent; what ran in it is lost."""
        api = self.daemon.api
        before = self.agent().pid
        cmd_id = api.runCmd("vmctest", "sleep", ["4711"])
        api.reset("vmctest")
        self.assertEqual(api.ping("vmctest", 60), "PONG from vmctest")
        self.assertNotEqual(self.agent().pid, before)
        self.assertEqual(api.waitCmd(cmd_id, 60)["state"], "lost")

    def test_second_daemon(self) -> None:
        """A second daemon on the same state refuses to start and names the directory."""
        second = Daemon("local")
        self.addCleanup(second.stop)
        text = second.config.read_text().replace(str(second.dir), str(self.daemon.dir))
        second.config.write_text(text)
        error = self.assertRaises(AssertionError, second.start)
        self.assertIn("in use by another vmcontroller-host", str(error))

    def test_pause_is_real(self) -> None:
        """A paused VM's processes are stopped, those of its commands as well."""
        api = self.daemon.api
        api.runCmd("vmctest", "sleep", ["4711"])
        agent = self.agent()
        until(agent.children, "the command runs")
        api.pause("vmctest")
        processes = [agent, *agent.children(recursive=True)]
        self.assertEqual({each.status() for each in processes}, {psutil.STATUS_STOPPED})
        api.powerOff("vmctest")
        until(lambda: not any(each.is_running() for each in processes), "all are gone")

    def test_image_directory(self) -> None:
        """A VM starts from a copy of its image; the image is never touched."""
        image = self.daemon.dir / "image"
        image.mkdir()
        (image / "hello").write_text("from the image")
        api = self.daemon.api
        api.createVM("vmctest2", str(image))
        api.start("vmctest2")
        api.ping("vmctest2", 60)
        result = self.daemon.run("vmctest2", "sh", "-c", "cat hello; rm hello")
        self.assertEqual(result["out"], "from the image")
        self.assertTrue((image / "hello").exists())

    def test_stray_signal(self) -> None:
        """A daemon that is told twice to stop stops once."""
        assert self.daemon.process is not None
        os.kill(self.daemon.process.pid, signal.SIGTERM)
        self.assertEqual(self.daemon.terminate(), 0)

    def test_broker_port_taken(self) -> None:
        """A daemon whose broker can listen nowhere says so and ends."""
        second = Daemon("local")
        self.addCleanup(second.stop)
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            text = second.config.read_text().replace(
                "broker: {port: 0}", f"broker: {{port: {port}}}"
            )
            second.config.write_text(text)
            error = self.assertRaises(AssertionError, second.start)
        self.assertIn(f"broker: port {port}: no address can be listened on", str(error))
