"""The peer: qemu-guest-agent in the same guest, as its clients use it (libvirt's passthrough)."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libvirt
import libvirt_qemu

POLL_S = 0.01
CHUNK_BYTES = 64 * 1024
"""Of a file; libvirt's passthrough gives up on a request of 256 KiB ("not available for now")."""


def run_polled(call: Callable[..., Any], path: str) -> int:
    """Run a program; return its exit code. Its status is polled: there is no other way."""
    pid = call("guest-exec", path=path, arg=[], **{"capture-output": True})["pid"]
    while True:
        status = call("guest-exec-status", pid=pid)
        if status["exited"]:
            return int(status["exitcode"])
        time.sleep(POLL_S)


class GuestAgent:
    """qemu-guest-agent of one VM."""

    def __init__(self, vm: str) -> None:
        self._domain = libvirt.open("qemu:///system").lookupByName(vm)

    def call(self, command: str, **arguments: Any) -> Any:
        """Make one call of its protocol."""
        request = json.dumps({"execute": command, "arguments": arguments})
        return json.loads(libvirt_qemu.qemuAgentCommand(self._domain, request, 60, 0))["return"]

    def run(self, path: str) -> int:
        """Run a program; return its exit code."""
        return run_polled(self.call, path)

    def write(self, source: Path, target: str) -> None:
        """Write a file into the guest."""
        handle = self.call("guest-file-open", path=target, mode="w")
        with source.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                encoded = base64.b64encode(chunk).decode()
                self.call("guest-file-write", **{"handle": handle, "buf-b64": encoded})
        self.call("guest-file-flush", handle=handle)
        self.call("guest-file-close", handle=handle)

    def read(self, source: str, target: Path) -> None:
        """Read a file out of the guest."""
        handle = self.call("guest-file-open", path=source, mode="r")
        with target.open("wb") as file:
            while True:
                piece = self.call("guest-file-read", handle=handle, count=CHUNK_BYTES)
                file.write(base64.b64decode(piece["buf-b64"]))
                if piece["eof"]:
                    break
        self.call("guest-file-close", handle=handle)
