"""A ledger of commands: each writes its line when it runs, and prints octets that are known.

At the end each is held against what the API says of it: one that has ended ran once and printed
exactly that; of one that is lost, or whose id was never learnt, no more than one line is there.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import random
import threading
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError

from tests.integration.daemon import DEADLINE_S, Daemon
from tests.integration.faults.agents import OwnAgent

OCTETS = random.Random("the octets that commands print").randbytes(300_000)
SCRIPT = (
    'echo "$0" >> ledger; sleep "$4"; tail -c +"$1" octets | head -c "$2"; '
    'tail -c +"$1" octets | head -c "$3" >&2; exit 7'
)
UNREACHED = (OSError, http.client.HTTPException, ExpatError)
"""What a call ends with when the daemon is killed: it may have been done or not. The last is half
an answer, which xmlrpc.client takes for a whole one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One command: its tag in the ledger, its id if the call answered, what it must print."""

    tag: str
    cmd_id: str
    out: bytes
    err: bytes


class Worker:
    """Gives one guest a command after the other, from a thread, until it is told to stop."""

    def __init__(self, daemon: Daemon, agent: OwnAgent, seed: str) -> None:
        self._daemon = daemon
        self._agent = agent
        self._dice = random.Random(f"{seed} {agent.vm}")
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self.entries: list[Entry] = []
        self.problem: BaseException | None = None
        (agent.root / "octets").write_bytes(OCTETS)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Begin no more commands, and return when the last was begun."""
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        try:
            while not self._stop.is_set():
                with contextlib.suppress(*UNREACHED), self._daemon.new_client() as api:
                    while not self._stop.is_set():
                        self._one(api)
                time.sleep(0.1)
        except BaseException as error:  # noqa: BLE001 - told by the test
            self.problem = error

    def _one(self, api: Any) -> None:
        tag = f"{len(self.entries)}-{self._dice.randbytes(6).hex()}"
        start = self._dice.randrange(len(OCTETS) // 2)
        sizes = [self._dice.choice((0, 1, 100, 20_000, 100_000)) for _ in range(2)]
        pause_s = self._dice.choice((0, 0, 0, 0.05, 1.5))
        words = [tag, *map(str, (start + 1, *sizes, pause_s))]
        out, err = (OCTETS[start : start + size] for size in sizes)
        cmd_id = ""
        try:
            cmd_id = api.runCmd(self._agent.vm, "sh", ["-c", SCRIPT, *words])
        except xmlrpc.client.Fault as fault:
            name = fault.faultString.partition(":")[0]
            if name not in {"GUEST_UNREACHABLE", "NOT_CONNECTED"}:
                raise
            self._stop.wait(0.1)
            return
        finally:
            self.entries.append(Entry(tag=tag, cmd_id=cmd_id, out=out, err=err))
        if self._dice.random() < 0.5:
            api.waitCmd(cmd_id, 2)
        self._stop.wait(self._dice.choice((0, 0.1, 0.5)))

    def settle(self) -> tuple[int, int]:
        """Hold every command against the ledger; return how many ended, and how many were lost.

        Raises AssertionError.
        """
        if self.problem is not None:
            raise self.problem
        lines = _lines(self._agent.root / "ledger")
        ended = lost = 0
        for entry in self.entries:
            ran = lines.pop(entry.tag, 0)
            if not entry.cmd_id:
                assert ran <= 1, (entry.tag, ran)
                continue
            result = self._daemon.api.waitCmd(entry.cmd_id, 2 * DEADLINE_S)
            if result["state"] == "lost":
                lost += 1
                assert ran <= 1, (entry.tag, ran, result)
                assert result["error"], result
                continue
            ended += 1
            assert (result["state"], result["exitCodeOrSignal"]) == ("ended", 7), result
            assert ran == 1, (entry.tag, ran, result)
            for stream, octets in (("stdout", entry.out), ("stderr", entry.err)):
                found = self._daemon.output(entry.cmd_id, stream)
                assert _digest(found) == _digest(octets), (entry, stream, len(found))
            again = self._daemon.api.getCmdResults(entry.cmd_id)
            assert again == result, (again, result)
        assert not lines, lines
        return ended, lost


def _lines(path: Path) -> dict[str, int]:
    counts: dict[str, int] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        counts[line] = counts.get(line, 0) + 1
    return counts


def _digest(octets: bytes) -> tuple[int, str]:
    return len(octets), hashlib.sha256(octets).hexdigest()
