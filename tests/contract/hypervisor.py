"""What every hypervisor backend must do: one suite, made for each of them by a fixture.

Its parts are the modules beside this one, a mixin each. Nothing in them sleeps: states are waited
for by the events that the backend reports, with a deadline that no honest machine reaches.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import TestCase

from tests.contract.hypervisor_fixture import Fixture
from tests.contract.making import MakingContract
from tests.contract.observing import ObservingContract
from tests.contract.opening import OpeningContract
from tests.contract.options import OptionsContract
from tests.contract.saving import SavingContract
from tests.contract.snapshots import SnapshotContract
from tests.contract.states import StatesContract
from vmcontroller.host.hypervisor.vm_state import VmState


class HypervisorContract(
    OptionsContract,
    MakingContract,
    StatesContract,
    OpeningContract,
    SnapshotContract,
    SavingContract,
    ObservingContract,
):
    """The suite itself; `make_hypervisor_tests` gives it a fixture."""


class KillableContract(HypervisorContract):
    """What is asked besides of backends whose machines are processes that can be killed."""

    async def test_killed_machine_is_aborted(self) -> None:
        """A machine whose process is killed is Aborted, reported so, and starts again."""
        vm = await self.running()
        await self.fixture.kill(vm)
        await self.events.until(vm.uuid, VmState.ABORTED)
        self.assertEqual(await self.state(vm), VmState.ABORTED)
        await self.hypervisor.start(vm.uuid, self.agent)
        self.assertEqual(await self.state(vm), VmState.RUNNING)


def make_hypervisor_tests(
    make_fixture: Callable[[TestCase], Fixture], *, killable: bool = True
) -> type[TestCase]:
    """Return the suite for one backend; bind it to a name in a test module.

    `make_fixture` is called for each test with the test case. `killable`: a machine is a
    process that the fixture's `kill` kills for real.
    """
    contract = KillableContract if killable else HypervisorContract

    class HypervisorTests(contract):
        pass

    HypervisorTests.make_fixture = staticmethod(make_fixture)
    return HypervisorTests
