"""Many STOMP sessions in one asyncio program, as light as can be, for the benchmark of brokers."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Self

from vmcontroller.common.stomp.frames import Frame, Version, encode

LOOPBACK = "127.0.0.1"


def frame(command: str, body: bytes = b"", **headers: str) -> bytes:
    """Return a frame of STOMP 1.2; `_` in a header's name is written `-`."""
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    version = Version.V1_0 if command == "CONNECT" else Version.V1_2
    return encode(Frame(command, pairs, body), version)


class Session(asyncio.Protocol):
    """One session. It counts the frames that come (no body may hold a NUL)."""

    def __init__(self) -> None:
        self.frames = 0
        self.on_frame: Callable[[Session], None] = lambda _: None
        self.closed = asyncio.get_running_loop().create_future()
        self.transport: asyncio.Transport
        self._due: tuple[int, asyncio.Future[None]] | None = None

    @classmethod
    async def open(cls, port: int, login: str, passcode: str, *subscriptions: str) -> Self:
        """Connect, subscribe to these, and return when the broker has said so."""
        loop = asyncio.get_running_loop()
        _, session = await loop.create_connection(cls, LOOPBACK, port)
        beats = "10000,10000"
        session.send(
            frame(
                "CONNECT",
                accept_version="1.2",
                host="/",
                heart_beat=beats,
                login=login,
                passcode=passcode,
            )
        )
        await session.until(1)
        for number, destination in enumerate(subscriptions):
            session.send(
                frame("SUBSCRIBE", id=str(number), destination=destination, receipt=str(number))
            )
        await session.until(1 + len(subscriptions))
        session.frames = 0
        return session

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)

    def data_received(self, data: bytes) -> None:
        for _ in range(data.count(0)):
            self.frames += 1
            self.on_frame(self)
        if self._due is not None and self.frames >= self._due[0] and not self._due[1].done():
            self._due[1].set_result(None)

    async def until(self, frames: int) -> None:
        """Return when so many frames have come."""
        if self.frames < frames:
            self._due = frames, asyncio.get_running_loop().create_future()
            await asyncio.wait_for(self._due[1], 60)

    def send(self, octets: bytes) -> None:
        """Write."""
        self.transport.write(octets)


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid: int, name: str = "VmRSS") -> int:
    """Return its resident memory, or with VmHWM the most since `forget_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    raise AssertionError(name)


def forget_peak(pid: int) -> None:
    """Let VmHWM begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
