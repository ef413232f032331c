"""A guest that connects and disconnects without end, in a network of its own as real guests are.

From loopback connections are not counted, so this takes two network namespaces with a wire between
them: one for the broker, its other peers and the measuring, one for the hostile guest. They are
removed at the end. Each has a processor of its own where there are two. `python -m
tests.benchmarks.churn` is the part that runs in the first.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks import broker_guests
from tests.benchmarks.hostile import CHURNS
from tests.integration.brokers import Broker, OwnBroker

_BROKER, _GUEST = (f"vmcbench{os.getpid()}{end}" for end in "bg")
_ADDRESS, _GUEST_ADDRESS = "10.111.0.1", "10.111.0.2"


class BenchBroker(OwnBroker):
    """Ours, as broker_process.py runs it, on loopback and these addresses."""

    def __init__(self, *addresses: str) -> None:
        self._addresses = addresses

    def command(self, home: Path, port: int) -> tuple[list[str], dict[str, str]]:
        """Return the command."""
        _, environment = super().command(home, port)
        program = [sys.executable, "-m", "tests.benchmarks.broker_process"]
        return [*program, str(port), *self._addresses], environment


def why_not() -> str:
    """Return why it cannot be measured here, or nothing."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "iproute2 is not installed"
    try:
        with networks():
            return ""
    except subprocess.CalledProcessError as error:
        return f"no network namespaces here: {error}"


@contextlib.contextmanager
def networks() -> Iterator[None]:
    """Make both namespaces and the wire; remove them whatever happens."""
    try:
        for name in (_BROKER, _GUEST):
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        end = ("type", "veth", "peer", "name", "wire", "netns", _GUEST)
        _ip("-n", _BROKER, "link", "add", "wire", *end)
        for name, address in ((_BROKER, _ADDRESS), (_GUEST, _GUEST_ADDRESS)):
            _ip("-n", name, "address", "add", f"{address}/30", "dev", "wire")
            _ip("-n", name, "link", "set", "wire", "up")
        yield
    finally:
        for name in (_BROKER, _GUEST):  # the wire goes with them
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def measured(rounds: int) -> dict[str, Any]:
    """Return the figures as broker_guests.hostile does, the median of each over the rounds."""
    with networks():
        command = [*_inside(_BROKER), sys.executable, "-m", __name__, _GUEST, str(rounds)]
        process = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    all_rounds: list[dict[str, Any]] = json.loads(process.stdout)
    return {kind: _medians([each[kind] for each in all_rounds]) for kind in CHURNS}


def _medians(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    result: dict[str, Any] = {
        when: {part: statistics.median(each[when][part] for each in rounds) for part in of}
        for when, of in rounds[0].items()
        if when.endswith("_ms")
    }
    for name in ("more_mib", "times"):
        result[name] = statistics.median(float(each[name]) for each in rounds)
    return result | {"rounds": rounds}


def main(guest: str, rounds: int) -> None:
    """Measure from within the broker's namespace; print the figures of each round."""
    first, *_, last = sorted(os.sched_getaffinity(0)) * 2
    os.sched_setaffinity(0, {first})
    elsewhere = [*_inside(guest), "taskset", "-c", str(last)]
    with Broker(BenchBroker(_ADDRESS)) as broker:
        figures = [
            asyncio.run(
                broker_guests.hostile(broker, CHURNS, elsewhere=elsewhere, address=_ADDRESS)
            )
            for _ in range(rounds)
        ]
    print(json.dumps(figures))


def _inside(name: str) -> list[str]:
    return ["ip", "netns", "exec", name]


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
