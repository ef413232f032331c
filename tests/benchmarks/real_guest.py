"""Start to HELLO, a command and copies, beside qemu-guest-agent and scp in the same guest and run.

Interleaved, so that a noisy minute is noisy for all of them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.benchmarks.guest_agent import GuestAgent
from tests.benchmarks.measures import MIB, Surroundings, write_json
from tests.benchmarks.secure_copy import SecureCopy
from tests.integration.daemon import DEADLINE_S, Daemon, until

VM = "vmctest-bench"
COPY_BYTES = 64 * MIB
OURS, QGA, SCP = "VMController", "qemu-guest-agent", "scp"
Figures = dict[str, list[float]]


def main() -> None:
    """Measure, print a table, write JSON and a plot."""
    parser = argparse.ArgumentParser(prog="scripts/bench real-guest")
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5, help="of starts, and of copies")
    parser.add_argument("--slow-rounds", type=int, default=2, help="of copies by qemu-guest-agent")
    parser.add_argument("--commands", type=int, default=200, help="of each of the two")
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"))
    arguments = parser.parse_args()
    around = Surroundings()
    figures: Figures = {}
    daemon = Daemon("libvirt").start()
    try:
        disk = daemon.dir / "disk.qcow2"
        shutil.copyfile(arguments.image / "disk.qcow2", disk)
        daemon.api.createVM(VM, str(disk))
        measure_starts(daemon, figures, arguments.rounds)
        peer = GuestAgent(VM)
        until(lambda: answers(peer), "qemu-guest-agent answers")
        measure_commands(daemon, peer, figures, arguments.commands)
        measure_copies(daemon, peer, figures, arguments.rounds, arguments.slow_rounds)
    finally:
        daemon.stop()
    report(figures)
    write_json(
        arguments.out,
        "real-guest.json",
        {"seconds": figures, "copy_bytes": COPY_BYTES, "surroundings": around.noted()},
    )
    plot(figures, arguments.out / "real-guest.png")


def note(figures: Figures, name: str, work: Callable[[], Any]) -> None:
    """Do something and add the seconds it took."""
    begun_s = time.perf_counter()
    work()
    figures.setdefault(name, []).append(time.perf_counter() - begun_s)


def measure_starts(daemon: Daemon, figures: Figures, rounds: int) -> None:
    """Start the VM so many times; it runs in the end."""
    for number in range(rounds):
        if number:
            daemon.api.powerOff(VM)
        note(
            figures,
            "start to HELLO",
            lambda: (daemon.api.start(VM), daemon.api.ping(VM, DEADLINE_S)),
        )
        print(f"  start to HELLO: {figures['start to HELLO'][-1]:.1f} s", flush=True)


def measure_commands(daemon: Daemon, peer: GuestAgent, figures: Figures, count: int) -> None:
    """Run /bin/true in turns: from the call until the result is known."""
    for number in range(count + 10):
        note(figures, f"/bin/true, {OURS}", lambda: daemon.run(VM, "/bin/true"))
        note(figures, f"/bin/true, {QGA}", lambda: peer.run("/bin/true"))
        if number == 9:  # both are warm
            figures |= {f"/bin/true, {who}": [] for who in (OURS, QGA)}


def measure_copies(
    daemon: Daemon, peer: GuestAgent, figures: Figures, rounds: int, slow_rounds: int
) -> None:
    """Copy 64 MiB each way in turns, and look whether they are the same bytes."""
    scp = SecureCopy(daemon, VM, daemon.dir)
    sent, back = daemon.exchange / "sent", daemon.exchange / "back"
    sent.write_bytes(os.urandom(COPY_BYTES))

    def each_way(who: str, copy_in: Callable[[], Any], copy_out: Callable[[], Any]) -> None:
        for way, copy in (("in", copy_in), ("out", copy_out)):
            name = f"64 MiB {way}, {who}"
            note(figures, name, copy)
            print(f"  {name}: {figures[name][-1]:.2f} s", flush=True)
        if back.read_bytes() != sent.read_bytes():
            raise AssertionError(f"the copies of {who} differ")
        back.unlink()
        daemon.run(VM, "/bin/sh", "-c", "rm -f /tmp/copy; sync")

    for number in range(rounds):
        each_way(
            OURS,
            lambda: daemon.api.cpFileToVM(VM, str(sent), "/tmp/copy"),
            lambda: daemon.api.cpFileFromVM(VM, "/tmp/copy", str(back)),
        )
        each_way(SCP, lambda: scp.write(sent, "/tmp/copy"), lambda: scp.read("/tmp/copy", back))
        if number < slow_rounds:
            each_way(
                QGA, lambda: peer.write(sent, "/tmp/copy"), lambda: peer.read("/tmp/copy", back)
            )


def answers(peer: GuestAgent) -> bool:
    """Say whether qemu-guest-agent is up."""
    try:
        peer.call("guest-ping")
    except Exception:  # noqa: BLE001 - whatever it is, it is not up
        return False
    return True


def report(figures: Figures) -> None:
    """Print medians, and their ratios to those of the peers."""
    medians = {name: statistics.median(values) for name, values in figures.items()}
    print(f"\n{'':32}{'median':>10}{'min':>10}{'max':>10}{'n':>5}")
    for name, values in figures.items():
        row = (medians[name], min(values), max(values))
        print(f"{name:32}{row[0]:9.4f}s{row[1]:9.4f}s{row[2]:9.4f}s{len(values):5}")
    print()
    for name, median in medians.items():
        what, _, who = name.partition(", ")
        if who in {QGA, SCP}:
            print(f"{what}: {medians[f'{what}, {OURS}'] / median:.2f} of the time of {who}")


def plot(figures: Figures, path: Path) -> None:
    """Draw each figure's rounds as a box; the scale is logarithmic."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    _, axes = plt.subplots(figsize=(9, 5))
    axes.boxplot(list(figures.values()), orientation="horizontal", widths=0.6)
    axes.set_yticks(range(1, len(figures) + 1), list(figures))
    axes.set_xscale("log")
    axes.set_xlabel("seconds")
    axes.set_title("VMController, scp and qemu-guest-agent in the same guest")
    plt.tight_layout()
    plt.savefig(path, dpi=110)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
