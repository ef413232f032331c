"""The contract on libvirt's own mock driver: real libvirt, its events and its errors, no QEMU."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Coroutine
from typing import Any

import libvirt
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.contract.hypervisor import make_hypervisor_tests
from tests.contract.hypervisor_fixture import Fixture
from tests.contract.thread_clock import PATIENCE_S, ThreadClock
from vmcontroller.common.errors import DeadlinePassed, Unsupported
from vmcontroller.host.hypervisor.base import AgentAddress, Hypervisor, Vm
from vmcontroller.host.hypervisor.libvirt import calls, snapshots
from vmcontroller.host.hypervisor.libvirt.backend import LibvirtHypervisor
from vmcontroller.host.hypervisor.libvirt.event_loop import ensure_running
from vmcontroller.host.hypervisor.libvirt.keeping import LONG_DEADLINE_S
from vmcontroller.host.hypervisor.specification import DiskImage, VmSpec

URI = "test:///default"


def spec(name: str) -> VmSpec:
    disk = DiskImage(path="/var/lib/libvirt/images/no-such.qcow2", format="qcow2")
    return VmSpec(name=name, image=disk.path, disk=disk)


class MockDriver:
    """The driver's machines live as long as some connection to it in this process is open."""

    obeys_shutdown = True
    has_memory = False

    def __init__(self, case: TestCase) -> None:
        ensure_running()
        self._state_dir = case.mktemp()
        self._keeper: Any = libvirt.open(URI)

    def hypervisor(self) -> Hypervisor:
        return LibvirtHypervisor(
            reactor=reactor, uri=URI, state_dir=self._state_dir, accelerator="auto"
        )

    def make_spec(self, name: str) -> VmSpec:
        return spec(name)

    async def kill(self, vm: Vm) -> None:
        raise AssertionError("its machines have no processes")

    async def cleanup(self) -> None:
        self._keeper.close()


def _fixture(case: TestCase) -> Fixture:
    return MockDriver(case)


LibvirtTestDriverContract = make_hypervisor_tests(_fixture, killable=False)


class LateDefineTests(SynchronousTestCase):
    """What becomes of a machine that libvirt defines when its caller was told of a failure."""

    def setUp(self) -> None:
        ensure_running()
        self.keeper: Any = libvirt.open(URI)
        self.addCleanup(self.keeper.close)
        self.clock = ThreadClock()
        self.hypervisor = LibvirtHypervisor(
            reactor=self.clock,  # type: ignore[arg-type]  # spawns nothing with this driver
            uri=URI,
            state_dir=self.mktemp(),
            accelerator="tcg",
            call_deadline_s=30,
        )
        self.done(self.hypervisor.open(lambda _: None))
        self.addCleanup(lambda: self.done(self.hypervisor.close()))

    def done(self, work: Coroutine[Any, Any, None]) -> None:
        running = Deferred.fromCoroutine(work)
        while not running.called:
            self.clock.take()
        self.successResultOf(running)

    def names(self) -> list[str]:
        return [domain.name() for domain in self.keeper.listAllDomains(0)]

    def test_undefined_again(self) -> None:
        """A machine defined after the deadline doesn't stay behind the error."""
        before = self.names()
        created = Deferred.fromCoroutine(self.hypervisor.create(spec("late")))
        end = self.clock.take_until(Vm)
        self.assertIn("late", self.names())
        self.clock.advance(30)
        self.failureResultOf(created, DeadlinePassed)
        end()
        while "late" in self.names():
            self.clock.take()
        self.assertEqual(self.names(), before)


class LongCallTests(SynchronousTestCase):
    """Calls that take long: others do not stand behind them, and what comes too late goes."""

    def setUp(self) -> None:
        ensure_running()
        self.keeper: Any = libvirt.open(URI)
        self.addCleanup(self.keeper.close)
        self.clock = ThreadClock()
        self.hypervisor = LibvirtHypervisor(
            reactor=self.clock,  # type: ignore[arg-type]  # spawns nothing with this driver
            uri=URI,
            state_dir=self.mktemp(),
            accelerator="tcg",
        )
        self.done(self.hypervisor.open(lambda _: None))
        self.addCleanup(lambda: self.done(self.hypervisor.close()))
        self.vm: Vm = self.done(self.hypervisor.create(spec("long")))
        self.addCleanup(lambda: self.done(self.hypervisor.remove(self.vm.uuid)))

    def done(self, work: Coroutine[Any, Any, Any]) -> Any:
        running = Deferred.fromCoroutine(work)
        while not running.called:
            self.clock.take()
        return self.successResultOf(running)

    def held_up(self) -> threading.Event:
        """Let every snapshot wait for the event that is returned before it is taken."""
        go_on = threading.Event()
        self.addCleanup(go_on.set)
        take = snapshots.take

        def slowly(*arguments: Any) -> calls.Operation:
            operation = take(*arguments)

            def act(domain: Any) -> None:
                go_on.wait(PATIENCE_S)
                operation.act(domain)

            return dataclasses.replace(operation, act=act)

        self.patch(snapshots, "take", slowly)
        return go_on

    def test_others_are_answered(self) -> None:
        """While snapshots are being taken, machines are listed, started and stopped."""
        go_on = self.held_up()
        taking = [
            Deferred.fromCoroutine(self.hypervisor.take_snapshot(self.vm.uuid, name))
            for name in ("a", "b", "c")
        ]
        other: Vm = self.done(self.hypervisor.create(spec("other")))
        self.done(self.hypervisor.start(other.uuid, AgentAddress()))
        self.done(self.hypervisor.power_off(other.uuid))
        self.assertIn(other.uuid, [vm.uuid for vm in self.done(self.hypervisor.list_vms())])
        self.assertEqual([each.called for each in taking], [False] * 3)
        go_on.set()
        while not all(each.called for each in taking):
            self.clock.take()
        self.assertEqual(len(self.done(self.hypervisor.list_snapshots(self.vm.uuid))), 3)
        self.done(self.hypervisor.remove(other.uuid))

    def test_snapshot_that_nobody_waits_for(self) -> None:
        """It is deleted again when it is there: after a Fault nothing is kept."""
        taking = Deferred.fromCoroutine(self.hypervisor.take_snapshot(self.vm.uuid, "late"))
        end = self.clock.take_until(type(None))
        domain = self.keeper.lookupByName("long")
        self.assertEqual(domain.snapshotListNames(), ["late"])
        self.clock.advance(LONG_DEADLINE_S)
        self.failureResultOf(taking, DeadlinePassed)
        end()
        while domain.snapshotListNames():
            self.clock.take()
        self.assertEqual(self.done(self.hypervisor.list_snapshots(self.vm.uuid)), ())

    def test_driver_that_can_not(self) -> None:
        """What it does not claim is Unsupported."""
        self.hypervisor.capabilities = frozenset()
        for operation in (
            self.hypervisor.take_snapshot(self.vm.uuid, "a"),
            self.hypervisor.restore_snapshot(self.vm.uuid, "a"),
            self.hypervisor.delete_snapshot(self.vm.uuid, "a"),
            self.hypervisor.save(self.vm.uuid),
            self.hypervisor.discard(self.vm.uuid),
            self.hypervisor.sleep(self.vm.uuid),
        ):
            self.failureResultOf(Deferred.fromCoroutine(operation), Unsupported)
