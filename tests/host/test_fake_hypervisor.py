"""The contract on the fake that unit tests use: it behaves as the real ones do."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.contract.hypervisor import make_hypervisor_tests
from tests.contract.hypervisor_fixture import Fixture
from tests.fakes.hypervisor import FakeHypervisor
from tests.fakes.keeping import Kept
from vmcontroller.host.hypervisor.base import Hypervisor, Vm
from vmcontroller.host.hypervisor.specification import VmSpec


class FakeMachines:
    """One world for all backends of a test."""

    obeys_shutdown = True
    has_memory = True

    def __init__(self) -> None:
        self._world: dict[str, Vm] = {}
        self._kept: dict[str, Kept] = {}

    def hypervisor(self) -> Hypervisor:
        return FakeHypervisor(self._world, self._kept)

    def make_spec(self, name: str) -> VmSpec:
        return VmSpec(name=name, image="")

    async def kill(self, vm: Vm) -> None:
        raise AssertionError("its machines have no processes")

    async def cleanup(self) -> None:
        self._world.clear()


def _fixture(_case: TestCase) -> Fixture:
    return FakeMachines()


FakeContract = make_hypervisor_tests(_fixture, killable=False)
