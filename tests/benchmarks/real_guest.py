"""Start to HELLO, a command and a copy, beside qemu-guest-agent in the same guest and run."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.guest_agent import GuestAgent
from tests.integration.daemon import DEADLINE_S, Daemon, until

VM = "vmctest-bench"
COPY_BYTES = 20_000_000


def main() -> None:
    """Measure, print a table, write JSON and a plot."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument(
        "--rounds", type=int, default=5, help="of starts and copies; commands ten times as many"
    )
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"))
    arguments = parser.parse_args()
    daemon = Daemon("libvirt").start()
    try:
        disk = daemon.dir / "disk.qcow2"
        shutil.copyfile(arguments.image / "disk.qcow2", disk)
        daemon.api.createVM(VM, str(disk))
        figures = measure(daemon, arguments.rounds)
    finally:
        daemon.stop()
    report(figures, arguments.out)


def measure(daemon: Daemon, rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each round, by what was measured."""
    figures: dict[str, list[float]] = {}

    def note(name: str, work: Callable[[], Any]) -> None:
        begun = time.perf_counter()
        work()
        figures.setdefault(name, []).append(time.perf_counter() - begun)
        print(f"  {name}: {figures[name][-1]:.4f} s", flush=True)

    for number in range(rounds):
        if number:
            daemon.api.powerOff(VM)
        note("start to HELLO", lambda: (daemon.api.start(VM), daemon.api.ping(VM, DEADLINE_S)))
    peer = GuestAgent(VM)
    until(lambda: answers(peer), "qemu-guest-agent answers")
    for _ in range(rounds * 10):  # interleaved: a noisy minute is noisy for both
        note("/bin/true, VMController", lambda: daemon.run(VM, "/bin/true"))
        note("/bin/true, qemu-guest-agent", lambda: peer.run("/bin/true"))
    sent, back = daemon.exchange / "sent", daemon.exchange / "back"
    sent.write_bytes(os.urandom(COPY_BYTES))
    for _ in range(rounds):
        note("20 MB in, VMController", lambda: daemon.api.cpFileToVM(VM, str(sent), "/tmp/a"))
        note("20 MB in, qemu-guest-agent", lambda: peer.write(sent, "/tmp/b"))
        note("20 MB out, VMController", lambda: daemon.api.cpFileFromVM(VM, "/tmp/a", str(back)))
        note("20 MB out, qemu-guest-agent", lambda: peer.read("/tmp/b", back))
        if back.read_bytes() != sent.read_bytes():
            raise AssertionError("the copies differ")
    return figures


def answers(peer: GuestAgent) -> bool:
    """Say whether qemu-guest-agent is up."""
    try:
        peer.call("guest-ping")
    except Exception:  # noqa: BLE001 - whatever it is, it is not up
        return False
    return True


def report(figures: dict[str, list[float]], out: Path) -> None:
    """Print medians and ratios; write what was measured."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    print(f"\n{'':32}{'median':>10}{'min':>10}{'max':>10}{'n':>5}")
    for name, values in figures.items():
        row = (medians[name], min(values), max(values))
        print(f"{name:32}{row[0]:9.4f}s{row[1]:9.4f}s{row[2]:9.4f}s{len(values):5}")
    print()
    ratios = {}
    for name, median in medians.items():
        what, _, who = name.partition(", ")
        if who == "VMController":
            ratios[what] = median / medians[f"{what}, qemu-guest-agent"]
            print(f"{what}: {ratios[what]:.2f} of qemu-guest-agent's time")
    out.mkdir(parents=True, exist_ok=True)
    result = {"seconds": figures, "medians": medians, "ratios": ratios}
    (out / "real-guest.json").write_text(json.dumps(result, indent=1))
    plot(figures, out / "real-guest.png")
    print(f"\nwritten: {out}/real-guest.json, {out}/real-guest.png")


def plot(figures: dict[str, list[float]], path: Path) -> None:
    """Draw each figure's rounds as a box; the scale is logarithmic."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    _, axes = plt.subplots(figsize=(9, 4))
    axes.boxplot(list(figures.values()), orientation="horizontal", widths=0.6)
    axes.set_yticks(range(1, len(figures) + 1), list(figures))
    axes.set_xscale("log")
    axes.set_xlabel("seconds")
    axes.set_title("VMController and qemu-guest-agent in the same guest")
    plt.tight_layout()
    plt.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
