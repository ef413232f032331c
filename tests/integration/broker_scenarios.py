"""What host and guests do with each other through a broker, whichever it is: mixins.

They run on one daemon, with two started VMs of the backend `local`, which each test leaves
running and connected.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import threading
import time
import xmlrpc.client
from pathlib import Path

import psutil

from tests.integration.brokers import GUEST, Broker
from tests.integration.daemon import Daemon, until
from vmcontroller.common.destinations import CONNECTIONS, REQUESTS, RESPONSES, requests_of
from vmcontroller.common.model import guest_id

ONE, TWO = "vmctest one", "vmctest two"


class BrokerScenarios:
    """On any broker."""

    daemon: Daemon

    def both_answer(self) -> None:
        """Ping both VMs, however long the daemon and their agents need to come back."""
        until(self._is_connected, "the daemon has a session with the broker")
        for vm in (ONE, TWO):
            self.assertEqual(self.daemon.api.ping(vm, 60), f"PONG from {vm}")

    def _is_connected(self) -> bool:
        try:
            self.daemon.api.ping(ONE, 1)
        except xmlrpc.client.Fault as fault:
            return not fault.faultString.startswith("NOT_CONNECTED: ")
        return True

    def home(self, vm: str) -> Path:
        """Return a VM's directory."""
        for home in (self.daemon.dir / "state" / "local").iterdir():
            if json.loads((home / "vm.json").read_text())["name"] == vm:
                return home
        raise AssertionError(vm)

    def agent(self, vm: str) -> psutil.Process:
        """Return a VM's agent."""
        return psutil.Process(json.loads((self.home(vm) / "agent.json").read_text())["pid"])

    def restart_daemon(self) -> None:
        """Kill it as a crash would, and start it again."""
        self.daemon.kill()
        self.daemon.start()

    def test_hello_and_ping(self) -> None:
        """Both have said HELLO, and answer."""
        self.both_answer()
        guests = self.daemon.api.listGuests()
        self.assertEqual({name: guests[name]["connected"] for name in guests}, {ONE: 1, TWO: 1})
        self.assertNotEqual(guests[ONE]["id"], guests[TWO]["id"])

    def test_result(self) -> None:
        """Both streams, the exit code and the resources come back."""
        result = self.daemon.run(ONE, "sh", "-c", "echo out; echo err >&2; exit 3")
        self.assertEqual((result["out"], result["err"]), ("out\n", "err\n"))
        self.assertEqual((result["finished"], result["exitCodeOrSignal"]), (True, 3))
        self.assertEqual(len(result["resources"]), 16)

    def test_ten_megabytes(self) -> None:
        """10 MB of output, of all octets and with no pattern in it, come back to the byte."""
        script = "import random, sys; sys.stdout.buffer.write(random.Random(7).randbytes(10**7))"
        api = self.daemon.api
        cmd_id = api.runCmd(ONE, "python3", ["-c", script])
        self.assertFalse(api.waitCmd(cmd_id, 120)["truncated"])
        data = self.daemon.output(cmd_id, "stdout")
        self.assertEqual(len(data), 10**7)
        self.assertTrue(data == random.Random(7).randbytes(10**7))
        api.forgetCmd(cmd_id)

    def test_any_bytes(self) -> None:
        """Every byte goes to a command as stdin, and comes back from it."""
        api = self.daemon.api
        octets = bytes(range(256)) * 16
        cmd_id = api.runCmd(ONE, "cat", [], {}, "", "", {"stdin": octets})
        api.waitCmd(cmd_id, 60)
        self.assertEqual(self.daemon.output(cmd_id, "stdout"), octets)

    def test_copy_both_ways(self) -> None:
        """A file of more than one frame arrives whole, and comes back as it went."""
        data = os.urandom(5_000_001)
        sent, back = self.daemon.exchange / "sent", self.daemon.exchange / "back"
        sent.write_bytes(data)
        api = self.daemon.api
        self.assertEqual(api.cpFileToVM(ONE, str(sent), "copy"), ["", "", 0])
        digest = self.daemon.run(ONE, "sha256sum", "copy")["out"].split()[0]
        self.assertEqual(digest, hashlib.sha256(data).hexdigest())
        self.assertEqual(api.cpFileFromVM(ONE, "copy", str(back)), ["", "", 0])
        self.assertTrue(back.read_bytes() == data)

    def test_each_its_own(self) -> None:
        """Of two VMs at work at once each has its own commands, output and files."""
        api = self.daemon.api
        script = (
            "for i in 1 2 3 4 5 6 7 8 9; do echo $VMCONTROLLER_LOCAL_VM >> mine; done; cat mine"
        )
        ids = {vm: [api.runCmd(vm, "sh", ["-c", f"rm -f mine; {script}"])] for vm in (ONE, TWO)}
        for vm, [cmd_id] in ids.items():
            expected = f"{self.home(vm).name}\n" * 9
            self.assertEqual(api.waitCmd(cmd_id, 60)["out"], expected)
            self.assertEqual((self.home(vm) / "root" / "mine").read_text(), expected)

    def test_daemon_restarted(self) -> None:
        """The next daemon finds the agents that go on running, and works with them."""
        before = self.agent(ONE).pid
        self.restart_daemon()
        self.both_answer()
        self.assertEqual(self.agent(ONE).pid, before)
        self.assertEqual(self.daemon.run(ONE, "echo", "again")["out"], "again\n")

    def test_agent_killed(self) -> None:
        """Its command is lost, with the reason; the other VM does not mind; it starts again."""
        api = self.daemon.api
        cmd_id = api.runCmd(TWO, "sleep", ["4711"])
        until(lambda: self.agent(TWO).children(), "the command runs")
        self.agent(TWO).kill()
        result = api.waitCmd(cmd_id, 60)
        self.assertEqual(result["state"], "lost")
        self.assertIn("Aborted", result["error"])
        self.assertEqual(api.ping(ONE, 60), f"PONG from {ONE}")
        api.start(TWO)
        self.both_answer()


