"""The processes of local VMs: found, stopped, continued, killed. Blocks; called in threads.

A VM's processes are its agent and whatever that started, told by a variable in their
environment, so that those are found too whose parent has gone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import BinaryIO

import psutil

from vmcontroller.common.spawning import Launch
from vmcontroller.host.hypervisor.local.store import AgentProcess, LocalVm

MARK = "VMCONTROLLER_LOCAL_VM"
ROUNDS = 10
"""How often a tree is read again while it forks under the signals."""


def launch(vm: LocalVm, log: BinaryIO) -> Launch:
    """Say how a VM's agent is started."""
    return Launch(
        argv=[sys.executable, "-m", "vmcontroller.guest.main", "-c", str(vm.home / "guest.yaml")],
        env={**os.environ, MARK: vm.uuid, "HOME": str(vm.root), "PYTHONPATH": _package_path()},
        cwd=str(vm.root),
        stdout=log.fileno(),
        stderr=log.fileno(),
    )


def identify(pid: int) -> AgentProcess:
    """Return a running process with the time it was made; psutil.Error when it is gone."""
    return AgentProcess(pid=pid, made_s=psutil.Process(pid).create_time())


def is_alive(process: AgentProcess) -> bool:
    """Whether this very process still runs (a zombie does not)."""
    with contextlib.suppress(psutil.Error):
        found = psutil.Process(process.pid)
        return bool(
            abs(found.create_time() - process.made_s) < 0.01
            and found.status() != psutil.STATUS_ZOMBIE
        )
    return False


def is_stopped(process: AgentProcess) -> bool:
    """Whether it is held by SIGSTOP."""
    with contextlib.suppress(psutil.Error):
        return bool(psutil.Process(process.pid).status() == psutil.STATUS_STOPPED)
    return False


def signal_all(vm_uuid: str, number: signal.Signals, agent: AgentProcess | None) -> None:
    """Send a signal to every process of a VM, those included that are forked meanwhile.

    Its `agent`, where it has one, is signalled by its pid: for a moment after its exec it shows
    no environment.
    """
    done: set[tuple[int, float]] = set()
    if agent is not None and is_alive(agent):
        with contextlib.suppress(psutil.Error):
            psutil.Process(agent.pid).send_signal(number)
            done.add((agent.pid, agent.made_s))
    for _ in range(ROUNDS):
        new = [found for found in _of(vm_uuid) if (found.pid, found.create_time()) not in done]
        if not new:
            return
        for found in new:
            with contextlib.suppress(psutil.Error):
                found.send_signal(number)
                done.add((found.pid, found.create_time()))


def _of(vm_uuid: str) -> list[psutil.Process]:
    needle = f"{MARK}={vm_uuid}".encode()
    found = []
    for pid in psutil.pids():
        try:
            environment = Path(f"/proc/{pid}/environ").read_bytes()
            if needle in environment.split(b"\0"):
                found.append(psutil.Process(pid))
        except (OSError, psutil.Error):
            continue  # gone meanwhile, or not ours to read
    return found


def _package_path() -> str:
    """Let the agent import the same package, wherever its working directory is."""
    return os.pathsep.join(path for path in (str(_PACKAGE), os.environ.get("PYTHONPATH")) if path)


_PACKAGE = Path(__file__).resolve().parents[4]
