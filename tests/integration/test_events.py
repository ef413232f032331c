"""Events of a real daemon: all that happen come, to many at once, and what is missed is said."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
from twisted.trial.unittest import SynchronousTestCase

from tests.integration.attacks.scene import agent_pid, credential, port_of
from tests.integration.broker_scenarios import external
from tests.integration.brokers import GUEST, HOST, shared
from tests.integration.daemon import DEADLINE_S, Daemon, until
from tests.integration.raw_stomp import RawStomp
from vmcontroller.common.destinations import EVENTS, REQUESTS

VM = "vmctest b events"
WAITERS = 300
MANY_CALLS = f"max_calls_per_client: {2 * WAITERS}"
MONITOR = "{port: 0, monitor_username: watcher, monitor_password: of-this-host}"


class Follower:
    """Follows a daemon's events as a client does: from answer to answer."""

    def __init__(self, daemon: Daemon, **wanted: list[str]) -> None:
        self.api = daemon.api
        self.wanted = wanted
        self.next = self.api.waitEvents(-1, 0)["next"]

    def until(self, kind: str, vm: str = VM) -> dict[str, Any]:
        """Return the next event of this kind about this VM; others are passed over."""
        while True:
            answer = self.api.waitEvents(self.next, DEADLINE_S, self.wanted)
            assert answer["events"], f"no {kind} of {vm!r} came"
            assert not answer["lost"]
            for event in answer["events"]:
                if (event["kind"], event["vm"]) == (kind, vm):
                    self.next = event["number"] + 1
                    return event


class EventsCase(SynchronousTestCase):
    config = "guests: {gc_grace: 10}\n"
    broker = "{port: 0}"

    def setUp(self) -> None:
        self.daemon = Daemon("local", config=self.config, broker=self.broker).start()
        self.addCleanup(self.daemon.stop)
        self.api = self.daemon.api

    def vm(self) -> None:
        """Let there be a VM with an agent."""
        self.api.createVM(VM, "")
        self.api.start(VM)
        self.api.ping(VM, DEADLINE_S)


class KindsTests(EventsCase):
    def test_life_of_a_vm(self) -> None:
        """A VM that comes, starts, is paused, powered off and removed tells all of it in order."""
        events = Follower(self.daemon)
        self.vm()
        uuid = self.api.getGuest(VM)["uuid"]
        self.assertEqual(events.until("vm-added")["detail"], {"state": "PoweredOff"})
        started = events.until("vm-state")
        self.assertEqual(started["detail"], {"state": "Running", "before": "PoweredOff"})
        self.assertEqual(started["uuid"], uuid)
        up = events.until("agent-up")
        self.assertEqual(up["detail"]["guest"], self.api.getGuest(VM)["id"])
        self.api.pause(VM)
        self.assertEqual(events.until("vm-state")["detail"]["state"], "Paused")
        self.api.resume(VM)
        self.assertEqual(events.until("vm-state")["detail"]["before"], "Paused")
        self.api.powerOff(VM)
        self.assertEqual(events.until("vm-state")["detail"]["state"], "PoweredOff")
        self.assertIn("PoweredOff", events.until("agent-gone")["detail"]["reason"])
        self.api.removeVM(VM)
        self.assertEqual(events.until("vm-removed")["uuid"], uuid)

    def test_killed_agent(self) -> None:
        """An agent that is killed, and a command that dies with it, are told at once."""
        self.vm()
        cmd_id = self.api.runCmd(VM, "sleep", ["1000"])
        until(lambda: self.api.getCmdDetails(cmd_id)["state"] == "running", "it runs")
        events = Follower(self.daemon)
        os.kill(agent_pid(self.daemon, VM), signal.SIGKILL)
        self.assertEqual(events.until("vm-state")["detail"]["state"], "Aborted")
        self.assertIn("Aborted", events.until("agent-gone")["detail"]["reason"])
        lost = {"cmdId": cmd_id, "state": "lost", "exitCodeOrSignal": -1}
        self.assertEqual(events.until("command-ended")["detail"], lost)

    def test_silent_agent(self) -> None:
        """An agent that says nothing any more is gone after the grace, and up when it is back."""
        self.vm()
        events = Follower(self.daemon, kinds=["agent-*"])
        pid = agent_pid(self.daemon, VM)
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        self.assertIn("unheard", events.until("agent-gone")["detail"]["reason"])
        os.kill(pid, signal.SIGCONT)
        events.until("agent-up")

    def test_commands(self) -> None:
        """A command's end is told with how it ended, by itself or by a signal."""
        self.vm()
        events = Follower(self.daemon)
        for script, expected in (("exit 7", 7), ("kill -9 $$", 9)):
            cmd_id = self.api.runCmd(VM, "sh", ["-c", script])
            detail = events.until("command-ended")["detail"]
            ended = {"cmdId": cmd_id, "state": "ended", "exitCodeOrSignal": expected}
            self.assertEqual(detail, ended)
            self.assertEqual(self.api.getCmdResults(cmd_id)["exitCodeOrSignal"], expected)

    def test_copies(self) -> None:
        """A copy's end is told, whether it came whole or not."""
        self.vm()
        events = Follower(self.daemon, vms=["vmctest b*"])
        (self.daemon.exchange / "in").write_bytes(b"x" * 100_000)
        self.api.cpFileToVM(VM, "in", "copied")
        detail = events.until("transfer-ended")["detail"]
        self.assertEqual((detail["state"], detail["bytes"]), ("done", 100_000))
        self.assertEqual(self.api.getTransfer(detail["id"])["state"], "done")
        with self.assertRaises(Exception):  # noqa: B017 - a Fault; which, others test
            self.api.cpFileFromVM(VM, "is not there", "out")
        self.assertEqual(events.until("transfer-ended")["detail"]["state"], "failed")

    def test_tasks(self) -> None:
        """A task's end is told, with its VM."""
        self.vm()
        events = Follower(self.daemon)
        task_id = self.api.submit("powerOff", [VM])
        detail = events.until("task-ended")["detail"]
        self.assertEqual(detail, {"id": task_id, "method": "powerOff", "state": "done"})


