"""How fast files are copied on `local`, beside bare Twisted TCP; what that costs memory and pings.

One run: a daemon, an agent process, real files, SHA-256 on both sides, synced and renamed. The peer
sends the same file between two processes and hashes and syncs it, too. Rounds are interleaved.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.measures import (
    MIB,
    Surroundings,
    agent_of,
    quantile,
    rss_mib,
    write_json,
)
from tests.integration.daemon import DEADLINE_S, Daemon

VM = "vmctest-copies"
PINGS = 400
WAYS = ("into the guest", "out of the guest")


def main() -> None:
    """Measure, print the rows of a table, write JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size-mib", type=int, default=1024, help="of the file of each round")
    parser.add_argument("--memory-mib", type=int, default=4096, help="while memory is looked at")
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"))
    arguments = parser.parse_args()
    around = Surroundings()
    bench = Bench()
    try:
        figures = {
            # Memory first: what earlier copies took and kept would count as "before".
            "memory": bench.memory(arguments.memory_mib * MIB),
            "speed": bench.speed(arguments.rounds, arguments.size_mib * MIB),
            "ping": bench.pings(arguments.size_mib * MIB),
        }
    finally:
        bench.daemon.stop()
    report(figures)
    write_json(arguments.out, "copies.json", {**figures, "surroundings": around.noted()})


class Bench:
    """A daemon with one guest, and the files that go to and fro."""

    def __init__(self) -> None:
        self.daemon = Daemon("local").start()
        self.daemon.api.createVM(VM, "")
        self.daemon.api.start(VM)
        self.daemon.api.ping(VM, DEADLINE_S)
        self.file = self.daemon.exchange / "file"
        self.there = str(self.daemon.dir / "there")
        self.back = self.daemon.exchange / "back"
        assert self.daemon.process is not None
        self.processes = {
            "host": psutil.Process(self.daemon.process.pid),
            "agent": agent_of(self.daemon),
        }

    def make_file(self, size_bytes: int) -> None:
        """Fill the file with bytes of which none repeat."""
        with self.file.open("wb") as file:
            for _ in range(size_bytes // MIB):
                file.write(os.urandom(MIB))
            os.fsync(file.fileno())

    def copy_in(self, api: Any) -> None:
        """Copy the file into the guest."""
        api.cpFileToVM(VM, str(self.file), self.there)

    def copy_out(self, api: Any) -> None:
        """Copy it back."""
        api.cpFileFromVM(VM, self.there, str(self.back))

    def speed(self, rounds: int, size_bytes: int) -> dict[str, list[float]]:
        """Return MiB a second of each round, by what was measured."""
        figures: dict[str, list[float]] = {name: [] for name in (*WAYS, "bare TCP")}

        def note(name: str, work: Callable[[], float]) -> None:
            figures[name].append(size_bytes / MIB / work())
            print(f"  {name}: {figures[name][-1]:.0f} MiB/s", flush=True)

        self.make_file(size_bytes)
        for _ in range(rounds):
            note("bare TCP", self._bare)
            note(WAYS[0], lambda: self._timed(self.copy_in))
            note("bare TCP", self._bare)
            note(WAYS[1], lambda: self._timed(self.copy_out))
            subprocess.run(["cmp", self.file, self.back], check=True)
            self.back.unlink()
            Path(self.there).unlink()
        return figures

    def _timed(self, copy: Callable[[Any], None]) -> float:
        begun_s = time.perf_counter()
        copy(self.daemon.api)
        return time.perf_counter() - begun_s

    def _bare(self) -> float:
        target = self.daemon.dir / "bare"
        bare = [sys.executable, "-m", "tests.benchmarks.bare_tcp"]
        pipe = subprocess.PIPE
        with subprocess.Popen([*bare, "receive", target], stdout=pipe, text=True) as receiver:
            assert receiver.stdout is not None
            port = receiver.stdout.readline().strip()
            sent = subprocess.run(
                [*bare, "send", self.file, port], stdout=pipe, text=True, check=True
            )
        target.unlink()
        return float(sent.stdout)

    def memory(self, size_bytes: int) -> dict[str, dict[str, float]]:
        """Return by how many MiB host and agent grow while a file is copied each way, at most."""
        self.make_file(size_bytes)
        figures = {}
        for name, copy in zip(WAYS, (self.copy_in, self.copy_out), strict=True):
            before = {who: rss_mib(process) for who, process in self.processes.items()}
            most = dict(before)
            with self._copying(copy) as is_copying:
                while is_copying():
                    for who, process in self.processes.items():
                        most[who] = max(most[who], rss_mib(process))
                    time.sleep(0.02)
            figures[name] = {who: most[who] - before[who] for who in before}
            print(f"  memory more, {name}: {figures[name]}", flush=True)
        self.back.unlink()
        return figures

    def pings(self, size_bytes: int) -> dict[str, list[float]]:
        """Return the milliseconds of pings of the guest, idle and while it copies each way."""
        self.make_file(size_bytes)
        figures = {"idle": [self._ping_ms() for _ in range(PINGS)]}
        for name, copy in zip(WAYS, (self.copy_in, self.copy_out), strict=True):
            figures[name] = []
            while len(figures[name]) < PINGS:
                with self._copying(copy) as is_copying:
                    while is_copying():
                        figures[name].append(self._ping_ms())
        figures["idle"] += [self._ping_ms() for _ in range(PINGS)]
        return figures

    def _ping_ms(self) -> float:
        begun_s = time.perf_counter()
        self.daemon.api.ping(VM, DEADLINE_S)
        return (time.perf_counter() - begun_s) * 1000

    @contextmanager
    def _copying(self, copy: Callable[[Any], None]) -> Iterator[Callable[[], bool]]:
        problems: list[BaseException] = []

        def work() -> None:
            try:
                with self.daemon.new_client() as api:
                    copy(api)
            except BaseException as error:  # noqa: BLE001 - raised below, in the other thread
                problems.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        yield thread.is_alive
        thread.join()
        if problems:
            raise problems[0]


def report(figures: dict[str, Any]) -> None:
    """Print what was measured as rows of a table."""
    speed = {name: statistics.median(values) for name, values in figures["speed"].items()}
    print("\n| what | VMController | bare TCP | ratio |\n|---|---|---|---|")
    for name in WAYS:
        mine, bare = speed[name], speed["bare TCP"]
        print(f"| copy {name}, MiB/s | {mine:.0f} | {bare:.0f} | {mine / bare:.2f} |")
    print("\n| what | host | agent |\n|---|---|---|")
    for name, more in figures["memory"].items():
        print(f"| memory more, copy {name} | {more['host']:.1f} | {more['agent']:.1f} MiB |")
    print("\n| ping | p50 | p99 | p99 to idle |\n|---|---|---|---|")
    idle_p99 = quantile(figures["ping"]["idle"], 0.99)
    for name, values in figures["ping"].items():
        p50, p99 = quantile(values, 0.5), quantile(values, 0.99)
        print(f"| {name} | {p50:.2f} ms | {p99:.2f} ms | {p99 / idle_p99:.1f} |")


if __name__ == "__main__":
    main()
