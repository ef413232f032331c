"""The contract on libvirt's own mock driver: real libvirt, its events and its errors, no QEMU."""

from __future__ import annotations

from typing import Any

import libvirt
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tests.contract.hypervisor import make_hypervisor_tests
from tests.contract.hypervisor_fixture import Fixture
from vmcontroller.host.hypervisor.base import DiskImage, Hypervisor, Vm, VmSpec
from vmcontroller.host.hypervisor.libvirt.backend import LibvirtHypervisor
from vmcontroller.host.hypervisor.libvirt.event_loop import ensure_running

URI = "test:///default"


class MockDriver:
    """The driver's machines live as long as some connection to it in this process is open."""

    obeys_shutdown = True

    def __init__(self, case: TestCase) -> None:
        ensure_running()
        self._state_dir = case.mktemp()
        self._keeper: Any = libvirt.open(URI)

    def hypervisor(self) -> Hypervisor:
        return LibvirtHypervisor(
            reactor=reactor, uri=URI, state_dir=self._state_dir, accelerator="auto"
        )

    def make_spec(self, name: str) -> VmSpec:
        disk = DiskImage(path="/var/lib/libvirt/images/no-such.qcow2", format="qcow2")
        return VmSpec(name=name, image=disk.path, disk=disk)

    async def kill(self, vm: Vm) -> None:
        raise AssertionError("its machines have no processes")

    async def cleanup(self) -> None:
        self._keeper.close()


def _fixture(case: TestCase) -> Fixture:
    return MockDriver(case)


LibvirtTestDriverContract = make_hypervisor_tests(_fixture, killable=False)
