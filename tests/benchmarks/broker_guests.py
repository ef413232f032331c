"""A thousand agents, and one hostile guest among neighbours: what our broker makes of them."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Any

from tests.benchmarks.broker_process import GUESTS_PASSCODE
from tests.benchmarks.hostile import KINDS
from tests.benchmarks.stomp_clients import LOOPBACK, Session, cpu_s, forget_peak, frame, memory_kib
from tests.integration.brokers import HOST, Broker
from vmcontroller.common.destinations import CONNECTIONS, REQUESTS, RESPONSES, requests_of
from vmcontroller.common.model import GuestId

AGENTS = 1000
BEACON_S = 10.0
PINGS = 400
PING_PAUSE_S = 0.005
HOSTILE_NUMBER = 0xFFFF
NICE = ("nice", "-n", "19")


def agent_id(number: int) -> GuestId:
    """Return the id, which is also the login, of an agent."""
    return GuestId(f"52:54:00:00:{number >> 8:02X}:{number & 255:02X}")


async def agents(broker: Broker, watched_s: float) -> dict[str, Any]:
    """Connect a thousand, watch them send beacons, then let all answer one broadcast."""
    pid = _pid(broker)
    host = await Session.open(broker.port, *HOST, CONNECTIONS, RESPONSES)
    before_kib = memory_kib(pid)
    sessions: list[Session] = []
    for first in range(0, AGENTS, 50):
        sessions += await asyncio.gather(
            *(
                Session.open(
                    broker.port,
                    (guest := agent_id(n)),
                    GUESTS_PASSCODE,
                    REQUESTS,
                    requests_of(guest),
                )
                for n in range(first, first + 50)
            )
        )
    beacons = [asyncio.create_task(_beacon(s, n)) for n, s in enumerate(sessions)]
    beacons.append(asyncio.create_task(_beat(host)))
    await asyncio.sleep(2)
    used_s, begun = cpu_s(pid), time.perf_counter()
    heard = host.frames
    await asyncio.sleep(watched_s)
    core = (cpu_s(pid) - used_s) / (time.perf_counter() - begun)
    beacons_per_s = (host.frames - heard) / watched_s
    per_agent_kib = (memory_kib(pid) - before_kib) / AGENTS
    for task in beacons:
        task.cancel()
    rounds = [await _broadcast(host, sessions) for _ in range(5)]
    for session in (host, *sessions):
        session.transport.abort()
    return {
        "core": core,
        "beacons_per_s": beacons_per_s,
        "per_agent_kib": per_agent_kib,
        "broadcast_s": rounds,
    }


async def _beacon(session: Session, number: int) -> None:
    beacon = frame("SEND", b"STILL_ALIVE 0.1", destination=CONNECTIONS)
    await asyncio.sleep(BEACON_S * number / AGENTS)
    while True:
        session.send(beacon)
        await asyncio.sleep(BEACON_S)


async def _beat(session: Session) -> None:
    while True:
        session.send(b"\n")
        await asyncio.sleep(BEACON_S)


async def _broadcast(host: Session, sessions: list[Session]) -> float:
    """Return how long it took from the question to the last answer."""
    answer = frame("SEND", b"PONG 1", destination=RESPONSES)
    for session in sessions:
        session.on_frame = lambda each: each.send(answer)
    await asyncio.sleep(0.2)
    host.frames = 0
    begun = time.perf_counter()
    host.send(frame("SEND", b"PING 1", destination=REQUESTS))
    await host.until(len(sessions))
    return time.perf_counter() - begun


async def hostile(
    broker: Broker,
    kinds: Iterable[str] = tuple(KINDS),
    *,
    elsewhere: Sequence[str] = (),
    address: str = LOOPBACK,
) -> dict[str, Any]:
    """Measure a neighbour's ping alone and beside each kind of hostile guest, in turns.

    The hostile one connects to `address`; the words `elsewhere` run a command where it is.
    """
    pid = _pid(broker)
    host = await Session.open(broker.port, *HOST, RESPONSES)
    neighbour = agent_id(1)
    agent = await Session.open(broker.port, neighbour, GUESTS_PASSCODE, requests_of(neighbour))
    pong = frame("SEND", b"PONG 1", destination=RESPONSES)
    agent.on_frame = lambda each: each.send(pong)
    await _pings(host, neighbour)  # warm
    figures: dict[str, Any] = {}
    for kind in kinds:
        alone = await _pings(host, neighbour)
        before_kib = memory_kib(pid)
        forget_peak(pid)
        guest = agent_id(HOSTILE_NUMBER)
        program = [sys.executable, "-m", "tests.benchmarks.hostile"]
        # It has a processor of its own in reality: it must not take the broker's here.
        process = subprocess.Popen(  # noqa: ASYNC220 - it takes a millisecond
            [*elsewhere, *NICE, *program, kind, str(broker.port), guest, "4", address],
            stdout=subprocess.PIPE,
        )
        await asyncio.sleep(0.8)
        talking = asyncio.create_task(_talk_to(host, guest)) if kind == "stops reading" else None
        beside = await _pings(host, neighbour)
        if talking is not None:
            talking.cancel()
        figures[kind] = {
            "alone_ms": _percentiles(alone),
            "beside_ms": _percentiles(beside),
            "more_mib": (memory_kib(pid, "VmHWM") - before_kib) / 1024,
            "times": await asyncio.to_thread(_ended, process),
        }
    for session in (host, agent):
        session.transport.abort()
    return figures


async def _talk_to(host: Session, guest: GuestId) -> None:
    """Send a guest what it doesn't read: 5 MiB in a second."""
    message = frame("SEND", b"x" * (1 << 18), destination=requests_of(guest))
    while True:
        host.send(message)
        await asyncio.sleep(0.05)


async def _pings(host: Session, guest: GuestId) -> list[float]:
    ping = frame("SEND", b"PING 1", destination=requests_of(guest))
    taken = []
    for _ in range(PINGS):
        host.frames = 0
        begun = time.perf_counter()
        host.send(ping)
        await host.until(1)
        taken.append((time.perf_counter() - begun) * 1000)
        await asyncio.sleep(PING_PAUSE_S)
    return taken


def _percentiles(values: list[float]) -> dict[str, float]:
    hundredths = statistics.quantiles(values, n=100)
    return {"p50": hundredths[49], "p99": hundredths[98]}


def _ended(process: subprocess.Popen[bytes]) -> str:
    try:
        out, _ = process.communicate(timeout=6)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return "held"
    return out.decode().strip()


def _pid(broker: Broker) -> int:
    assert broker.process is not None
    return broker.process.pid