class ExternalScenarios(BrokerScenarios):
    """On a broker that is not the daemon's own, and that a third client can listen to."""

    broker: Broker

    def test_broker_restarted(self) -> None:
        """A command goes on while the broker is dead; its result comes once it is back, once."""
        api, root = self.daemon.api, self.home(ONE) / "root"
        for name in ("go", "ran"):
            (root / name).unlink(missing_ok=True)
        script = "echo begun; until [ -e go ]; do sleep 0.05; done; echo x >> ran; echo done"
        cmd_id = api.runCmd(ONE, "sh", ["-c", script])
        until(lambda: self.daemon.output(cmd_id, "stdout") == b"begun\n", "it has begun")
        self.broker.kill()
        (root / "go").touch()
        until((root / "ran").exists, "it has ended")
        self.assertFalse(api.getCmdResults(cmd_id)["finished"])
        self.broker.start()
        result = api.waitCmd(cmd_id, 60)
        self.assertEqual((result["out"], result["exitCodeOrSignal"]), ("begun\ndone\n", 0))
        self.both_answer()
        self.assertEqual(api.waitCmd(cmd_id, 1)["out"], "begun\ndone\n")
        self.assertEqual((root / "ran").read_text(), "x\n")
        self.assertIn("the daemon lost the broker", self.daemon.log.read_text())

    def test_broker_restarted_in_a_copy(self) -> None:
        """A copy waits for its broker, is taken up where it was, and arrives whole."""
        data = random.Random("a copy").randbytes(2**20)
        source, there = self.daemon.exchange / "big", self.home(ONE) / "root" / "big"
        with source.open("wb") as file:
            for _ in range(400):
                file.write(data)
        answers: list[object] = []

        def copy() -> None:
            with self.daemon.new_client() as client:
                try:
                    answers.append(client.cpFileToVM(ONE, str(source), "big"))
                except xmlrpc.client.Fault as fault:
                    answers.append(fault.faultString)

        copying = threading.Thread(target=copy)
        copying.start()
        until(lambda: self.copied(ONE) > 40 * 2**20, "it is under way")
        self.broker.kill()
        self.broker.start()
        copying.join(300)
        self.assertEqual(answers, [["", "", 0]])
        self.assertEqual(_digest(there), _digest(source))
        self.assertEqual(list(there.parent.glob(".*vmcontroller-*")), [])
        self.both_answer()
        for path in (there, source):
            path.unlink()

    def copied(self, vm: str) -> int:
        """Return how many bytes of the copy that is under way are there."""
        running = [copy for copy in self.daemon.api.listTransfers(vm) if copy["state"] == "running"]
        return running[0]["bytes"] if running else 0

    def test_wrong_password(self) -> None:
        """A refused login is told in the log, with what the broker says; mended, all goes on."""
        good = self.daemon.config.read_text()
        self.daemon.terminate()
        self.daemon.config.write_text(good.replace("host's password", "mistyped"))
        self.daemon.start()
        line = until(self._refusal, "the log tells of the refusal")
        self.assertIn("WARN", line)
        with self.assertRaises(xmlrpc.client.Fault) as caught:
            self.daemon.api.ping(ONE, 1)
        self.assertIn("GUEST_UNREACHABLE", caught.exception.faultString)
        self.assertNotIn("mistyped", self.daemon.log.read_text())
        self.daemon.terminate()
        self.daemon.config.write_text(good)
        self.daemon.start()
        self.both_answer()

    def _refusal(self) -> str:
        lines = self.daemon.log.read_text().splitlines()
        return next((line for line in lines if "the broker says: " in line), "")

    def test_hello_is_asked_for(self) -> None:
        """A daemon that has connected asks all guests at once for their HELLO, and they say it."""
        wanted = set(self.daemon.api.getNamesToIdsMapping().values())
        with self.broker.client() as listener:
            listener.subscribe(REQUESTS, own_id="1")
            listener.subscribe(CONNECTIONS, own_id="2")
            self.restart_daemon()
            asked, deadline = False, time.monotonic() + 30
            while wanted:
                message = listener.hear("MESSAGE", deadline - time.monotonic())
                if message.header("destination") == REQUESTS:
                    asked = asked or message.body.startswith(b"AINT ")
                elif message.body.startswith(b"HELLO ") and asked:
                    wanted.discard(message.header("from"))
        self.both_answer()

    def test_words_of_one_guest(self) -> None:
        """On a guest's own topic nothing is said that is for the other."""
        two = self.daemon.api.getNamesToIdsMapping()[TWO]
        with self.broker.client() as listener:
            listener.subscribe(requests_of(guest_id(two)))
            self.daemon.run(ONE, "echo", "for one")
            self.daemon.run(TWO, "echo", "for two")
            heard = []
            while not any(word.startswith(b"CMD_STORED") for _, word in heard):
                message = listener.hear("MESSAGE")
                heard.append((message.header("to"), message.body))
        self.assertEqual({to for to, _ in heard}, {two})
        self.assertEqual(sum(word.startswith(b"CMD_RUN ") for _, word in heard), 1)
        self.assertNotIn(b"for one", b"".join(word for _, word in heard))

    def test_rights_of_guests(self) -> None:
        """With the permissions of our docs a guest can't be the host to the others, nor listen."""
        own = {"destination": requests_of(guest_id("52:54:00:00:00:01")), "id": "1"}
        for command, headers, allowed in (
            ("SUBSCRIBE", own, True),
            ("SUBSCRIBE", {**own, "destination": REQUESTS}, True),
            ("SEND", {"destination": CONNECTIONS}, True),
            ("SEND", {"destination": REQUESTS}, False),
            ("SEND", {"destination": own["destination"]}, False),
            ("SUBSCRIBE", {**own, "destination": RESPONSES}, False),
        ):
            with self.broker.client(*GUEST) as guest:
                guest.say(command, *headers.items(), ("receipt", "done"))
                answer = guest.next_frame(30)
                self.assertIsNotNone(answer)
                expected = "RECEIPT" if allowed else "ERROR"
                self.assertEqual(answer.command, expected, (command, headers, answer))


def external(broker: Broker, host: tuple[str, str], guest: tuple[str, str]) -> str:
    """Return host.yaml's section for this broker."""
    return (
        f"broker: {{name: external, host: 127.0.0.1, port: {broker.port}, "
        f'username: {host[0]}, password: "{host[1]}", '
        f"guest_username: {guest[0]}, guest_password: {guest[1]}}}"
    )


def started(section: str) -> Daemon:
    """Return a daemon with this section `broker` and both VMs, whose agents have come."""
    daemon = Daemon("local")
    text = daemon.config.read_text()
    assert "broker: {port: 0}" in text
    daemon.config.write_text(text.replace("broker: {port: 0}", section))
    daemon.start()
    for vm in (ONE, TWO):
        daemon.api.createVM(vm, "")
        daemon.api.start(vm)
    for vm in (ONE, TWO):
        daemon.api.ping(vm, 60)
    return daemon


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
