"""A daemon in memory; its guests know the wrapper's scripts, and time is what is waited."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from vmcontroller.client.boinc.messages import Control
from vmcontroller.client.errors import (
    Fault,
    NoSuchCommand,
    NoSuchVM,
)


class Killed(BaseException):
    """The wrapper was killed with -9."""


def fault(name: str, detail: str = "") -> Fault:
    """Return a Fault as the client raises it."""
    known = {"NO_SUCH_VM": NoSuchVM, "NO_SUCH_COMMAND": NoSuchCommand}
    return known.get(name, Fault)(1, name, detail)


@dataclass
class Guest:
    """What is in a VM: its disk, and what runs."""

    files: dict[str, str] = field(default_factory=dict)
    running: dict[str, list[Any]] = field(default_factory=dict)
    """The end file of each task → the seconds it still takes, its exit code, and its command."""
    up_in_s: float = 3.0


@dataclass
class Machine:
    """One VM."""

    state: str = "PoweredOff"
    guest: Guest = field(default_factory=Guest)
    snapshots: dict[str, tuple[str, Guest]] = field(default_factory=dict)
    description: str = ""


class World:
    """The daemon; `call` is what the wrapper sees of it."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.machines: dict[str, Machine] = {}
        self.commands: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []
        self.faults: dict[str, list[Exception]] = {}
        """What the next calls of a method raise."""
        self.kill_at: set[int] = set()
        """The numbers of calls during which it is killed, before or after they are done."""
        self.kill_after: list[str] = []
        """Methods after whose next call it is killed."""
        self.outputs: dict[str, str] = {}
        self.duration_s = 10.0
        self.exit_code = 0
        self.unsupported: set[str] = set()

    def clone(self) -> World:
        return self

    def close(self) -> None:
        pass

    def advance(self, seconds: float) -> None:
        """Let time pass, in the guests that run too."""
        self.now_s += seconds
        for machine in self.machines.values():
            if machine.state == "Running":
                self._run(machine.guest, seconds)

    def _run(self, guest: Guest, seconds: float) -> None:
        guest.up_in_s = max(0.0, guest.up_in_s - seconds)
        for end, task in list(guest.running.items()):
            task[0] -= seconds
            guest.files[f"{end}.steps"] = "x"
            if task[0] <= 0:
                guest.files[end] = f"{task[1]}\n0m0.0s 0m0.0s\n0m{self.duration_s}s 0m0.5s\n"
                del guest.running[end]
                self.commands.get(task[2], {})["state"] = "ended"
                self.commands.get(task[2], {})["exitCodeOrSignal"] = task[1]

    def call(self, method: str, *params: Any, wait_s: float = 0) -> Any:
        self.calls.append(method)
        number = len(self.calls)
        if number in self.kill_at and number % 2:
            raise Killed
        if method in self.unsupported:
            raise fault("UNSUPPORTED", method)
        if self.faults.get(method):
            raise self.faults[method].pop(0)
        answer = getattr(self, f"do_{method}")(*params)
        if method in self.kill_after:
            self.kill_after.remove(method)
            raise Killed
        if number in self.kill_at:
            raise Killed
        return answer

    def _vm(self, vm: str, *states: str) -> Machine:
        if vm not in self.machines:
            raise fault("NO_SUCH_VM", vm)
        machine = self.machines[vm]
        if states and machine.state not in states:
            raise fault("INVALID_STATE", machine.state)
        return machine

    def do_getState(self, vm: str) -> str:
        return self._vm(vm).state

    def do_createVM(self, vm: str, image: str, options: dict[str, Any]) -> list[Any]:
        if vm in self.machines:
            raise fault("VM_EXISTS", vm)
        self.machines[vm] = Machine(description=options.get("description", ""))
        return [True, vm]

    def do_listVMs(self) -> list[str]:
        return list(self.machines)

    def do_getVM(self, vm: str) -> dict[str, Any]:
        return {"description": self._vm(vm).description}

    def do_removeVM(self, vm: str) -> None:
        self._vm(vm, "PoweredOff", "Aborted")
        del self.machines[vm]

    def do_start(self, vm: str) -> None:
        machine = self._vm(vm, "PoweredOff", "Aborted", "Saved")
        if machine.state != "Saved":
            machine.guest.up_in_s = 3.0
        machine.state = "Running"

    def do_pause(self, vm: str) -> None:
        self._vm(vm, "Running").state = "Paused"

    def do_resume(self, vm: str) -> None:
        self._vm(vm, "Paused").state = "Running"

    def do_saveState(self, vm: str) -> None:
        self._vm(vm, "Running", "Paused").state = "Saved"

    def do_discardState(self, vm: str) -> None:
        machine = self._vm(vm, "Saved")
        machine.state = "Running"
        self.do_powerOff(vm)

    def do_powerOff(self, vm: str) -> None:
        machine = self._vm(vm, "Running", "Paused")
        machine.state = "PoweredOff"
        for task in machine.guest.running.values():
            self.commands.get(task[2], {})["state"] = "lost"
        machine.guest.running = {}

    def do_takeSnapshot(self, vm: str, name: str, desc: str) -> None:
        machine = self._vm(vm)
        if name in machine.snapshots:
            raise fault("SNAPSHOT_EXISTS", name)
        machine.snapshots[name] = (machine.state, copy.deepcopy(machine.guest))

    def do_getSnapshots(self, vm: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for name, (state, _) in reversed(self._vm(vm).snapshots.items()):
            found = [{"name": name, "state": state, "children": found}]
        return found

    def do_restoreSnapshot(self, vm: str, name: str) -> None:
        machine = self._vm(vm)
        if name not in machine.snapshots:
            raise fault("NO_SUCH_SNAPSHOT", name)
        machine.state, guest = machine.snapshots[name]
        machine.guest = copy.deepcopy(guest)

    def do_deleteSnapshot(self, vm: str, name: str) -> None:
        if self._vm(vm).snapshots.pop(name, None) is None:
            raise fault("NO_SUCH_SNAPSHOT", name)

    def do_ping(self, vm: str, timeout_s: float) -> str:
        machine = self._vm(vm)
        if machine.state != "Running" or machine.guest.up_in_s > timeout_s:
            self.advance(timeout_s)
            raise fault("GUEST_UNREACHABLE", vm)
        self.advance(machine.guest.up_in_s)
        return f"PONG from {vm}"

    def do_runCmd(self, vm: str, cmd: str, args: list[str], *_: Any) -> str:
        guest = self._vm(vm, "Running").guest
        if guest.up_in_s:
            raise fault("GUEST_UNREACHABLE", vm)
        cmd_id = f"cmd-{len(self.commands)}"
        command = self.commands[cmd_id] = {
            "state": "ended",
            "exitCodeOrSignal": 0,
            "finished": True,
            "out": "",
            "err": "",
        }
        if cmd == "sh" and args[2] == "boinc-task" and f"{args[3]}.runs" in guest.files:
            command["exitCodeOrSignal"] = 125
        elif cmd == "sh" and args[2] == "boinc-task":
            command["state"] = "running"
            guest.files[f"{args[3]}.runs"] = ""
            assert not guest.running, "a second program at the same time"
            guest.running[args[3]] = [self.duration_s, self.exit_code, cmd_id]
        elif cmd == "sh":
            command["out"] = self._probe(guest, args[3])
        elif cmd == "rm":
            for path in args[1:]:
                guest.files.pop(path, None)
        elif cmd == "tail":
            command["out"] = "what it has said\n"
        return cmd_id

    def _probe(self, guest: Guest, end: str) -> str:
        if end in guest.files:
            return f"ended\n{guest.files[end]}"
        if end not in guest.running:
            return "nothing\n"
        used_s = self.duration_s - guest.running[end][0]
        stat = f"7 (sh) S 1 7 7 0 -1 0 0 0 0 0 {int(used_s * 100)} 0 0 0 20\n"
        return f"running 7\n{stat}fraction\n{used_s / self.duration_s}\n"

    def do_waitCmd(self, cmd_id: str, timeout_s: float) -> dict[str, Any]:
        command = self.do_getCmdResults(cmd_id)
        if command["state"] == "running":
            self.advance(min(timeout_s, 1.0))
        return command

    def do_getCmdResults(self, cmd_id: str) -> dict[str, Any]:
        if cmd_id not in self.commands:
            raise fault("NO_SUCH_COMMAND", cmd_id)
        return self.commands[cmd_id]

    def do_forgetCmd(self, cmd_id: str) -> None:
        self.do_getCmdResults(cmd_id)
        del self.commands[cmd_id]

    def do_killCmd(self, cmd_id: str, signal: str) -> None:
        self.do_getCmdResults(cmd_id)

    def do_cpFileToVM(self, vm: str, local: str, remote: str) -> None:
        self._vm(vm, "Running").guest.files[remote] = local

    def do_cpFileFromVM(self, vm: str, remote: str, local: str) -> None:
        self._vm(vm, "Running")
        self.outputs[local.rpartition("/")[2]] = remote


class Client:
    """BOINC's client, as the loop sees it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.control = Control()
        self.told: list[Any] = []
        self.events: list[tuple[float, Any]] = []
        """When what happens: functions of this client."""

    def report(self, status: Any) -> None:
        self.told.append(status)
        while self.events and self.events[0][0] <= self.world.now_s:
            self.events.pop(0)[1](self)

    def rest(self, longest_s: float) -> None:
        self.world.advance(longest_s)
