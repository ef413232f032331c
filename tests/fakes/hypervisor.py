"""A hypervisor in memory, for unit tests of what stands on one; the contract verifies it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import uuid4

from tests.fakes.keeping import FakeKeeping, Kept
from tests.fakes.observing import FakeObserving
from vmcontroller.common.credentials import Credential
from vmcontroller.common.errors import (
    BadArgument,
    HypervisorUnreachable,
    InvalidState,
    NoSuchVM,
    VMExists,
)
from vmcontroller.host.hypervisor.base import (
    AgentAddress,
    Capability,
    Vm,
    VmChanged,
    VmDetails,
    VmDisk,
)
from vmcontroller.host.hypervisor.needs import check_supported
from vmcontroller.host.hypervisor.specification import NETWORKS, VmSpec
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.names import check_new_name

OFF = (VmState.POWERED_OFF, VmState.ABORTED, VmState.SAVED)
ON = (VmState.RUNNING, VmState.PAUSED)


def disks_of(spec: VmSpec) -> tuple[VmDisk, ...]:
    """Return the disks of a machine as a listing has them."""
    written = [spec.disk] if spec.disk is not None else []
    written += [extra.image for extra in spec.disks]
    read = [path for path in (spec.cdrom, spec.seed) if path]
    return (
        *(VmDisk(path=image.path, format=image.format, bus=spec.bus) for image in written),
        *(VmDisk(path=path, format="raw", read_only=True) for path in read),
    )


class FakeHypervisor(FakeKeeping, FakeObserving):
    """Machines that are nothing but their state; fakes on one `world` and `kept` share them."""

    name = "fake"
    capabilities = frozenset(
        {
            Capability.ACPI_SHUTDOWN,
            Capability.RESET,
            Capability.SNAPSHOTS,
            Capability.MEMORY_SNAPSHOTS,
            Capability.SAVE,
            Capability.SLEEP,
            Capability.FIGURES,
            Capability.SCREENSHOT,
            Capability.CONSOLE_LOG,
        }
    )

    def __init__(
        self,
        world: dict[str, Vm] | None = None,
        kept: dict[str, Kept] | None = None,
        *,
        obedient: bool = True,
    ) -> None:
        FakeObserving.__init__(self)
        self.world: dict[str, Vm] = {} if world is None else world
        self.obedient = obedient
        """Whether guests go off when asked."""
        self.presses = 0
        self.told: dict[str, Credential] = {}
        self.kept: dict[str, Kept] = {} if kept is None else kept
        self.specs: dict[str, VmSpec] = {}
        """What each machine of this fake was made from."""
        self._listener: Callable[[VmChanged], None] | None = None

    async def open(self, listener):
        self._listener = listener

    async def close(self):
        self._listener = None

    async def guest_networks(self):
        return ("127.0.0.1",)

    async def list_vms(self):
        return tuple(self.world.values())

    async def create(self, spec: VmSpec) -> Vm:
        self._up()
        check_new_name(spec.name)
        check_supported(self.name, self.capabilities, spec)
        if spec.network not in NETWORKS:
            raise BadArgument("network", spec.network)
        if any(vm.name == spec.name for vm in self.world.values()):
            raise VMExists(spec.name)
        number = len(self.world) + 1
        vm = Vm(
            uuid=spec.uuid or str(uuid4()),
            name=spec.name,
            state=VmState.POWERED_OFF,
            macs=(f"52:54:00:00:00:{number:02X}",),
            disks=disks_of(spec),
        )
        self.specs[vm.uuid] = spec
        self.becomes(vm, VmState.POWERED_OFF)
        return vm

    async def describe(self, uuid: str) -> VmDetails:
        vm = self._need(uuid, "describe", *VmState)
        spec = self.specs.get(uuid, VmSpec(name=vm.name, image=""))
        return VmDetails(
            memory_mib=spec.memory_mib,
            vcpus=spec.vcpus,
            network=spec.network,
            firmware=spec.firmware or "bios",
            description=spec.description,
            disks=vm.disks,
        )

    async def remove(self, uuid: str) -> None:
        vm = self._need(uuid, "remove", *OFF)
        del self.world[uuid]
        self.kept.pop(uuid, None)
        self._report(VmChanged(uuid=uuid, name=vm.name, state=None))

    async def tell(self, uuid: str, credential: Credential) -> None:
        vm = self._need(uuid, "tell", *VmState)
        self.world[uuid] = replace(vm, told_login=credential.login)
        self.told[uuid] = credential

    async def start(self, uuid: str, agent: AgentAddress) -> None:
        vm = self._need(uuid, "start", *OFF)
        self.starts[uuid] += 1
        if agent.credential is not None:
            await self.tell(uuid, agent.credential)
        if not self.goes_on(self.world[vm.uuid]):
            self.becomes(self.world[vm.uuid], VmState.RUNNING)

    async def shutdown(self, uuid: str) -> None:
        vm = self._need(uuid, "shutdown", VmState.RUNNING)
        self.presses += 1
        if self.obedient:
            self.becomes(vm, VmState.POWERED_OFF)

    async def power_off(self, uuid: str) -> None:
        self.becomes(self._need(uuid, "powerOff", *ON), VmState.POWERED_OFF)

    async def reset(self, uuid: str) -> None:
        self.becomes(self._need(uuid, "reset", *ON), VmState.RUNNING)

    async def pause(self, uuid: str) -> None:
        self.becomes(self._need(uuid, "pause", VmState.RUNNING), VmState.PAUSED)

    async def resume(self, uuid: str) -> None:
        self.becomes(self._need(uuid, "resume", VmState.PAUSED), VmState.RUNNING)

    def becomes(self, vm: Vm, state: VmState) -> None:
        """Let a machine change its state, and report it."""
        self.world[vm.uuid] = replace(vm, state=state)
        self._report(VmChanged(uuid=vm.uuid, name=vm.name, state=state))

    def _report(self, change: VmChanged) -> None:
        if self._listener is not None:
            self._listener(change)

    def _up(self) -> None:
        if self._listener is None:
            raise HypervisorUnreachable(self.name, "not open")

    def _need(self, uuid: str, operation: str, *states: VmState) -> Vm:
        self._up()
        if uuid not in self.world:
            raise NoSuchVM(uuid)
        vm = self.world[uuid]
        if vm.state not in states:
            raise InvalidState(vm.name, vm.state, operation, " or ".join(states))
        return vm
