"""One table of what commands and copies were measured to cost, and of what was to be reached.

python -m tests.benchmarks.table [--out DIR] reads the JSON files that they have written there.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.measures import quantile

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure: what it is, beside what, what was to be reached, what was measured."""

    what: str
    against: str = ""
    reach: str
    measured: str
    reached: bool

    def __str__(self) -> str:
        """Return it as a row of a table in Markdown."""
        mark = "" if self.reached else " **not reached**"
        return f"| {self.what} | {self.against} | {self.reach} | {self.measured}{mark} |"


def main() -> None:
    """Print the table of what there is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, default=Path(".cache/bench"))
    out = parser.parse_args().out
    print("\n| what | against | reach | measured |\n|---|---|---|---|")
    for name, rows in (
        ("real-guest.json", of_real_guest),
        ("commands.json", of_commands),
        ("copies.json", of_copies),
    ):
        if (out / name).exists():
            for row in rows(json.loads((out / name).read_text())):
                print(row)


def of_real_guest(figures: Json) -> Iterator[Row]:
    """Give the rows of tests/benchmarks/real_guest.py."""
    seconds = {name: statistics.median(values) for name, values in figures["seconds"].items()}
    ours, qga = (seconds[f"/bin/true, {who}"] for who in ("VMController", "qemu-guest-agent"))
    yield Row(
        what="`/bin/true` in the real guest, call to known result",
        against="qemu-guest-agent, 10 ms poll",
        reach="≤ 0.5 x its time",
        measured=f"{ours * 1e3:.1f} ms, {qga * 1e3:.1f} ms: {ours / qga:.2f}",
        reached=ours <= 0.5 * qga,
    )
    for way in ("in", "out"):
        for peer, times in (("scp", 1), ("qemu-guest-agent", 5)):
            ours, its = seconds[f"64 MiB {way}, VMController"], seconds[f"64 MiB {way}, {peer}"]
            yield Row(
                what=f"64 MiB {way}, real guest",
                against=peer,
                reach=f"≥ {times} x its rate",
                measured=f"{ours:.2f} s, {its:.2f} s: {its / ours:.2f} x",
                reached=its >= times * ours,
            )


def of_commands(figures: Json) -> Iterator[Row]:
    """Give the rows of tests/benchmarks/commands.py."""
    single = figures["single_s"]
    p50, p99 = quantile(single, 0.5), quantile(single, 0.99)
    yield Row(
        what="`/bin/true` on `local`, call to known result",
        reach="p50 < 5 ms, p99 < 25 ms",
        measured=f"{p50 * 1e3:.1f} ms, {p99 * 1e3:.1f} ms",
        reached=p50 < 0.005 and p99 < 0.025,
    )
    pair = {name: statistics.median(values) for name, values in figures["guest_agent_s"].items()}
    ours, qga = pair["VMController"], pair["qemu-guest-agent"]
    yield Row(
        what="the same",
        against="qemu-guest-agent on this host, not emulated either, 10 ms poll",
        reach="≤ 0.5 x its time",
        measured=f"{ours * 1e3:.1f} ms, {qga * 1e3:.1f} ms: {ours / qga:.2f}",
        reached=ours <= 0.5 * qga,
    )
    bare = quantile(figures["bare_s"], 0.99)
    yield Row(
        what="200 `/bin/true` at once, by 20 processes that do nothing else",
        against="one command's p99",
        reach="",
        measured=f"{bare * 1e3:.0f} ms: {bare / p99:.1f} x",
        reached=True,
    )
    for what, name in (
        ("50 commands at once in one guest", "at_once_s"),
        ("20 guests x 10 at once, by ten runCmdOnAll", "on_all_s"),
        ("the same by 200 clients of their own", "guests_s"),
    ):
        many = quantile(figures[name], 0.99)
        yield Row(
            what=what,
            against="one command's p99",
            reach="none lost, p99 ≤ 10 x",
            measured=f"of {len(figures[name]):,} none, {many * 1e3:.0f} ms: {many / p99:.1f} x",
            reached=many <= 10 * p99,
        )
    more = figures["memory_mib"]
    yield _memory("1 GiB of command output", more)


def of_copies(figures: Json) -> Iterator[Row]:
    """Give the rows of tests/benchmarks/copies.py."""
    speed = {name: statistics.median(values) for name, values in figures["speed"].items()}
    ways = [name for name in speed if name != "bare TCP"]
    for way in ways:
        ratio = speed[way] / speed["bare TCP"]
        yield Row(
            what=f"1 GiB {way}, `local`, SHA-256 included",
            against="bare Twisted TCP + SHA-256",
            reach="≥ 0.6 of it",
            measured=f"{speed[way]:.0f} MiB/s, {speed['bare TCP']:.0f} MiB/s: {ratio:.2f}",
            reached=ratio >= 0.6,
        )
    for way, more in figures["memory"].items():
        yield _memory(f"4 GiB {way}", more)
    idle = quantile(figures["ping"]["idle"], 0.99)
    for way in ways:
        busy = quantile(figures["ping"][way], 0.99)
        yield Row(
            what=f"ping while 1 GiB is copied {way}",
            against="idle ping",
            reach="p99 ≤ 5 x",
            measured=f"{busy:.1f} ms, {idle:.1f} ms: {busy / idle:.1f} x",
            reached=busy <= 5 * idle,
        )


def _memory(during: str, more: Mapping[str, float]) -> Row:
    return Row(
        what=f"memory of host and agent during {during}",
        against="before it",
        reach="+ ≤ 16 MiB each",
        measured=f"+ {more['host']:.1f} MiB, + {more['agent']:.1f} MiB",
        reached=max(more["host"], more["agent"]) <= 16,
    )


if __name__ == "__main__":
    main()