class ReadersTests(EventsCase):
    def connections(self) -> int:
        """Return how many connections to the API's port the daemon has."""
        port = int(self.daemon.url.rpartition(":")[2].partition("/")[0])
        assert self.daemon.process is not None
        found = psutil.Process(self.daemon.process.pid).net_connections("tcp")
        return sum(each.laddr.port == port and each.status == "ESTABLISHED" for each in found)

    def test_hundreds_at_once(self) -> None:
        """Hundreds who wait hold nobody up, and each is told at once, with the same."""
        text = self.daemon.config.read_text()
        self.daemon.terminate()
        self.daemon.config.write_text(text.replace("xmlrpc: {", f"xmlrpc: {{{MANY_CALLS}, "))
        self.api = self.daemon.start().api
        since = self.api.waitEvents(-1, 0)["next"]
        ready = threading.Barrier(WAITERS + 1)

        def wait(_number: int) -> Any:
            with self.daemon.new_client() as api:
                ready.wait(DEADLINE_S)
                return api.waitEvents(since, DEADLINE_S, {"kinds": ["vm-added"], "vms": [VM]})

        with ThreadPoolExecutor(WAITERS) as threads:
            waiting = threads.map(wait, range(WAITERS))
            ready.wait(DEADLINE_S)
            until(lambda: self.connections() > WAITERS, "all are connected")
            time.sleep(1)  # and have asked
            self.assertEqual(self.api.listVMs(), [])
            self.api.createVM(VM, "")
            answers = list(waiting)
        self.assertEqual(len(answers), WAITERS)
        for answer in answers:
            self.assertEqual(answer, answers[0])
        self.assertEqual([event["vm"] for event in answers[0]["events"]], [VM])

    def test_restart(self) -> None:
        """Who asks another daemon than the one before is told that events are lost."""
        before = self.api.waitEvents(-1, 0)
        self.daemon.terminate()
        self.daemon.start()
        self.api = self.daemon.api
        answer = self.api.waitEvents(before["next"], 0)
        self.assertTrue(answer["lost"])
        self.assertEqual([event["kind"] for event in answer["events"]], ["daemon-started"])
        self.assertGreater(answer["next"], before["next"])
        self.assertFalse(self.api.waitEvents(answer["next"], 0)["lost"])

    def test_end_of_the_daemon(self) -> None:
        """Who waits while the daemon stops is answered, with a Fault that says so."""
        with ThreadPoolExecutor() as threads, self.daemon.new_client() as api:
            api.listVMs()  # its connection is kept, and held by no listening port
            waiting = threads.submit(api.waitEvents, -1, DEADLINE_S)
            time.sleep(1)
            self.assertEqual(self.daemon.terminate(), 0)
            error = waiting.exception(DEADLINE_S)
        self.assertIn("NOT_CONNECTED", str(error))


