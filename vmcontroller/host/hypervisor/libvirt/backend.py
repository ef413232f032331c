"""The hypervisor interface on libvirt. It holds no machine's state: libvirt does."""

from __future__ import annotations

import contextlib
import functools
import uuid as uuids
from collections.abc import Callable
from typing import Any, Literal, Protocol, cast

from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from typing_extensions import override

from vmcontroller.common.background import in_background
from vmcontroller.common.copying.course import threads_of
from vmcontroller.common.credentials import Credential
from vmcontroller.common.errors import HypervisorUnreachable, Unsupported, VMControllerError
from vmcontroller.host.hypervisor.base import AgentAddress, Vm, VmChanged, VmDetails
from vmcontroller.host.hypervisor.libvirt import calls, means, saving, snapshots
from vmcontroller.host.hypervisor.libvirt.drivers import driver_of
from vmcontroller.host.hypervisor.libvirt.errors import BACKEND
from vmcontroller.host.hypervisor.libvirt.host_means import check_bridge, no_uefi
from vmcontroller.host.hypervisor.libvirt.host_xml import HostFacts
from vmcontroller.host.hypervisor.libvirt.keeping import LONG_CALLS, LONG_DEADLINE_S, Keeping
from vmcontroller.host.hypervisor.libvirt.kvm_probe import KvmProbe, SpawningReactor, this_boot
from vmcontroller.host.hypervisor.libvirt.link import Link
from vmcontroller.host.hypervisor.libvirt.observation import Observation
from vmcontroller.host.hypervisor.libvirt.plan import plan
from vmcontroller.host.hypervisor.libvirt.tracker import DomainEvent, Tracker
from vmcontroller.host.hypervisor.libvirt.worker import ThreadingReactor, Worker
from vmcontroller.host.hypervisor.needs import check_supported
from vmcontroller.host.hypervisor.specification import VmSpec

Accelerator = Literal["auto", "kvm", "tcg"]


class Reactor(ThreadingReactor, SpawningReactor, Protocol):
    """What is needed of the reactor here."""


