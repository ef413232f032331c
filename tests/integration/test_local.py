"""The contract on the backend `local`: its machines are real agent processes."""

from __future__ import annotations

import shutil
import tempfile

import psutil
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from tests.contract.hypervisor import make_hypervisor_tests
from tests.contract.hypervisor_fixture import Fixture
from vmcontroller.host.hypervisor.base import Hypervisor, Vm
from vmcontroller.host.hypervisor.local.backend import LocalHypervisor
from vmcontroller.host.hypervisor.specification import VmSpec


class LocalProcesses:
    """Machines in a directory of their own."""

    obeys_shutdown = True
    has_memory = True

    def __init__(self) -> None:
        self._state_dir = tempfile.mkdtemp(prefix="vmcontroller-contract-")

    def hypervisor(self) -> Hypervisor:
        return LocalHypervisor(reactor=reactor, state_dir=self._state_dir)

    def make_spec(self, name: str) -> VmSpec:
        return VmSpec(name=name, image="")

    async def kill(self, vm: Vm) -> None:
        config = f"{self._state_dir}/local/{vm.uuid}/guest.yaml"
        for process in psutil.process_iter(["cmdline"]):
            if config in (process.info["cmdline"] or ()):
                process.kill()

    async def cleanup(self) -> None:
        shutil.rmtree(self._state_dir)


def _fixture(_case: TestCase) -> Fixture:
    return LocalProcesses()


LocalContract = make_hypervisor_tests(_fixture)