class SlowReaderTests(EventsCase):
    def test_lost(self) -> None:
        """Who reads too slowly is told that events are lost, and has those that are kept."""
        since = self.api.waitEvents(-1, 0)["next"]
        one = {"methodName": "submit", "params": ["version", []]}
        for _ in range(11):  # each is a task-ended
            self.api.system.multicall([one] * 1000)
        answer = self.api.waitEvents(since)
        self.assertTrue(answer["lost"])
        numbers = [event["number"] for event in answer["events"]]
        self.assertEqual(numbers, sorted(numbers))
        self.assertGreater(numbers[0], since)
        read = len(numbers)
        while numbers:
            answer = self.api.waitEvents(answer["next"], 0)
            self.assertFalse(answer["lost"])
            numbers = [event["number"] for event in answer["events"]]
            read += len(numbers)
        self.assertEqual(read, 10_000)


class ExternalTopic:
    """The topic at a broker that is somebody else's; a mixin."""

    name: str

    def setUp(self) -> None:
        self.broker = shared(self.name)
        self.daemon = Daemon("local")
        section = external(self.broker, HOST, GUEST)
        text = self.daemon.config.read_text().replace("broker: {port: 0}", section)
        self.daemon.config.write_text(text)
        self.addCleanup(self.daemon.stop)

    def test_heard(self) -> None:
        """Whoever the broker lets listen hears each event, the same as waitEvents tells."""
        with self.broker.client() as monitor:
            monitor.subscribe(EVENTS, own_id="e")
            monitor.subscribe(REQUESTS, own_id="r")
            api = self.daemon.start().api
            while monitor.hear("MESSAGE").header("destination") != REQUESTS:
                pass  # with its session it greets all guests
            api.createVM(VM, "")
            since, told = 0.0, {"kind": ""}
            while told["kind"] != "vm-added":
                told = json.loads(monitor.hear("MESSAGE").body)
                since = float(told["number"])  # beyond the 32 bits of an int
        self.assertEqual(told["vm"], VM)
        self.assertEqual(told.pop("host"), os.uname().nodename)
        self.assertEqual([told], api.waitEvents(since, DEADLINE_S)["events"])

    def test_guests_are_refused(self) -> None:
        """With the permissions of our docs a guest can neither hear it nor speak there."""
        self.daemon.start()
        for command in ("SUBSCRIBE", "SEND"):
            with self.broker.client(*GUEST) as guest:
                headers = (("destination", EVENTS), ("id", "1"), ("receipt", "done"))
                guest.say(command, *headers)
                answer = guest.next_frame(DEADLINE_S)
            self.assertEqual("ERROR", answer and answer.command, answer)


class OwnBrokerTopicTests(ExternalTopic, SynchronousTestCase):
    name = "own"


class RabbitMqTopicTests(ExternalTopic, SynchronousTestCase):
    name = "rabbitmq"


class ActiveMqTopicTests(ExternalTopic, SynchronousTestCase):
    name = "activemq"


class TopicTests(EventsCase):
    broker = MONITOR

    def test_monitor(self) -> None:
        """A monitor with its login hears each event as JSON, the same as waitEvents tells."""
        since = self.api.waitEvents(-1, 0)["next"]
        self.vm()
        with RawStomp(
            port_of(self.daemon, VM), login="watcher", passcode="of-this-host"
        ) as monitor:
            monitor.subscribe(EVENTS)
            since = self.api.waitEvents(-1, 0)["next"]
            self.api.pause(VM)
            self.api.resume(VM)
            told = [json.loads(monitor.hear("MESSAGE").body) for _ in range(2)]
        self.assertEqual({event.pop("host") for event in told}, {os.uname().nodename})
        self.assertEqual(told, self.api.waitEvents(since, DEADLINE_S)["events"])

    def test_guests_are_refused(self) -> None:
        """A guest with its true credential is refused the topic, to hear and to say."""
        self.vm()
        os.kill(agent_pid(self.daemon, VM), signal.SIGSTOP)  # somebody else speaks for it
        login, passcode = credential(self.daemon, VM)
        for command in ("SUBSCRIBE", "SEND"):
            with RawStomp(port_of(self.daemon, VM), login=login, passcode=passcode) as guest:
                guest.say(command, ("destination", EVENTS), ("id", "1"), ("receipt", "r"))
                error = guest.hear("ERROR")
            self.assertIn("may not", error.header("message"))
