"""Our broker beside RabbitMQ and ActiveMQ in one run, and hostile guests: scripts/bench brokers."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks import broker_guests, churn
from tests.benchmarks.churn import BenchBroker
from tests.integration.brokers import HOST, ActiveMq, Broker, RabbitMq

CLIENT = Path("../shared/stomp/bench.py")
IDLE = 5000
ROWS = {
    # what is measured: its place in the client's answer, and whether more is better
    "256-byte bodies, messages/s": ("small", "msg_s", True),
    "1 MiB bodies, MB/s": ("big", "MB_s", True),
    "request and reply, p50, µs": ("rtt", "p50_us", False),
    "request and reply, p99, µs": ("rtt", "p99_us", False),
    "processor time for a 256-byte message, µs": ("small", "broker_cpu_us_per_msg", False),
    "processor time for a 1 MiB message, µs": ("big", "broker_cpu_us_per_msg", False),
}
Figures = dict[str, dict[str, list[float]]]


def main() -> None:
    """Measure, print a table, write JSON and a plot."""
    parser = argparse.ArgumentParser(prog="scripts/bench brokers")
    parser.add_argument("--client", type=Path, default=CLIENT, help="the raw client, bench.py")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"))
    arguments = parser.parse_args()
    if not arguments.client.is_file():
        print(f"{arguments.client} is not there; --client names it", file=sys.stderr)
        sys.exit(2)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    result: dict[str, Any] = {"side by side": side_by_side(arguments.client, arguments.rounds)}
    result["idle"] = {
        recipe.name: idle(arguments.client, recipe) for recipe in (BenchBroker(), RabbitMq())
    }
    with Broker(BenchBroker()) as broker:
        result["agents"] = asyncio.run(broker_guests.agents(broker, 20))
    with Broker(BenchBroker()) as broker:
        result["hostile"] = asyncio.run(broker_guests.hostile(broker))
    reason = churn.why_not()
    if reason:
        print(f"a guest that comes and goes is left out: {reason}")
    else:
        result["hostile"] |= churn.measured(arguments.rounds)
    report(result)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "brokers.json").write_text(json.dumps(result, indent=1))
    plot(result["side by side"], arguments.out / "brokers.png")
    print(f"\nwritten: {arguments.out}/brokers.json, {arguments.out}/brokers.png")


def side_by_side(client: Path, rounds: int) -> Figures:
    """Return the figures of each round, by row and by broker, interleaved."""
    figures: Figures = {}
    with Broker(BenchBroker()) as own, Broker(RabbitMq()) as rabbit, Broker(ActiveMq()) as active:
        for number in range(rounds + 1):
            for broker in (own, rabbit, active):
                answer = ask(client, broker, "--tests", "small,rtt", "--small", "50000")
                # Fewer at once than a broker lets wait for one consumer (ours: 8 MiB).
                answer |= ask(client, broker, "--tests", "big", "--window", "6")
                for row, (test, key, _) in ROWS.items() if number else ():  # the first is warm-up
                    value = float(answer[test][key])
                    figures.setdefault(row, {}).setdefault(broker.name, []).append(value)
    return figures


def idle(client: Path, recipe: BenchBroker | RabbitMq) -> dict[str, float]:
    """Return what so many silent connections cost a new broker."""
    with Broker(recipe) as broker:
        answer = ask(client, broker, "--tests", "idle", "--idle", str(IDLE), "--limit", "120")
        figures: dict[str, float] = answer["idle"]
        return figures


def ask(client: Path, broker: Broker, *options: str) -> dict[str, Any]:
    """Run the client against one broker; return its answer."""
    assert broker.process is not None
    with tempfile.NamedTemporaryFile("r") as out:
        where = ["--port", str(broker.port), "--pid", str(broker.process.pid)]
        login = ["--login", HOST[0], "--passcode", HOST[1], "--label", broker.name]
        subprocess.run(
            [sys.executable, str(client), *where, *login, *options, "--json", out.name], check=True
        )
        answer: dict[str, Any] = json.loads(out.read())
    for test, figures in answer.items():
        if str(figures).startswith("FAILED"):
            raise SystemExit(f"{broker.name}, {test}: {figures}")
    return answer


def report(result: dict[str, Any]) -> None:
    """Print medians and ratios."""
    print(f"\n{'median of each':44}{'own':>10}{'rabbitmq':>10}{'activemq':>10}{'ratio':>8}")
    for row, by_broker in result["side by side"].items():
        own, *others = (statistics.median(values) for values in by_broker.values())
        best = (max if ROWS[row][2] else min)(others)
        numbers = "".join(f"{value:10.0f}" for value in (own, *others))
        print(f"{row:44}{numbers}{own / best:8.2f}")
    print("ratio: ours to the better of the two\n")
    for name, figures in result["idle"].items():
        taken_mib = figures["rss_subscribed"] - figures["rss0"]
        print(
            f"{IDLE} idle connections, {name}: {taken_mib:.1f} MiB more, "
            f"{figures['rss_subscribed']:.1f} in all, {figures['KiB_per_conn']:.1f} KiB each"
        )
    agents = result["agents"]
    print(
        f"{broker_guests.AGENTS} agents: {agents['core'] * 100:.1f} % of a core, "
        f"{agents['per_agent_kib']:.1f} KiB each, {agents['beacons_per_s']:.0f} beacons/s; a "
        f"broadcast answered in {statistics.median(agents['broadcast_s']):.3f} s"
    )
    for kind, figures in result["hostile"].items():
        alone, beside = figures["alone_ms"]["p99"], figures["beside_ms"]["p99"]
        reached = "reached" if beside <= alone * 1.1 + 1 else "NOT reached"
        print(
            f"{kind} ({figures['times']} times): neighbour's ping p99 {alone:.2f} ms alone, "
            f"{beside:.2f} beside ({reached}); {figures['more_mib']:+.1f} MiB"
        )


def plot(figures: Figures, path: Path) -> None:
    """Draw the rounds of each row as boxes, one plot a row."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    _, axes = plt.subplots(1, 4, figsize=(14, 4))
    for axis, (row, by_broker) in zip(axes, figures.items(), strict=False):
        axis.boxplot(list(by_broker.values()), widths=0.6)
        axis.set_xticks(range(1, len(by_broker) + 1), list(by_broker))
        axis.set_title(row, fontsize=9)
        axis.set_ylim(bottom=0)
    plt.tight_layout()
    plt.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
