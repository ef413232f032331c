"""The peer without emulation: qemu-guest-agent as a process of this machine, as `local` guests are.

Nothing is between it and its client but a Unix socket: no QEMU, no serial port, no libvirt.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.guest_agent import run_polled
from tests.integration.daemon import until


class NativeGuestAgent:
    """One process of it and a client."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._answers = connection.makefile("rb")

    def call(self, command: str, **arguments: Any) -> Any:
        """Make one call of its protocol."""
        request = json.dumps({"execute": command, "arguments": arguments})
        self._connection.sendall(request.encode() + b"\n")
        return json.loads(self._answers.readline())["return"]

    def run(self, path: str) -> int:
        """Run a program; return its exit code."""
        return run_polled(self.call, path)


@contextlib.contextmanager
def native_guest_agent(folder: Path) -> Iterator[NativeGuestAgent]:
    """Start one with its files in `folder`, and stop it in the end."""
    program = shutil.which("qemu-ga") or "/usr/sbin/qemu-ga"
    place = str(folder / "qemu-ga.sock")
    process = subprocess.Popen([program, "-m", "unix-listen", "-p", place, "-t", str(folder)])
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            until(lambda: connection.connect_ex(place) == 0, "qemu-ga listens")
            yield NativeGuestAgent(connection)
    finally:
        process.terminate()
        process.wait()
