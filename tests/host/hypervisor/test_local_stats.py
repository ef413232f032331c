"""The local backend's reading of /proc."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.hypervisor.local.console import BYTES_MOST, log_of, turn_over
from vmcontroller.host.hypervisor.local.processes import MARK, identify
from vmcontroller.host.hypervisor.local.stats import ProcessStats, parse_io, parse_stat
from vmcontroller.host.hypervisor.local.store import LocalVm

BUSY = "import sys; sum(range(10**7)); print(flush=True); sys.stdin.read()"


class ParsingTests(SynchronousTestCase):
    def test_a_name_that_misleads(self) -> None:
        """A process may be called anything; the fields are counted from its last bracket."""
        rest = b"S 1 2 3 4 5 6 7 8 9 10 100 200 30 40 20 0 1 0 777 5000 25 99"
        ticks = os.sysconf("SC_CLK_TCK")
        line = parse_stat(b"4711 (x) S 1) (y) " + rest)
        self.assertEqual((line.began, line.cpu_s), (777, 370 / ticks))
        self.assertEqual(line.rss_kib, 25 * os.sysconf("SC_PAGE_SIZE") // 1024)

    @given(st.binary())
    def test_anything(self, data: bytes) -> None:
        """What is no such line is a ValueError."""
        self.assertRaises(ValueError, parse_stat, data)

    def test_io(self) -> None:
        """The bytes that reached a disk, by their names."""
        self.assertEqual(parse_io(b"rchar: 5\nread_bytes: 4096\n")["read_bytes"], 4096)


class ProcessStatsTests(SynchronousTestCase):
    def test_a_tree(self) -> None:
        """A VM's processes are all that have its mark; its own time and memory are theirs."""
        environment = {**os.environ, MARK: "vm-1"}
        agent = subprocess.Popen(
            [sys.executable, "-c", BUSY],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        worker = subprocess.Popen(
            [sys.executable, "-c", BUSY],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            for process in (agent, worker):
                process.stdout.read(1)  # the work is done
            stats = ProcessStats()
            for _ in range(2):
                read = stats.read({"vm-1": identify(agent.pid), "none": identify(os.getpid())})
                counters = read["vm-1"]
                times = [psutil.Process(process.pid).cpu_times() for process in (agent, worker)]
                self.assertAlmostEqual(
                    counters.cpu_s, sum(time.user + time.system for time in times), delta=0.05
                )
                self.assertGreater(counters.memory.rss_kib, 2 * 4096)
        finally:
            for process in (agent, worker):
                process.communicate()
        self.assertNotIn(
            "vm-1", [owner for (pid, _), owner in stats._owners.items() if pid == os.getpid()]
        )


class LogTests(SynchronousTestCase):
    def test_long_log_is_turned_over(self) -> None:
        """At a start; one that is short, or not there yet, stays."""
        vm = LocalVm(uuid="u", name="n", mac="m", home=Path(self.mktemp()))
        vm.home.mkdir()
        turn_over(vm)
        log_of(vm).write_bytes(b"x" * BYTES_MOST)
        turn_over(vm)
        self.assertTrue(log_of(vm).exists())
        log_of(vm).write_bytes(b"y" * (BYTES_MOST + 1))
        turn_over(vm)
        self.assertEqual([each.name for each in vm.home.iterdir()], ["agent.log.0"])
