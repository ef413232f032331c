"""Agents that can be killed and started again without their VM going off, each behind a proxy.

The agent that the backend `local` has started for a VM is put aside (SIGSTOP); one that belongs
to the test logs in with the same credential.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.integration.attacks.scene import agent_pid, home, port_of
from tests.integration.daemon import DEADLINE_S, Daemon, until
from tests.integration.proxy import Proxy


class OwnAgent:
    """The agent of one VM of a daemon, as a process of the test's; `close` leaves nothing."""

    def __init__(self, daemon: Daemon, vm: str) -> None:
        """Make and start the VM, and put its own agent aside."""
        self.daemon = daemon
        self.vm = vm
        daemon.api.createVM(vm, "")
        daemon.api.start(vm)
        daemon.api.ping(vm, DEADLINE_S)
        os.kill(agent_pid(daemon, vm), signal.SIGSTOP)
        self.home = home(daemon, vm)
        self.root = self.home / "own"
        """Where its commands run."""
        self.root.mkdir()
        self.state = self.home / "own-state"
        port = port_of(daemon, vm)
        self.proxy = Proxy(port)
        told = (self.home / "agent.env").read_text()
        env = self.home / "own.env"
        env.write_text(told.replace(f"127.0.0.1:{port}", f"127.0.0.1:{self.proxy.port}"))
        self.config = self.home / "own.yaml"
        self.config.write_text(
            f"vm: {{environment_file: {env}, channel: none, id: {daemon.api.getGuest(vm)['id']}}}\n"
            f"state_dir: {self.state}\n"
        )
        self.log = self.home / "own.log"
        self.session = str(daemon.api.getGuest(vm)["session"])
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the agent's process; `ready` waits for it."""
        program = str(Path(sys.executable).with_name("vmcontroller-guest"))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [program, "-c", str(self.config)],
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def ready(self) -> None:
        """Return when the daemon speaks to the agent that runs now, not to one before it."""

        def session() -> str:
            found = str(self.daemon.api.getGuest(self.vm).get("session", ""))
            return found if found != self.session else ""

        self.session = until(session, f"{self.vm} has come; its log: {self.log}")
        self.daemon.api.ping(self.vm, DEADLINE_S)

    def kill(self) -> None:
        """Kill the agent as a crash would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """End it, and its proxy."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(DEADLINE_S)
        self.proxy.close()
