"""A thousand cuts, at random: every command ran at most once, and what it printed is there once.

VMCONTROLLER_TEST_SEED repeats a run, VMCONTROLLER_TEST_CUTS makes it longer or shorter.
"""

from __future__ import annotations

import os
import random
import sys
import threading
import time

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, free_port, until
from tests.integration.faults.agents import OwnAgent
from tests.integration.faults.ledger import Worker

GUESTS = 20
CUTS = int(os.environ.get("VMCONTROLLER_TEST_CUTS") or 1000)
AGENT_KILLS, DAEMON_KILLS = 40, 8
"""So many of the cuts are a kill: of one agent, or of the daemon, which cuts all its guests."""
SEED = os.environ.get("VMCONTROLLER_TEST_SEED") or str(random.SystemRandom().randrange(2**32))


class Cutter:
    """Cuts one guest's connection again and again, from a thread."""

    def __init__(self, agent: OwnAgent, cuts: int, kills: int) -> None:
        self._agent = agent
        self._dice = random.Random(f"{SEED} cuts {agent.vm}")
        self._kinds = ["cut"] * (cuts - kills) + ["kill"] * kills
        self._dice.shuffle(self._kinds)
        self.done = 0
        self.thread = threading.Thread(target=self._work, daemon=True)

    def _work(self) -> None:
        for kind in self._kinds:
            self._connected()
            # Sometimes before its HELLO is answered, mostly in the middle of its work.
            time.sleep(self._dice.choice((0, 0.02, 0.3, 1, 2, 5.2)))
            if kind == "kill":
                self._agent.kill()
                self._agent.start()
            elif self._dice.random() < 0.5:
                self._agent.proxy.cut()
            else:
                self._agent.proxy.cut_after(self._dice.choice((1, 200, 5_000, 70_000)))
                self._until(lambda: not self._agent.proxy.cut_is_due, 10)
                self._agent.proxy.cut()
            self.done += 1

    def _connected(self) -> None:
        self._until(lambda: any(pair.ways_open == 2 for pair in self._agent.proxy.pairs), 30)

    def _until(self, done: object, most_s: float) -> None:
        end_s = time.monotonic() + most_s
        while time.monotonic() < end_s and not done():  # type: ignore[operator]
            time.sleep(0.01)


class LedgerTests(SynchronousTestCase):
    """Many guests at work, whose connections, agents and daemon do not last."""

    def test_a_thousand_cuts(self) -> None:
        """Each command that was begun ends, once, with its octets, or is lost and says why."""
        keep = "commands: {keep: 1000000}\n"
        daemon = Daemon("local", config=keep, broker=f"{{port: {free_port()}}}").start()
        self.addCleanup(daemon.stop)
        agents = [OwnAgent(daemon, f"vmctest cut {number}") for number in range(GUESTS)]
        for agent in agents:
            self.addCleanup(agent.close)
            agent.start()
        for agent in agents:
            agent.ready()
        workers = [Worker(daemon, agent, SEED) for agent in agents]
        kills = [AGENT_KILLS // GUESTS + (n < AGENT_KILLS % GUESTS) for n in range(GUESTS)]
        own = CUTS // GUESTS - DAEMON_KILLS
        cutters = [Cutter(*each) for each in zip(agents, [own] * GUESTS, kills, strict=True)]
        for thing in (*workers, *(cutter.thread for cutter in cutters)):
            thing.start()
        self.kill_daemon_meanwhile(daemon, cutters)
        for cutter in cutters:
            cutter.thread.join()
        for worker in workers:
            worker.stop()
        for agent in agents:
            until(lambda at=agent: daemon.api.getGuest(at.vm)["connected"], f"{agent.vm} is back")
            daemon.api.ping(agent.vm, DEADLINE_S)
        try:
            ended, lost = map(sum, zip(*(worker.settle() for worker in workers), strict=True))
        except AssertionError as error:
            raise AssertionError(f"VMCONTROLLER_TEST_SEED={SEED}: {error}") from error
        unknown = sum(not entry.cmd_id for worker in workers for entry in worker.entries)
        cuts = sum(cutter.done for cutter in cutters) + DAEMON_KILLS * GUESTS
        sys.stderr.write(
            f"\nseed {SEED}, {cuts} cuts: {ended} commands ended, {lost} lost, "
            f"{unknown} calls were refused or cut\n"
        )
        self.assertGreaterEqual(cuts, CUTS)
        self.assertGreater(ended, 10 * lost)

    def kill_daemon_meanwhile(self, daemon: Daemon, cutters: list[Cutter]) -> None:
        """Kill it each time that another part of the cuts is done."""
        whole = sum(len(cutter._kinds) for cutter in cutters)
        for part in range(1, DAEMON_KILLS + 1):
            due = whole * part // (DAEMON_KILLS + 1)
            until(
                lambda at=due: sum(cutter.done for cutter in cutters) >= at,
                "more cuts are done",
                20 * DEADLINE_S,
            )
            daemon.kill()
            daemon.start()
