"""What the benchmarks share: quantiles, memory of processes, what else the machine was doing."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.integration.daemon import Daemon, until

MIB = 1 << 20


def quantile(values: Sequence[float], part: float) -> float:
    """Return the value below which this part of the values lies: 0.5 is the median."""
    return sorted(values)[min(len(values) - 1, int(len(values) * part))]


def rss_mib(process: psutil.Process) -> float:
    """Return how much memory a process has in MiB."""
    return float(process.memory_info().rss) / MIB


def agent_of(daemon: Daemon) -> psutil.Process:
    """Return the agent's process of a daemon that has one `local` guest."""
    mark = str(daemon.dir / "state" / "local")

    def look() -> psutil.Process | None:
        for process in psutil.process_iter(["cmdline"]):
            if any(mark in word for word in process.info["cmdline"] or ()):
                return process
        return None

    found = until(look, "the agent's process")
    assert isinstance(found, psutil.Process)
    return found


class Surroundings:
    """What else the machine did while something was measured: others' work makes figures noisy."""

    def __init__(self) -> None:
        self._begun_s = time.time()
        self._load_before = os.getloadavg()[0]

    def noted(self) -> dict[str, Any]:
        """Return when it was, how long it took, and the load averages of a minute."""
        return {
            "begun": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self._begun_s)),
            "took_s": round(time.time() - self._begun_s, 1),
            "processors": os.cpu_count(),
            "load_before": self._load_before,
            "load_after": os.getloadavg()[0],
        }


def write_json(out: Path, name: str, result: dict[str, Any]) -> None:
    """Write what was measured to a file of the directory `out`, and say so."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / name
    path.write_text(json.dumps(result, indent=1))
    print(f"\nwritten: {path}", flush=True)
