"""The contract on libvirt's own mock driver: real libvirt, its events and its errors, no QEMU."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import libvirt
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from tests.contract.hypervisor import make_hypervisor_tests
from tests.contract.hypervisor_fixture import Fixture
from tests.contract.thread_clock import ThreadClock
from vmcontroller.common.errors import DeadlinePassed
from vmcontroller.host.hypervisor.base import DiskImage, Hypervisor, Vm, VmSpec
from vmcontroller.host.hypervisor.libvirt.backend import LibvirtHypervisor
from vmcontroller.host.hypervisor.libvirt.event_loop import ensure_running

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
