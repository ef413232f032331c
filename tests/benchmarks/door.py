"""The door beside a bare Twisted XML-RPC server, and under attack: scripts/bench door.

Calls per second of getState on a `local` VM that is off, against an echo, in turns; 200 clients at
once; and what three attacks do to another caller's waits.
"""

from __future__ import annotations

import argparse
import base64
import multiprocessing
import socket
import statistics
import subprocess
import sys
from contextlib import ExitStack, suppress
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.http_load import Address, Load, load, request
from tests.benchmarks.measures import Surroundings, quantile, rss_mib, write_json
from tests.integration.attacks import door_attacks as attacks
from tests.integration.daemon import Daemon

VM = "vmctest-A bench"
CLIENTS = 8
MANY = 200
PASSWORD = "a-password-of-a-benchmark"
WANTED = 0.7


def main() -> None:
    """Measure, print tables, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"))
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    surroundings = Surroundings()
    with ExitStack() as stack:
        bench = Bench(stack, arguments.seconds)
        figures = {
            "rates": bench.rates(arguments.rounds),
            "many": bench.many(),
            "attacks": bench.attacks(),
        }
    report(figures)
    write_json(arguments.out, "door.json", {"surroundings": surroundings.noted(), **figures})


class Bench:
    """The daemon and the echo, each a process of its own."""

    def __init__(self, stack: ExitStack, seconds: float) -> None:
        self.seconds = seconds
        self.open = _daemon(stack, "anonymous: true")
        self.closed = _daemon(stack, "")
        token = _make_users(self.closed)
        echo = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.bare_xmlrpc"], stdout=subprocess.PIPE
        )
        stack.callback(echo.wait)
        stack.callback(echo.kill)
        assert echo.stdout is not None
        assert self.open.process is not None
        assert self.closed.process is not None
        closed = psutil.Process(self.closed.process.pid)
        self.processes = {
            "bare echo": psutil.Process(echo.pid),
            "anonymous": psutil.Process(self.open.process.pid),
            "password": closed,
            "token": closed,
            "Unix socket": closed,
        }
        pair = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
        self.call = request("getState", VM)
        self.ways: dict[str, tuple[Address, bytes]] = {
            "bare echo": (("127.0.0.1", int(echo.stdout.readline())), self.call),
            "anonymous": (_address(self.open), self.call),
            "password": (
                _address(self.closed),
                request("getState", VM, headers={"Authorization": f"Basic {pair}"}),
            ),
            "token": (
                _address(self.closed),
                request("getState", VM, headers={"Authorization": f"Bearer {token}"}),
            ),
            "Unix socket": (str(self.closed.dir / "xmlrpc.sock"), self.call),
        }

    def rates(self, rounds: int) -> dict[str, dict[str, list[float]]]:
        """Return calls per second of each way, and processor time for one call, in turns."""
        found: dict[str, dict[str, list[float]]] = {
            name: {"per_s": [], "cpu_us": []} for name in self.ways
        }
        for number in range(rounds + 1):
            for name, (address, call) in self.ways.items():
                before_s = _cpu_s(self.processes[name])
                got = load(address, call, clients=CLIENTS, seconds=self.seconds)
                cpu_s = _cpu_s(self.processes[name]) - before_s
                assert not got.refused, f"{name}: {got.refused} were refused"
                if number:  # the first is for warming up
                    found[name]["per_s"].append(got.rate)
                    found[name]["cpu_us"].append(cpu_s / got.answers * 1e6)
        return found

    def many(self) -> dict[str, dict[str, float]]:
        """Return what 200 clients at once get."""
        found = {}
        for name, (address, call) in self.ways.items():
            got = load(address, call, clients=MANY, seconds=3 * self.seconds)
            found[name] = _summary(got)
        return found

    def attacks(self) -> dict[str, dict[str, Any]]:
        """Return another caller's waits, and the daemon's memory, idle and under each attack."""
        address = _address(self.open)
        kinds = {
            "256 MB body": _huge_bodies,
            "1 MB entity body": _entity_bodies,
            "1,000 slow connections": _slow,
        }
        spawned = multiprocessing.get_context("spawn")
        found: dict[str, dict[str, Any]] = {"idle": self._other(address)}
        for name, attack in kinds.items():
            begun, over = spawned.Event(), spawned.Event()
            attacker = spawned.Process(target=attack, args=(address, begun, over))
            attacker.start()
            try:
                assert begun.wait(60), name
                found[name] = self._other(address)
            finally:
                over.set()
                attacker.join()
        return found

    def _other(self, address: Address) -> dict[str, Any]:
        assert self.open.process is not None
        process = psutil.Process(self.open.process.pid)
        before = rss_mib(process)
        got = load(address, self.call, clients=1, seconds=4 * self.seconds, pause_s=0.002)
        return {**_summary(got), "more_mib": rss_mib(process) - before}


def _daemon(stack: ExitStack, xmlrpc: str) -> Daemon:
    daemon = Daemon("local", xmlrpc=xmlrpc or "anonymous: false, users: /nonexistent")
    stack.callback(daemon.stop)
    if not xmlrpc:
        text = daemon.config.read_text().replace("/nonexistent", f"{daemon.dir}/users")
        daemon.config.write_text(text)
    daemon.start()
    with ExitStack() as once:
        root = _Root(once, daemon)
        root.create(VM)
    return daemon


class _Root:
    """Calls on the Unix socket."""

    def __init__(self, stack: ExitStack, daemon: Daemon) -> None:
        self._address = str(daemon.dir / "xmlrpc.sock")
        self._stack = stack

    def create(self, name: str) -> None:
        wire = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        wire.connect(self._address)
        wire.sendall(request("createVM", name, ""))
        answer = wire.recv(1 << 16)
        assert b"<boolean>1</boolean>" in answer, answer


def _make_users(daemon: Daemon) -> str:
    command = [str(Path(sys.executable).with_name("vmcontroller-host")), "-c", str(daemon.config)]
    more = [*command, "passwd", "alice", "--roles", "admin"]
    subprocess.run(more, input=PASSWORD.encode(), check=True, stderr=subprocess.DEVNULL)
    made = subprocess.run(
        [*command, "passwd", "alice", "--token"], capture_output=True, check=True, text=True
    )
    daemon.url = daemon.url.replace("//", f"//alice:{PASSWORD}@")
    daemon.api = daemon.new_client()  # it removes the VM in the end
    return made.stdout.strip()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _address(daemon: Daemon) -> tuple[str, int]:
    host, port = daemon.url.split("/")[2].rpartition("@")[2].split(":")
    return host, int(port)


def _huge_bodies(address: tuple[str, int], begun: Event, over: Event) -> None:
    announced = attacks.head(f"Content-Length: {256 * attacks.MIB}")
    while not over.is_set():
        begun.set()
        with socket.create_connection(address, 30) as wire:
            attacks.send_endlessly(wire, announced, 256 * attacks.MIB)


def _entity_bodies(address: tuple[str, int], begun: Event, over: Event) -> None:
    whole = attacks.of_length(attacks.entity_body())
    while not over.wait(0.1):
        begun.set()
        with socket.create_connection(address, 30) as wire:
            wire.sendall(whole)
            assert b"document type" in wire.recv(1 << 16)


def _slow(address: tuple[str, int], begun: Event, over: Event) -> None:
    with attacks.slow_connections(address, 1000, attacks.head()[:40]) as wires:
        begun.set()
        while not over.wait(0.5):
            for wire in wires:
                with suppress(OSError):
                    wire.sendall(b"x")


def _summary(got: Load) -> dict[str, float]:
    return {
        "rate": got.rate,
        "refused": got.refused,
        "p50_ms": quantile(got.waits_ms, 0.5),
        "p99_ms": quantile(got.waits_ms, 0.99),
    }


def report(figures: dict[str, Any]) -> None:
    """Print what was measured as rows of tables."""
    medians = {
        name: {kind: statistics.median(values) for kind, values in each.items()}
        for name, each in figures["rates"].items()
    }
    bare = medians["bare echo"]
    print(f"\n| getState, {CLIENTS} clients | calls/s | to the echo | CPU a call | to the echo |")
    print("|---|---|---|---|---|")
    for name, each in medians.items():
        print(
            f"| {name} | {each['per_s']:.0f} | {each['per_s'] / bare['per_s']:.2f} | "
            f"{each['cpu_us']:.0f} µs | {bare['cpu_us'] / each['cpu_us']:.2f} |"
        )
    print(f"\n| {MANY} clients at once | calls/s | refused | p50 | p99 |\n|---|---|---|---|---|")
    for name, each in figures["many"].items():
        print(
            f"| {name} | {each['rate']:.0f} | {each['refused']} | {each['p50_ms']:.1f} ms | "
            f"{each['p99_ms']:.1f} ms |"
        )
    idle = figures["attacks"]["idle"]["p99_ms"]
    print(
        "\n| another caller during | p50 | p99 | p99 to idle | memory more |\n|---|---|---|---|---|"
    )
    for name, each in figures["attacks"].items():
        print(
            f"| {name} | {each['p50_ms']:.2f} ms | {each['p99_ms']:.2f} ms | "
            f"{each['p99_ms'] / idle:.1f} | {each['more_mib']:.1f} MiB |"
        )


if __name__ == "__main__":
    main()
