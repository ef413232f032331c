"""The contract, and what only the real thing shows, on QEMU under TCG at `qemu:///system`."""

from __future__ import annotations

import dataclasses
import functools
import os
import secrets
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import libvirt
import psutil
from twisted.internet import defer, endpoints, protocol, reactor, task, threads
from twisted.trial.unittest import TestCase

from tests.contract.hypervisor import make_hypervisor_tests
from tests.contract.hypervisor_fixture import DEADLINE_S, Events, Fixture
from vmcontroller.common.errors import HypervisorError, HypervisorUnreachable
from vmcontroller.host.hypervisor.base import AgentAddress, Hypervisor, Vm
from vmcontroller.host.hypervisor.libvirt import domain_view, domain_xml
from vmcontroller.host.hypervisor.libvirt.backend import LibvirtHypervisor
from vmcontroller.host.hypervisor.specification import DirectBoot, DiskImage, VmSpec
from vmcontroller.host.hypervisor.vm_state import VmState

URI = "qemu:///system"
IMAGES = "/var/lib/libvirt/images"
LOGS = "/var/log/libvirt/qemu"
DAEMON_SOCKET = "/run/libvirt/libvirt-sock"
HAS_KVM = os.access("/dev/kvm", os.R_OK | os.W_OK)

# Halts, and takes its own power away when the ACPI power button is pressed (PIIX4's PM
# registers, where SeaBIOS puts them): enable the button in 0x602; at each timer tick read the
# status in 0x600; then write "sleep, type 0" to 0x604.
OBEDIENT = bytes.fromhex(
    "ba0206 b80001 ef"  # out 0x602, 0x0100
    "fb f4"  # sti; hlt
    "ba0006 ed f6c401 74f5"  # in ax, 0x600; until ah & 1
    "ba0406 b80020 ef"  # out 0x604, 0x2000
    "ebec"
)


def boot_sector(code: bytes) -> bytes:
    return code.ljust(510, b"\x00") + b"\x55\xaa"


@functools.cache
def qcow2_of(content: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        raw, qcow2 = f"{directory}/raw", f"{directory}/qcow2"
        Path(raw).write_bytes(content)
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, qcow2], check=True)
        return Path(qcow2).read_bytes()


class RealQemu:
    """Machines with a boot sector for a guest, in a directory that QEMU's user can read."""

    obeys_shutdown = True
    has_memory = True

    def __init__(self, case: TestCase) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="vmcontroller-contract-", dir=IMAGES))
        self._directory.chmod(0o755)
        self._state_dir = case.mktemp()
        self._names: list[str] = []

    def hypervisor(self) -> Hypervisor:
        return LibvirtHypervisor(
            reactor=reactor, uri=URI, state_dir=self._state_dir, accelerator="tcg"
        )

    def make_spec(self, name: str) -> VmSpec:
        self._names.append(name)
        descriptor, path = tempfile.mkstemp(suffix=".qcow2", dir=self._directory)
        with open(descriptor, "wb") as disk:
            disk.write(qcow2_of(boot_sector(OBEDIENT).ljust(2**20, b"\x00")))
        return VmSpec(
            name=name,
            image=path,
            disk=DiskImage(path=path, format="qcow2"),
            memory_mib=32,
            network="none",
        )

    async def kill(self, vm: Vm) -> None:
        process_of(vm).kill()

    async def cleanup(self) -> None:
        self._clean()

    def _clean(self) -> None:
        shutil.rmtree(self._directory)
        for log in Path(LOGS).iterdir():
            if log.name.removesuffix(".log") in self._names:
                log.unlink()


def process_of(vm: Vm) -> psutil.Process:
    for process in psutil.process_iter(["name", "cmdline"]):
        if "qemu-system" in (process.info["name"] or "") and any(
            vm.uuid in argument for argument in process.info["cmdline"] or ()
        ):
            return process
    raise AssertionError(f"no QEMU process of {vm}")


def _fixture(case: TestCase) -> Fixture:
    return RealQemu(case)


LibvirtQemuContract = make_hypervisor_tests(_fixture)


