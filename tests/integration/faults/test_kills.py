"""The daemon or an agent is killed in the middle: nothing is lost, done twice or half-done."""

from __future__ import annotations

import atexit
import hashlib
import http.client
import random
import threading
import time
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, free_port, until
from tests.integration.faults.agents import OwnAgent
from tests.integration.faults.ledger import OCTETS

VM = "vmctest killed"
COPY_BYTES = 400 * 2**20

_running: list[OwnAgent] = []


def running() -> OwnAgent:
    """Return the agent of the one VM of a daemon whose broker keeps its port."""
    if not _running:
        daemon = Daemon("local", broker=f"{{port: {free_port()}}}").start()
        atexit.register(daemon.stop)
        agent = OwnAgent(daemon, VM)
        atexit.register(agent.close)
        agent.start()
        agent.ready()
        (agent.root / "octets").write_bytes(OCTETS)
        _running.append(agent)
    return _running[0]


class Call:
    """One call of the API in a thread of its own: its answer, or what it ended with."""

    def __init__(self, daemon: Daemon, method: str, *arguments: object) -> None:
        self.answer: Any = None
        self.error: BaseException | None = None

        def work() -> None:
            try:
                with daemon.new_client() as api:
                    self.answer = getattr(api, method)(*arguments)
            except (OSError, http.client.HTTPException, xmlrpc.client.Fault) as error:
                self.error = error

        self._thread = threading.Thread(target=work, daemon=True)
        self._thread.start()

    def join(self) -> Call:
        """Return when it has ended."""
        self._thread.join(10 * DEADLINE_S)
        assert not self._thread.is_alive(), "the call has not ended"
        return self


class KillCase(SynchronousTestCase):
    """One guest, whose agent and daemon can be killed."""

    def setUp(self) -> None:
        self.agent = running()
        self.daemon = self.agent.daemon
        self.ledger = self.agent.root / "ledger"
        self.ledger.unlink(missing_ok=True)
        self.daemon.api.ping(VM, DEADLINE_S)

    def begin(self, script: str) -> str:
        """Begin a command that first writes its line."""
        line = "echo ran >> ledger; " + script
        cmd_id: str = self.daemon.api.runCmd(VM, "sh", ["-c", line])
        return cmd_id

    def ran(self) -> int:
        """Return how many lines are in the ledger."""
        return len(self.ledger.read_text().splitlines()) if self.ledger.exists() else 0

    def kill_daemon(self) -> None:
        """Kill it, and start another on the same directory."""
        self.daemon.kill()
        self.daemon.start()

    def kill_agent(self) -> None:
        """Kill it, and start another."""
        self.agent.kill()
        self.agent.start()
        self.agent.ready()

    def ended(self, cmd_id: str, printed: bytes) -> None:
        """It ran once, ended, and all it printed is there."""
        result = self.daemon.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual((result["state"], result["exitCodeOrSignal"]), ("ended", 7), result)
        found = self.daemon.output(cmd_id, "stdout")
        self.assertEqual(_digest(found), _digest(printed), f"{len(found)} of {len(printed)} bytes")
        self.assertEqual(self.ran(), 1)


class CommandTests(KillCase):
    def test_daemon_killed_during_a_command(self) -> None:
        """The command runs on; the next daemon has its request, and gets its result."""
        cmd_id = self.begin("cat octets; sleep 3; cat octets; exit 7")
        until(self.ran, "it runs")
        self.kill_daemon()
        details = self.daemon.api.getCmdDetails(cmd_id)
        self.assertEqual((details["cmd"], details["toVmName"]), ("sh", VM))
        self.ended(cmd_id, 2 * OCTETS)

    def test_daemon_killed_during_a_result(self) -> None:
        """While output comes in, and results are stored: it is all there, once."""
        for _ in range(5):
            self.ledger.unlink(missing_ok=True)
            cmd_id = self.begin("for i in 1 2 3 4 5 6 7 8 9 10; do cat octets; done; exit 7")
            until(lambda at=cmd_id: self.daemon.output(at, "stdout"), "output comes in")
            self.kill_daemon()
            self.ended(cmd_id, 10 * OCTETS)
            self.daemon.api.forgetCmd(cmd_id)
            self.daemon.api.ping(VM, DEADLINE_S)

    def test_results_are_kept_over_kills(self) -> None:
        """What had ended is as it was, small or large, until it is forgotten, also over a kill."""
        ids = [
            self.daemon.run(VM, "sh", "-c", f"head -c {n} octets")["cmd-id"] for n in (9, 99_999)
        ]
        before = [self.daemon.api.getCmdResults(cmd_id) for cmd_id in ids]
        self.daemon.api.forgetCmd(ids[0])
        self.kill_daemon()
        self.assertEqual(self.daemon.api.getCmdResults(ids[1]), before[1])
        self.assertEqual(self.daemon.output(ids[1], "stdout"), OCTETS[:99_999])
        self.assertNotIn(ids[0], self.daemon.api.listFinishedCmds())

    def test_agent_killed_during_a_command(self) -> None:
        """It is lost, says why, keeps what it had printed; nothing of it runs on."""
        cmd_id = self.begin("cat octets; setsid sleep 4711 & echo $! > child; sleep 4712")
        until(lambda: self.daemon.output(cmd_id, "stdout") == OCTETS, "its output has come")
        child = until((self.agent.root / "child").read_text, "it has a child").strip()
        self.kill_agent()
        result = self.daemon.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual(result["state"], "lost", result)
        self.assertIn("AGENT_RESTARTED", result["error"])
        self.assertEqual(self.daemon.output(cmd_id, "stdout"), OCTETS)
        until(lambda: not Path(f"/proc/{child}").exists(), "what it had started is gone")
        self.assertEqual(self.ran(), 1)

    def test_agent_killed_with_results_undelivered(self) -> None:
        """A result that waits in the guest is delivered, once, by the agent after it."""
        cmd_id = self.begin("sleep 1; cat octets; echo over > over; exit 7")
        until(self.ran, "it runs")
        self.daemon.kill()
        over = self.agent.root / "over"
        until(over.exists, "it has ended")
        over.unlink()
        time.sleep(1)  # for the agent to have noticed; were it not, the test would say `lost`
        self.agent.kill()
        self.agent.start()
        self.daemon.start()
        self.agent.ready()
        self.ended(cmd_id, OCTETS)

    def test_paused_for_longer_than_the_grace(self) -> None:
        """A guest that is away for long, and comes back, has done what it was asked."""
        cmd_id = self.begin("sleep 1; cat octets; exit 7")
        until(self.ran, "it runs")
        self.agent.proxy.swallowing = True
        try:
            until(
                lambda: not self.daemon.api.getGuest(VM)["connected"],
                "it is gone",
                2 * DEADLINE_S,
            )
        finally:
            self.agent.proxy.swallowing = False
            self.agent.proxy.cut()
        self.ended(cmd_id, OCTETS)


