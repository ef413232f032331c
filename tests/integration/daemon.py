"""A real vmcontroller-host as a process of its own, for integration tests and benchmarks."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

DEADLINE_S = 60
"""For anything that must happen, however slow the machine is."""


def until(done: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Return the first true answer of `done`; fail when none comes."""
    deadline = time.monotonic() + deadline_s
    while time.monotonic() < deadline:
        answer = done()
        if answer:
            return answer
        time.sleep(0.05)
    raise AssertionError(f"not within {deadline_s} s: {what}")


def readable_dir(prefix: str) -> Path:
    """Make a directory that QEMU's own user may pass through, too."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/var/tmp"))
    path.chmod(0o711)
    return path


def free_port() -> int:
    """Return a TCP port that nobody has now: for a daemon that must find its guests again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


class Daemon:
    """One daemon with a directory of its own; `stop` leaves nothing behind."""

    def __init__(
        self,
        hypervisor: str,
        *,
        config: str = "",
        broker: str = "{port: 0}",
        xmlrpc: str = "anonymous: true",
    ) -> None:
        """`xmlrpc`: keys of that section, beside its port and its socket."""
        self._is_local = hypervisor == "local"
        self.dir = readable_dir(f"vmcontroller-test-{hypervisor}-")
        self.log = self.dir / "log"
        self.config = self.dir / "host.yaml"
        self.exchange = self.dir / "state" / "exchange"
        self.config.write_text(
            f"xmlrpc: {{port: 0, socket: {self.dir}/xmlrpc.sock, {xmlrpc}}}\n"
            f"broker: {broker}\nhypervisor: {{name: {hypervisor}}}\n"
            f"state_dir: {self.dir}/state\n{config}"
        )
        self.process: subprocess.Popen[bytes] | None = None
        self.api: Any = None

    def start(self) -> Daemon:
        """Start it, and return when it answers."""
        command = [str(Path(sys.executable).with_name("vmcontroller-host")), "-c", str(self.config)]
        self.log.write_bytes(b"")
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
        port = until(self._port, f"the daemon is ready; its log: {self.log}")
        self.url = f"http://127.0.0.1:{port}/RPC2"
        self._hang_up()
        self.api = self.new_client()
        return self

    def new_client(self) -> Any:
        """Return another client, to be used with `with`: one is for one thread."""
        return xmlrpc.client.ServerProxy(self.url)

    def _hang_up(self) -> None:
        if self.api is not None:
            self.api("close")()
            self.api = None

    def _port(self) -> int | None:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"vmcontroller-host ended:\n{self.log.read_text()}")
        for line in self.log.read_text().splitlines():
            _, ready, port = line.partition("ready: XML-RPC on 127.0.0.1 port ")
            if ready:
                return int(port.split()[0])
        return None

    def kill(self) -> None:
        """Kill it as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """Stop it in order; return its exit status."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(DEADLINE_S)

    def stop(self) -> None:
        """Remove its VMs, stop it, and remove its directory."""
        if self.process is not None and self.process.poll() is None:
            with contextlib.suppress(OSError, xmlrpc.client.Fault):
                for vm in self.created():
                    with contextlib.suppress(xmlrpc.client.Fault):
                        self.api.powerOff(vm)
                    self.api.removeVM(vm)
            self.terminate()
        self._hang_up()
        self._kill_agents()
        shutil.rmtree(self.dir, ignore_errors=True)

    def _kill_agents(self) -> None:
        """End agents of `local` VMs that a daemon which was killed could not power off."""
        place = f"{self.dir}/"
        for process in psutil.process_iter(["cmdline"]):
            if any(word.startswith(place) for word in process.info["cmdline"] or ()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def created(self) -> list[str]:
        """Return the VMs that tests have made with this daemon: others' have disks elsewhere."""
        names = [name for name in self.api.listVMs() if name.startswith("vmctest")]
        return [name for name in names if self._is_local or self._has_disk_here(name)]

    def _has_disk_here(self, vm: str) -> bool:
        disks = self.api.getVM(vm)["disks"]
        return any(disk["path"].startswith(f"{self.dir}/") for disk in disks)

    def run(self, vm: str, cmd: str, *args: str, **options: Any) -> dict[str, Any]:
        """Run a command and return its result."""
        cmd_id = self.api.runCmd(vm, cmd, list(args), {}, "", "", options)
        result = self.api.waitCmd(cmd_id, DEADLINE_S)
        assert result["state"] == "ended", result
        return result

    def output(self, cmd_id: str, stream: str) -> bytes:
        """Return the exact bytes of a stream."""
        data = b""
        while piece := self.api.getCmdOutput(cmd_id, stream, len(data), 2**20).data:
            data += piece
        return data