class RealQemuTests(TestCase):
    """What the contract can't ask: it is libvirt's own."""

    timeout = 3 * DEADLINE_S

    async def setUp(self) -> None:
        self.fixture = RealQemu(self)
        self.addCleanup(self.fixture.cleanup)
        self.keeper: Any = libvirt.open(URI)
        self.addCleanup(self.keeper.close)
        self.events = Events(reactor)
        self.hypervisor = self.fixture.hypervisor()
        await self.hypervisor.open(self.events)
        self.addCleanup(self.hypervisor.close)

    async def make(self, **changes: Any) -> Vm:
        name = f"vmcontroller-contract-{secrets.token_hex(4)}"
        vm = await self.hypervisor.create(
            dataclasses.replace(self.fixture.make_spec(name), **changes)
        )
        self.addCleanup(self.unmake, vm)
        return vm

    async def unmake(self, vm: Vm) -> None:
        for found in await self.hypervisor.list_vms():
            if found.uuid == vm.uuid:
                if not found.state.is_off:
                    await self.hypervisor.power_off(vm.uuid)
                await self.hypervisor.remove(vm.uuid)

    def domain(self, vm: Vm) -> Any:
        return self.keeper.lookupByUUIDString(vm.uuid)

    def definition(self, vm: Vm) -> str:
        return str(self.domain(vm).XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE))

    async def test_definition_is_as_libvirt_wants_it(self) -> None:
        """What we write passes libvirt's schema, and is marked as made here."""
        vm = await self.make(network="nat", boot=DirectBoot(kernel="/k", cmdline="a=<b> &c"))
        self.keeper.defineXMLFlags(self.definition(vm), libvirt.VIR_DOMAIN_DEFINE_VALIDATE)
        self.assertEqual(domain_view.parse(self.definition(vm)).macs, vm.macs)
        root = ET.fromstring(self.definition(vm))
        self.assertIsNotNone(root.find(f"metadata/{{{domain_xml.NAMESPACE}}}made-here"))
        self.assertEqual(root.findtext("os/kernel"), "/k")
        self.assertEqual(root.findtext("os/cmdline"), "a=<b> &c")

    async def test_broker_reaches_the_process(self) -> None:
        """Start writes the broker into the SMBIOS table QEMU gives the guest, and mends it."""
        vm = await self.make(network="nat")
        own = (await self.hypervisor.guest_networks())[0]
        for port in (61613, 7000):
            await self.hypervisor.start(vm.uuid, AgentAddress(port=port))
            arguments = " ".join(process_of(vm).cmdline())
            self.assertIn(f"vmcontroller.broker={own}:{port}", arguments)
            self.assertEqual(arguments.count("vmcontroller.broker="), 1)
            await self.hypervisor.power_off(vm.uuid)

    async def test_no_broker_without_a_network(self) -> None:
        """A machine without a NIC reaches no address and is told none: it has its channel."""
        vm = await self.make(network="none")
        await self.hypervisor.start(vm.uuid, AgentAddress(hosts=("192.0.2.7",)))
        self.assertNotIn("vmcontroller.broker=", " ".join(process_of(vm).cmdline()))
        await self.hypervisor.power_off(vm.uuid)

    async def test_saved_machine(self) -> None:
        """A machine that others saved is Saved, is restored by start, and can be removed."""
        vm = await self.make()
        for _ in range(2):
            await self.hypervisor.start(vm.uuid, AgentAddress())
            self.events.forget()
            await threads.deferToThread(self.domain(vm).managedSave)
            await self.events.until(vm.uuid, VmState.SAVED)
            (found,) = [one for one in await self.hypervisor.list_vms() if one.uuid == vm.uuid]
            self.assertEqual(found.state, VmState.SAVED)
        await self.hypervisor.remove(vm.uuid)
        await self.events.until(vm.uuid, None)

    async def test_changes_by_others(self) -> None:
        """Machines that others define, start, undefine while running and stop are reported."""
        vm = await self.make()
        domain = self.domain(vm)
        await threads.deferToThread(domain.create)
        await self.events.until(vm.uuid, VmState.RUNNING)
        await threads.deferToThread(domain.undefine)
        await threads.deferToThread(domain.destroy)
        await self.events.until(vm.uuid, None)

    async def test_missing_image_is_told(self) -> None:
        """A disk that is gone makes start fail with libvirt's words, and the machine stays off."""
        vm = await self.make()
        os.unlink(vm.disks[0].path)
        error = await self.assertFailure(
            defer.ensureDeferred(self.hypervisor.start(vm.uuid, AgentAddress())), HypervisorError
        )
        self.assertIn(vm.disks[0].path, str(error))
        (found,) = [one for one in await self.hypervisor.list_vms() if one.uuid == vm.uuid]
        self.assertTrue(found.state.is_off)

    async def test_stopped_qemu_delays_only_its_own_callers(self) -> None:
        """A QEMU that doesn't answer holds up its own call; others are served meanwhile."""
        vm = await self.make()
        await self.hypervisor.start(vm.uuid, AgentAddress())
        process = process_of(vm)
        process.suspend()
        try:
            stuck = defer.ensureDeferred(self.hypervisor.pause(vm.uuid))
            listed = await self.hypervisor.list_vms()
            self.assertIn(vm.uuid, [found.uuid for found in listed])
            self.assertFalse(stuck.called)
        finally:
            process.resume()
        await stuck
        await self.events.until(vm.uuid, VmState.PAUSED)

    async def test_kvm_is_judged_once(self) -> None:
        """With `auto` the accelerator is found out by a try, and the answer remembered."""
        state_dir = self.mktemp()
        types = set()
        for _ in range(2):
            hypervisor = LibvirtHypervisor(
                reactor=reactor, uri=URI, state_dir=state_dir, accelerator="auto"
            )
            await hypervisor.open(lambda _: None)
            self.addCleanup(hypervisor.close)
            vm = await hypervisor.create(
                self.fixture.make_spec(f"vmcontroller-contract-{secrets.token_hex(4)}")
            )
            self.addCleanup(self.unmake, vm)
            types.add(ET.fromstring(self.definition(vm)).get("type", ""))
        self.assertEqual(len(types), 1)
        self.assertLessEqual(types, {"kvm", "qemu"})
        if HAS_KVM:
            self.assertEqual(sorted(os.listdir(state_dir)), ["console", "kvm-probe.json"])

    async def test_nobody_there(self) -> None:
        """No daemon behind the URI is HypervisorUnreachable, and open can be tried again."""
        hypervisor = LibvirtHypervisor(
            reactor=reactor,
            uri="qemu+unix:///system?socket=/nonexistent/libvirt-sock",
            state_dir=self.mktemp(),
            accelerator="tcg",
        )
        for _ in range(2):
            await self.assertFailure(
                defer.ensureDeferred(hypervisor.open(lambda _: None)), HypervisorUnreachable
            )
        await self.assertFailure(defer.ensureDeferred(hypervisor.list_vms()), HypervisorUnreachable)
        await hypervisor.close()

    async def test_lost_connection_is_made_again(self) -> None:
        """After the connection broke, what changed meanwhile is told, and events come again."""
        vm = await self.make()
        gate = Gate()
        await gate.open()
        self.addCleanup(gate.close)
        hypervisor = LibvirtHypervisor(
            reactor=reactor,
            uri=f"qemu+unix:///system?socket={gate.path}",
            state_dir=self.mktemp(),
            accelerator="tcg",
        )
        events = Events(reactor)
        await hypervisor.open(events)
        self.addCleanup(hypervisor.close)
        await gate.close()
        await threads.deferToThread(self.domain(vm).create)
        await gate.open()
        await events.until(vm.uuid, VmState.RUNNING)
        events.forget()
        await self.hypervisor.power_off(vm.uuid)
        await events.until(vm.uuid, VmState.POWERED_OFF)