class CopyTests(KillCase):
    """A copy that breaks off is taken up where it was, and nothing half-done is in its place."""

    def setUp(self) -> None:
        super().setUp()
        self.source = self.daemon.exchange / "source"
        self.target = self.daemon.exchange / "target"
        self.there = self.agent.root / "there"
        self.data = random.Random(self.id()).randbytes(2**20)
        with self.source.open("wb") as file:
            for number in range(COPY_BYTES // 2**20):
                file.write(number.to_bytes(4, "big") + self.data[4:])
        for path in (self.target, self.there):
            path.unlink(missing_ok=True)

    def to_vm(self) -> Call:
        return Call(self.daemon, "cpFileToVM", VM, str(self.source), str(self.there))

    def from_vm(self) -> Call:
        return Call(self.daemon, "cpFileFromVM", VM, str(self.source), str(self.target))

    def half_done(self) -> dict[str, Any]:
        """Return the copy when a good part of it is done, and not all."""

        def seek() -> Any:
            for copy in self.daemon.api.listTransfers(VM):
                if copy["state"] == "running" and copy["bytes"] > COPY_BYTES / 8:
                    return copy
            return None

        found: dict[str, Any] = until(seek, "the copy is under way")
        return found

    def is_whole(self, path: Path) -> None:
        """It is the source, and no other file is left of it."""
        self.assertEqual(_file_digest(path), _file_digest(self.source))
        for directory in (self.agent.root, self.daemon.exchange):
            self.assertEqual([p.name for p in directory.glob(".*vmcontroller-*")], [])

    def taken_up(self, begin: Callable[[], Call], path: Path, cut: Callable[[], None]) -> None:
        """Cut in the middle of a copy that goes on by itself."""
        call = begin()
        copy = self.half_done()
        cut()
        self.assertEqual(call.join().answer, ["", "", 0], call.error)
        self.is_whole(path)
        self.assertGreaterEqual(self.daemon.api.getTransfer(copy["id"])["resumed"], 1)

    def test_connection_cut(self) -> None:
        """The call waits until the guest is back, and answers when the file is in place."""
        self.taken_up(self.to_vm, self.there, self.agent.proxy.cut)
        self.taken_up(self.from_vm, self.target, self.agent.proxy.cut)

    def test_agent_killed(self) -> None:
        """So it does when the agent was killed, and another has come."""
        self.taken_up(self.to_vm, self.there, self.kill_agent)
        self.taken_up(self.from_vm, self.target, self.kill_agent)

    def test_daemon_killed(self) -> None:
        """Asked for again, the copy is gone on with; until then nothing lies in its place."""
        for begin, path in ((self.to_vm, self.there), (self.from_vm, self.target)):
            call = begin()
            copy = self.half_done()
            self.kill_daemon()
            self.assertIsNotNone(call.join().error)
            self.assertFalse(path.exists())
            self.daemon.api.ping(VM, DEADLINE_S)
            listed = {each["id"]: each for each in self.daemon.api.listTransfers(VM)}
            self.assertEqual(listed[copy["id"]]["state"], "interrupted", listed)
            call = begin().join()
            self.assertEqual(call.answer, ["", "", 0], call.error)
            self.is_whole(path)
            self.assertGreaterEqual(self.daemon.api.getTransfer(copy["id"])["resumed"], 1)


def _digest(octets: bytes) -> str:
    return hashlib.sha256(octets).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
