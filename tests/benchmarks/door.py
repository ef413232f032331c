"""The door beside a bare Twisted XML-RPC server, and under attack: scripts/bench door.

Calls per second of getState on a `local` VM that is off, against an echo, in turns; 200 clients at
once; and what three attacks do to another caller's waits.
"""

from __future__ import annotations

import argparse
import base64
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
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

    def rates(self, rounds: int) -> dict[str, list[float]]:
        """Return calls per second of each way, in turns."""
        found: dict[str, list[float]] = {name: [] for name in self.ways}
        for number in range(rounds + 1):
            for name, (address, call) in self.ways.items():
                got = load(address, call, clients=CLIENTS, seconds=self.seconds)
                assert not got.refused, f"{name}: {got.refused} were refused"
                if number:  # the first is for warming up
                    found[name].append(got.rate)
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
        kinds: dict[str, Callable[[threading.Event], None]] = {
            "256 MB body": lambda over: _again(over, address, _huge_body),
            "1 MB entity body": lambda over: _again(over, address, _entity_body),
            "1,000 slow connections": lambda over: _slow(over, address),
        }
        found: dict[str, dict[str, Any]] = {"idle": self._other(address)}
        for name, attack in kinds.items():
            over = threading.Event()
            thread = threading.Thread(target=attack, args=(over,))
            thread.start()
            try:
                found[name] = self._other(address)
            finally:
                over.set()
                thread.join()
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


def _address(daemon: Daemon) -> tuple[str, int]:
    host, port = daemon.url.split("/")[2].rpartition("@")[2].split(":")
    return host, int(port)


def _again(
    over: threading.Event, address: tuple[str, int], attack: Callable[[socket.socket], None]
) -> None:
    while not over.is_set():
        with socket.create_connection(address, 30) as wire:
            attack(wire)


def _huge_body(wire: socket.socket) -> None:
    announced = attacks.head(f"Content-Length: {256 * attacks.MIB}")
    attacks.send_endlessly(wire, announced, 256 * attacks.MIB)


def _entity_body(wire: socket.socket) -> None:
    wire.sendall(attacks.of_length(attacks.entity_body()))
    assert b"document type" in wire.recv(1 << 16)


def _slow(over: threading.Event, address: tuple[str, int]) -> None:
    with attacks.slow_connections(address, 1000, attacks.head()[:40]) as wires:
        while not over.wait(0.5):
            for wire in wires:
                try:
                    wire.sendall(b"x")
                except OSError:
                    continue


def _summary(got: Load) -> dict[str, float]:
    return {
        "rate": got.rate,
        "refused": got.refused,
        "p50_ms": quantile(got.waits_ms, 0.5),
        "p99_ms": quantile(got.waits_ms, 0.99),
    }


def report(figures: dict[str, Any]) -> None:
    """Print what was measured as rows of tables."""
    bare = statistics.median(figures["rates"]["bare echo"])
    print(f"\n| getState, {CLIENTS} clients | calls/s | to the echo (wanted {WANTED}) |")
    print("|---|---|---|")
    for name, rates in figures["rates"].items():
        median = statistics.median(rates)
        print(f"| {name} | {median:.0f} | {median / bare:.2f} |")
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
