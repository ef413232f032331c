"""The backend itself: states of local VMs, and what each operation does to their processes."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import DeferredLock
from twisted.logger import Logger
from typing_extensions import override

from vmcontroller.common import process
from vmcontroller.common.background import in_background
from vmcontroller.common.copying.course import threads_of
from vmcontroller.common.credentials import Credential
from vmcontroller.common.errors import (
    HypervisorError,
    InvalidState,
    NoSuchVM,
    Unsupported,
)
from vmcontroller.common.spawning import StartFailed
from vmcontroller.host.hypervisor.base import AgentAddress, Capability, Vm, VmChanged, VmDetails
from vmcontroller.host.hypervisor.local import console, processes, snapshots, store
from vmcontroller.host.hypervisor.local.keeping import Keeping
from vmcontroller.host.hypervisor.local.machine import Machine
from vmcontroller.host.hypervisor.local.observation import Observation
from vmcontroller.host.hypervisor.needs import check_supported
from vmcontroller.host.hypervisor.specification import VmSpec
from vmcontroller.host.hypervisor.vm_state import VmState


class LocalHypervisor(Observation, Keeping):
    """Local VMs; see the package's docstring."""

    name = "local"
    capabilities = frozenset(
        {
            Capability.ACPI_SHUTDOWN,
            Capability.RESET,
            Capability.SNAPSHOTS,
            Capability.CLONES,
            Capability.FIGURES,
            Capability.CONSOLE_LOG,
        }
    )

    _log = Logger()

    def __init__(self, *, reactor: Any, state_dir: str) -> None:  # Any: three interfaces of it
        Observation.__init__(self, state_dir)
        self._reactor = reactor
        self._in_thread = threads_of(reactor)
        self._store = store.LocalStore(state_dir)
        self._creating = DeferredLock()
        self._machines: dict[str, Machine] = {}
        self._listener: Callable[[VmChanged], None] = lambda _: None

    async def open(self, listener: Callable[[VmChanged], None]) -> None:
        """Take up the VMs of earlier runs; those whose agents still run are watched on."""
        for vm in await self._in_thread(self._store.all):
            machine = self._machines[vm.uuid] = Machine(vm)
            machine.told_login = await self._in_thread(store.told_login, vm)
            await self._in_thread(snapshots.mend, vm)
            agent = await self._in_thread(store.read_process, vm)
            if agent is not None:
                await self._take_up(machine, agent)
        self._listener = listener

    async def close(self) -> None:
        """Watch no more; the agents run on."""
        self._listener = lambda _: None
        for machine in self._machines.values():
            machine.unwatch()
        self._machines.clear()

    async def guest_networks(self) -> tuple[str, ...]:
        """Return loopback: that is where local agents are."""
        return ("127.0.0.1",)

    async def list_vms(self) -> tuple[Vm, ...]:
        """Return every local VM."""
        return tuple(machine.view() for machine in self._machines.values())

    async def create(self, spec: VmSpec) -> Vm:
        """Make a directory from the image's."""
        check_supported(self.name, self.capabilities, spec)
        if spec.network != "nat":
            raise Unsupported(self.name, f"network {spec.network!r}: its VMs share this machine's")
        async with self._creating:  # two of one name at the same time are one too many
            make = partial(self._store.create, uuid=spec.uuid, description=spec.description)
            vm = await self._in_thread(make, spec.name, spec.image)
        machine = self._machines[vm.uuid] = Machine(vm)
        self._report(machine)
        return machine.view()

    async def describe(self, uuid: str) -> VmDetails:
        """Return what there is: a local VM has as much of this machine as it can get."""
        return VmDetails(
            memory_mib=0,
            vcpus=0,
            network="nat",
            firmware="",
            description=self._machine(uuid).vm.description,
            disks=(),
        )

    async def remove(self, uuid: str) -> None:
        """Remove the directory of a VM that is off."""
        machine = self._machine(uuid)
        async with machine.keeping:
            machine.need("remove", VmState.POWERED_OFF, VmState.ABORTED)
            del self._machines[uuid]
            await self._in_thread(self._store.remove, machine.vm)
        await self._in_thread(self._console_files.remove, uuid)
        self._listener(VmChanged(uuid=uuid, name=machine.vm.name, state=None))

    async def tell(self, uuid: str, credential: Credential) -> None:
        """Write it where the agent reads it at each attempt to connect."""
        machine = self._machine(uuid)
        store.write_credential(machine.vm, credential)
        machine.told_login = credential.login

    async def start(self, uuid: str, agent: AgentAddress) -> None:
        """Start the agent."""
        machine = self._machine(uuid)
        machine.need("start", VmState.POWERED_OFF, VmState.ABORTED)
        if machine.sweeping:  # or the new agent would be swept away with what the old one left
            await machine.until_gone()
            machine.need("start", VmState.POWERED_OFF, VmState.ABORTED)
        store.write_agent_config(machine.vm)
        machine.told_login = store.write_environment(machine.vm, agent)
        self._launch(machine)
        self._report(machine)

    async def shutdown(self, uuid: str) -> None:
        """Send the agent SIGTERM: it says BYE and ends."""
        machine = self._machine(uuid)
        machine.need("shutdown", VmState.RUNNING)
        machine.stopping = True
        machine.signal_agent(signal.SIGTERM)

    async def power_off(self, uuid: str) -> None:
        """Kill all its processes."""
        machine = self._machine(uuid)
        machine.need("powerOff", VmState.RUNNING, VmState.PAUSED)
        machine.stopping = True
        await self._kill(machine)

    async def reset(self, uuid: str) -> None:
        """Kill all its processes and start the agent again."""
        machine = self._machine(uuid)
        machine.need("reset", VmState.RUNNING, VmState.PAUSED)
        machine.resetting = True
        try:
            await self._kill(machine)
            self._launch(machine)
        finally:
            machine.resetting = False
            self._report(machine)

    async def pause(self, uuid: str) -> None:
        """Stop all its processes."""
        machine = self._machine(uuid)
        machine.need("pause", VmState.RUNNING)
        await self._in_thread(processes.signal_all, uuid, signal.SIGSTOP, machine.agent)
        self._becomes(machine, VmState.RUNNING, VmState.PAUSED)

    async def resume(self, uuid: str) -> None:
        """Let all its processes go on."""
        machine = self._machine(uuid)
        machine.need("resume", VmState.PAUSED)
        await self._in_thread(processes.signal_all, uuid, signal.SIGCONT, machine.agent)
        self._becomes(machine, VmState.PAUSED, VmState.RUNNING)

    def _launch(self, machine: Machine) -> None:
        vm = machine.vm
        try:
            console.turn_over(vm)
            with console.log_of(vm).open("ab") as log:
                machine.child = process.start(
                    self._reactor,
                    processes.launch(vm, log),
                    lambda exit_: self._ended(machine, clean=exit_.status == 0),
                )
        except (OSError, StartFailed) as error:
            raise HypervisorError(self.name, f"the agent did not start: {error}") from error
        machine.agent = processes.identify(machine.child.pid)
        machine.state = VmState.RUNNING
        machine.stopping = False
        store.write_process(vm, machine.agent)

    async def _take_up(self, machine: Machine, agent: store.AgentProcess) -> None:
        if not processes.is_alive(agent):
            machine.state = VmState.ABORTED
            await self._in_thread(processes.signal_all, machine.vm.uuid, signal.SIGKILL, None)
            return
        machine.agent = agent
        stopped = processes.is_stopped(agent)
        machine.state = VmState.PAUSED if stopped else VmState.RUNNING
        machine.watch = process.watch_exit(
            self._reactor, agent.pid, lambda: self._adopted_ended(machine, agent.pid)
        )

    def _adopted_ended(self, machine: Machine, pid: int) -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)  # ours after all, when a backend was opened anew
        self._ended(machine, clean=False)

    def _ended(self, machine: Machine, *, clean: bool) -> None:
        """Act on the end of an agent, wanted or not; its commands end with it."""
        machine.child = machine.watch = machine.agent = None
        wanted = clean or machine.stopping
        machine.state = VmState.POWERED_OFF if wanted else VmState.ABORTED
        machine.stopping = False
        if wanted:
            store.write_process(machine.vm, None)
        machine.sweeping = True
        _ = in_background(self._sweep(machine), "killing what an agent left")
        if not machine.resetting:
            self._report(machine)

    async def _sweep(self, machine: Machine) -> None:
        try:
            await self._in_thread(processes.signal_all, machine.vm.uuid, signal.SIGKILL, None)
        finally:
            machine.sweeping = False
            machine.release()

    @override
    async def _kill(self, machine: Machine) -> None:
        gone = machine.until_gone()
        await self._in_thread(processes.signal_all, machine.vm.uuid, signal.SIGKILL, machine.agent)
        await gone

    def _becomes(self, machine: Machine, before: VmState, after: VmState) -> None:
        if machine.state is not before:  # it ended meanwhile
            raise InvalidState(machine.vm.name, machine.state, after, before)
        machine.state = after
        self._report(machine)

    @override
    def _machine(self, uuid: str) -> Machine:
        if uuid not in self._machines:
            raise NoSuchVM(uuid)
        return self._machines[uuid]

    @override
    def _report(self, machine: Machine) -> None:
        self._listener(VmChanged(uuid=machine.vm.uuid, name=machine.vm.name, state=machine.state))