class LibvirtHypervisor(Keeping, Observation):
    """Virtual machines of one libvirt connection.

    `accelerator` `auto` takes KVM where a try shows that it works (begun with `open`, ten seconds
    at most, once after the host's boot; a `create` waits for it), `kvm` and `tcg` take it or
    not without a try. `network` is the libvirt network behind a machine's `nat`,
    `isolated_network` the one behind `isolated`, made on `isolated_subnet` when it is missing.
    `call_deadline_s` bounds each call.

    Machines made by others are listed and can be operated, removed too; only their SMBIOS
    strings are changed at `start`, by one entry.
    """

    name = BACKEND
    _log = Logger()

    def __init__(
        self,
        *,
        reactor: Reactor,
        uri: str,
        state_dir: str,
        accelerator: Accelerator,
        network: str = "default",
        isolated_network: str = "vmcontroller-isolated",
        isolated_subnet: str = "192.168.151.0/24",
        call_deadline_s: float = 30.0,
    ) -> None:
        Observation.__init__(self, state_dir)
        self._reactor = reactor
        self._in_thread = threads_of(cast("Any", reactor))
        self._uri = uri
        self._driver = driver_of(uri)
        self._accelerator = accelerator
        self._networks = {"nat": network, "isolated": isolated_network}
        self._isolated_subnet = isolated_subnet
        self._call_deadline_s = call_deadline_s
        self.capabilities = self._driver.capabilities
        self._probe = KvmProbe(reactor=reactor, state_dir=state_dir, boot_id=this_boot())
        self._choosing = DeferredLock()
        self._choosing_early: Deferred[None] | None = None
        self._tracker = Tracker()
        self._listener: Callable[[VmChanged], None] | None = None
        self._link: Link | None = None
        self._workers: list[Worker] = []

    async def open(self, listener: Callable[[VmChanged], None]) -> None:
        """See the interface. Lost connections are made again until `close`."""
        await self.close()
        self._tracker = Tracker()
        worker = Worker(reactor=self._reactor, name=BACKEND, deadline_s=self._call_deadline_s)
        long_worker = Worker(
            reactor=self._reactor,
            name=f"{BACKEND}-long",
            deadline_s=LONG_DEADLINE_S,
            stall_s=self._call_deadline_s,
            at_once=LONG_CALLS,
        )
        self._figures_worker = Worker(
            reactor=self._reactor, name=f"{BACKEND}-figures", deadline_s=self._call_deadline_s
        )
        self._workers = [worker, long_worker, self._figures_worker]
        self._link = Link(
            reactor=self._reactor,
            uri=self._uri,
            worker=worker,
            long_worker=long_worker,
            on_event=self._event,
            on_up=self._relist,
        )
        try:
            await self._link.open()
        except BaseException:
            await self.close()
            raise
        self._listener = listener
        self._choosing_early = in_background(self._choose_early(), "trying KVM")

    async def close(self) -> None:
        """See the interface."""
        self._listener = None
        if self._choosing_early is not None:
            self._choosing_early.cancel()
        link, self._link = self._link, None
        workers, self._workers = self._workers, []
        if link is not None:
            await link.close()
        for worker in workers:
            worker.stop()

    async def guest_networks(self) -> tuple[str, ...]:
        """Return the host's addresses in libvirt's active networks."""
        return await self._up().call("list networks", calls.guest_networks)

    async def list_vms(self) -> tuple[Vm, ...]:
        """See the interface."""
        return (await self._listing()).vms

    async def create(self, spec: VmSpec) -> Vm:
        """See the interface. Raises Unsupported where KVM is asked for and can't be had.

        A machine that libvirt defines after the deadline passed is undefined again.
        """
        check_supported(BACKEND, self.capabilities, spec)
        link = self._up()
        facts, version = await link.call("read capabilities", calls.facts)
        domain_type = await self._domain_type(facts, version)
        make = functools.partial(
            plan,
            spec,
            domain_type=domain_type,
            arch=facts.arch,
            uuid=str(uuids.uuid4()),
            network=self._networks.get(spec.network, ""),
            console_log=await self._console_log_of_new(),
        )
        make(mac="")  # what can't be had is refused before anything is made for it
        await self._prepare(spec, facts, domain_type)
        mac = "" if spec.network == "none" else await link.call("choose a MAC", calls.unused_mac)
        planned = make(mac=mac)
        is_local = self._driver.is_local
        return await link.call(
            "define a machine",
            lambda connection: calls.define(connection, planned, is_local=is_local),
            vm=spec.name,
            discard=lambda connection, vm: calls.operate(
                connection, vm.uuid, calls.remove(self._driver)
            ),
        )

    async def _prepare(self, spec: VmSpec, facts: HostFacts, domain_type: str) -> None:
        """See to it that the host has what the machine stands on besides its disks."""
        if spec.firmware == "uefi" and not await self._up().call(
            "look for UEFI", lambda connection: means.has_uefi(connection, facts, domain_type)
        ):
            raise Unsupported(BACKEND, no_uefi(facts.arch))
        if spec.network == "bridge" and self._driver.is_local and self._driver.scheme == "qemu":
            check_bridge(spec.bridge)
        if spec.network == "isolated":
            name, subnet = self._networks["isolated"], self._isolated_subnet
            await self._up().call(
                "make the isolated network",
                lambda connection: means.make_isolated(connection, name, subnet),
            )

    async def describe(self, uuid: str) -> VmDetails:
        """See the interface."""
        nat, isolated = self._networks["nat"], self._networks["isolated"]
        return await self._up().call(
            f"describe {uuid}",
            lambda connection: means.describe(connection, uuid, nat=nat, isolated=isolated),
            vm=uuid,
        )

    async def remove(self, uuid: str) -> None:
        """See the interface. Its saved memory, NVRAM and snapshots go with it."""
        await self._long(uuid, snapshots.remove(self._driver))
        await self._forget_console(uuid)

    async def tell(self, uuid: str, credential: Credential) -> None:
        """See the interface."""
        await self._up().call(
            f"tell {uuid} its credential",
            lambda connection: calls.operate(connection, uuid, calls.tell(connection, credential)),
            vm=uuid,
        )

    async def start(self, uuid: str, agent: AgentAddress) -> None:
        """See the interface. Activates the libvirt networks of the machine's NICs."""
        await self._prepare_console()
        await self._up().call(
            f"start {uuid}",
            lambda connection: calls.operate(connection, uuid, calls.start(connection, agent)),
            vm=uuid,
        )

    async def shutdown(self, uuid: str) -> None:
        """See the interface: presses the ACPI power button."""
        await self._operate(uuid, calls.shutdown(self._driver))

    async def power_off(self, uuid: str) -> None:
        """See the interface."""
        await self._operate(uuid, calls.POWER_OFF)

    async def reset(self, uuid: str) -> None:
        """See the interface."""
        await self._operate(uuid, calls.RESET)

    async def pause(self, uuid: str) -> None:
        """See the interface."""
        await self._operate(uuid, calls.PAUSE)

    async def resume(self, uuid: str) -> None:
        """See the interface. Wakes a machine that suspended itself, too."""
        await self._operate(uuid, saving.RESUME)

    async def _operate(self, uuid: str, operation: calls.Operation) -> None:
        await self._up().call(
            f"{operation.name} {uuid}",
            lambda connection: calls.operate(connection, uuid, operation),
            vm=uuid,
        )

    @override
    def _up(self) -> Link:
        if self._link is None:
            raise HypervisorUnreachable(BACKEND, f"not connected to {self._uri}")
        return self._link

    async def _listing(self) -> calls.Listing:
        is_local = self._driver.is_local
        return await self._up().call(
            "list machines", lambda connection: calls.listing(connection, is_local=is_local)
        )

    @override
    async def _relist(self) -> None:
        """After each connecting: tell what changed while nobody listened."""
        listing = await self._listing()
        self._report(self._tracker.listed(listing.vms, listing.transient))

    def _event(self, event: DomainEvent) -> None:
        self._report(self._tracker.event(event))

    def _report(self, changes: list[VmChanged]) -> None:
        if self._listener is None:
            return
        for change in changes:
            self._listener(change)

    async def _choose_early(self) -> None:
        """Try KVM before the first `create` has to wait for it; that one raises what is wrong."""
        with contextlib.suppress(VMControllerError):
            await self._domain_type(*await self._up().call("read capabilities", calls.facts))

    async def _domain_type(self, facts: HostFacts, version: int) -> str:
        offered = facts.domain_types
        if self._driver.scheme == "test":
            return "test"
        if "qemu" not in offered and "kvm" not in offered:
            raise Unsupported(BACKEND, f"virtual machines of its own architecture {facts.arch}")
        if self._accelerator == "kvm" and "kvm" not in offered:
            raise Unsupported(BACKEND, "KVM on this host")
        if self._accelerator != "auto":
            return "kvm" if self._accelerator == "kvm" else "qemu"
        return "kvm" if "kvm" in offered and await self._kvm_works(facts, version) else "qemu"

    async def _kvm_works(self, facts: HostFacts, version: int) -> bool:
        """Try where a try is possible: here, and on the architecture of the boot sector."""
        if not self._driver.is_local or facts.arch != "x86_64":
            return True
        async with self._choosing:
            return await self._probe.works(facts.emulators["kvm"], version)
