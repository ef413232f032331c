"""What a command costs on `local`: one after the other, many at once, and much output.

A time is from the call of runCmd until waitCmd has answered with the result. Those that run at once
have a client and a thread each, as many users of the daemon would; those in many guests also as one
user would do it, by runCmdOnAll, whose time is until the last of its guests has ended.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
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
from tests.benchmarks.native_guest_agent import NativeGuestAgent, native_guest_agent
from tests.integration.daemon import DEADLINE_S, Daemon

VM = "vmctest-commands"
AT_ONCE = 50
GUESTS = 20
EACH = 10
PAGE_BYTES = 256 * 1024
"""Of output that is read; the daemon has a page in memory several times: base64, XML."""

PATTERN = b"0123456789abcde\n"


def main() -> None:
    """Measure, print the figures, write JSON."""
    parser = argparse.ArgumentParser(prog="scripts/bench commands")
    parser.add_argument("--commands", type=int, default=2000, help="one after the other")
    parser.add_argument("--rounds", type=int, default=20, help="of many at once")
    parser.add_argument("--output-mib", type=int, default=1024, help="of one command")
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"))
    arguments = parser.parse_args()
    around = Surroundings()
    figures: dict[str, Any] = {}
    daemon = Daemon("local").start()
    try:
        start_guests(daemon, [VM])
        figures["memory_mib"] = memory_of_output(daemon, arguments.output_mib * MIB)
        figures["single_s"] = one_by_one(daemon, arguments.commands)
        with native_guest_agent(daemon.dir) as peer:
            figures["guest_agent_s"] = beside(daemon, peer, arguments.commands // 10)
        figures["at_once_s"] = rounds_at_once(daemon, [VM] * AT_ONCE, arguments.rounds)
        guests = [VM, *(f"{VM}-{number}" for number in range(1, GUESTS))]
        start_guests(daemon, guests[1:])
        rounds = max(arguments.rounds // 4, 3)
        figures["guests_s"] = rounds_at_once(daemon, guests * EACH, rounds)
        figures["on_all_s"] = rounds_on_all(daemon, guests, rounds)
        figures["bare_s"] = rounds_bare(GUESTS, EACH, rounds)
    finally:
        daemon.stop()
    report(figures)
    write_json(arguments.out, "commands.json", {**figures, "surroundings": around.noted()})


def start_guests(daemon: Daemon, names: Sequence[str]) -> None:
    """Make guests and wait until each has answered."""
    for name in names:
        daemon.api.createVM(name, "")
        daemon.api.start(name)
    for name in names:
        daemon.api.ping(name, DEADLINE_S)


def timed_run(api: Any, vm: str) -> float:
    """Run /bin/true; return the seconds until its result was known. AssertionError if lost."""
    begun_s = time.perf_counter()
    result = api.waitCmd(api.runCmd(vm, "/bin/true"), DEADLINE_S)
    took_s = time.perf_counter() - begun_s
    assert (result["state"], result["exitCodeOrSignal"]) == ("ended", 0), result
    return took_s


def one_by_one(daemon: Daemon, count: int) -> list[float]:
    """Return the seconds of so many commands, each run after the one before it has ended."""
    for _ in range(100):
        timed_run(daemon.api, VM)
    return [timed_run(daemon.api, VM) for _ in range(count)]


def beside(daemon: Daemon, peer: NativeGuestAgent, count: int) -> dict[str, list[float]]:
    """Return the seconds of as many commands of each of the two, in turns."""
    ours, theirs = [], []
    for _ in range(count + 10):
        ours.append(timed_run(daemon.api, VM))
        begun_s = time.perf_counter()
        assert peer.run("/bin/true") == 0
        theirs.append(time.perf_counter() - begun_s)
    return {"VMController": ours[10:], "qemu-guest-agent": theirs[10:]}


def rounds_bare(processes: int, each: int, rounds: int) -> list[float]:
    """Return the seconds until each of as many /bin/true has ended that nobody is asked for.

    So many processes start so many each, all at the same time, and wait for them: what this
    machine needs for the programs alone.
    """
    code = (
        "import os, sys, time\n"
        "print(flush=True)\n"
        "for line in sys.stdin:\n"
        "    begun_s, took_s = float(line), []\n"
        f"    for _ in range({each}): os.posix_spawn('/bin/true', ['true'], os.environ)\n"
        f"    for _ in range({each}): os.wait(); took_s.append(time.time() - begun_s)\n"
        "    print(*took_s, flush=True)\n"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(processes)
    ]
    answers = [process.stdout.readline for process in started]
    ready = [answer() for answer in answers]
    assert ready == ["\n"] * processes
    took_s: list[float] = []
    for _ in range(rounds):
        now = f"{time.time()}\n"
        for process in started:
            process.stdin.write(now)
            process.stdin.flush()
        took_s += [float(word) for answer in answers for word in answer().split()]
    for process in started:
        process.stdin.close()
        process.wait(DEADLINE_S)
    return took_s


def rounds_at_once(daemon: Daemon, vms: Sequence[str], rounds: int) -> list[float]:
    """Return the seconds of commands that all begin at the same time: one in each of `vms`."""
    return at_once(daemon, rounds, [partial(timed_run, vm=vm) for vm in vms])


def rounds_on_all(daemon: Daemon, vms: Sequence[str], rounds: int) -> list[float]:
    """Return the seconds of as many commands as above, by EACH runCmdOnAll at the same time."""

    def run_on_all(api: Any) -> float:
        begun_s = time.perf_counter()
        results = api.waitCmdOnAll(api.runCmdOnAll(vms, "/bin/true")["batch"], DEADLINE_S)
        took_s = time.perf_counter() - begun_s
        ends = [(result["state"], result["exitCodeOrSignal"]) for result in results.values()]
        assert ends == [("ended", 0)] * len(vms), results
        return took_s

    took_s = at_once(daemon, rounds, [run_on_all] * EACH)
    return [seconds for seconds in took_s for _ in vms]


def at_once(daemon: Daemon, rounds: int, works: Sequence[Callable[[Any], float]]) -> list[float]:
    """Return what all give, of so many rounds; each has a client and a thread of its own."""
    ready = threading.Barrier(len(works))

    def repeat(work: Callable[[Any], float]) -> list[float]:
        with daemon.new_client() as api:
            seconds = []
            for _ in range(rounds + 1):
                ready.wait(DEADLINE_S)
                seconds.append(work(api))
        return seconds[1:]  # without the one that connects

    with ThreadPoolExecutor(len(works)) as threads:
        return [seconds for each in threads.map(repeat, works) for seconds in each]


def memory_of_output(daemon: Daemon, size_bytes: int) -> dict[str, float]:
    """Return by how many MiB host and agent grow, at most, while a command prints so many bytes.

    All of them are read meanwhile, and must be those that were printed.
    """
    assert daemon.process is not None
    who = {"host": psutil.Process(daemon.process.pid), "agent": agent_of(daemon)}
    one_by_one(daemon, 100)
    before = {name: rss_mib(process) for name, process in who.items()}
    most = dict(before)
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.02):
            for name, process in who.items():
                most[name] = max(most[name], rss_mib(process))

    watching = threading.Thread(target=watch)
    watching.start()
    begun_s = time.perf_counter()
    try:
        read_output(daemon, size_bytes)
    finally:
        ended.set()
        watching.join()
    rate = size_bytes / MIB / (time.perf_counter() - begun_s)
    more = {name: most[name] - before[name] for name in who}
    print(f"  memory more: {more}, at {rate:.0f} MiB/s", flush=True)
    return {**more, "rate": rate}


def read_output(daemon: Daemon, size_bytes: int) -> None:
    """Run a command that prints so many bytes, read them while it runs, and compare them."""
    text = PATTERN.decode().strip()
    printing = f"yes {text} | head -c {size_bytes}"
    limit = {"outputLimit": size_bytes}
    cmd_id = daemon.api.runCmd(VM, "/bin/sh", ["-c", printing], {}, "", "", limit)
    read, digest = 0, hashlib.sha256()
    while read < size_bytes:
        piece = daemon.api.getCmdOutput(cmd_id, "stdout", read, PAGE_BYTES, DEADLINE_S).data
        assert piece, f"there are only {read} bytes"
        digest.update(piece)
        read += len(piece)
    expected = hashlib.sha256()
    block = PATTERN * (MIB // len(PATTERN))
    for _ in range(size_bytes // MIB):
        expected.update(block)
    assert digest.digest() == expected.digest(), "the output differs"
    until_ended(daemon, cmd_id)


def until_ended(daemon: Daemon, cmd_id: str) -> None:
    """Wait without the answer of waitCmd, which holds up to 16 MiB of the output as text."""
    deadline_s = time.monotonic() + DEADLINE_S
    while daemon.api.getCmdDetails(cmd_id)["state"] != "ended":
        assert time.monotonic() < deadline_s, "the command has not ended"
        time.sleep(0.05)


def report(figures: dict[str, Any]) -> None:
    """Print p50 and p99 of each way of running commands."""
    print("\n| commands on `local` | p50 | p99 | n |\n|---|---|---|---|")
    for name in ("single_s", "at_once_s", "guests_s", "on_all_s", "bare_s"):
        values = figures[name]
        p50, p99 = quantile(values, 0.5) * 1e3, quantile(values, 0.99) * 1e3
        print(f"| {name} | {p50:.1f} ms | {p99:.1f} ms | {len(values)} |")


if __name__ == "__main__":
    main()