class Pipe(protocol.Protocol):
    """One side of a forwarded connection."""

    peer: Pipe | None = None

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._waiting = b""

    def connectionMade(self) -> None:
        self._gate.pipes.append(self)

    def join(self, peer: Pipe) -> None:
        self.peer, peer.peer = peer, self
        peer.transport.write(self._waiting)

    def dataReceived(self, data: bytes) -> None:
        if self.peer is None:
            self._waiting += data
        else:
            self.peer.transport.write(data)

    def connectionLost(self, reason: object = None) -> None:
        self._gate.pipes.remove(self)
        if self.peer is not None:
            self.peer.transport.abortConnection()


class Gate:
    """A socket in front of libvirtd's that can be shut, so that libvirtd itself lives on."""

    def __init__(self) -> None:
        # A Unix socket's path has 107 bytes at most, trial's directories more.
        self.path = f"/tmp/vmcontroller-gate-{secrets.token_hex(4)}"
        self.pipes: list[Pipe] = []
        self._port: Any = None

    async def open(self) -> None:
        factory = protocol.Factory.forProtocol(self._front)
        factory.noisy = False
        self._port = await endpoints.UNIXServerEndpoint(reactor, self.path).listen(factory)

    def _front(self) -> Pipe:
        front = Pipe(self)
        daemon = endpoints.UNIXClientEndpoint(reactor, DAEMON_SOCKET)
        joined = endpoints.connectProtocol(daemon, Pipe(self))
        joined.addCallback(front.join)
        return front

    async def close(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await port.stopListening()
        for pipe in list(self.pipes):
            pipe.transport.abortConnection()
        while self.pipes:
            await task.deferLater(reactor, 0)
