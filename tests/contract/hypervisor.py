"""What every hypervisor backend must do: one suite, made for each of them by a fixture.

Nothing here sleeps: states are waited for by the events that the backend reports, with a
deadline that no honest machine reaches.
"""

from __future__ import annotations

import contextlib
import dataclasses
import ipaddress
import re
import secrets
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar

from twisted.internet import defer, reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import TestCase

from tests.contract.hypervisor_fixture import DEADLINE_S, Events, Fixture
from vmcontroller.common.credentials import Credential
from vmcontroller.common.errors import (
    BadArgument,
    HypervisorUnreachable,
    InvalidState,
    NoSuchVM,
    Unsupported,
    VMControllerError,
    VMExists,
)
from vmcontroller.host.hypervisor.base import (
    AgentAddress,
    Capability,
    DirectBoot,
    Hypervisor,
    Vm,
    VmChanged,
    VmSpec,
    VmState,
)

HOSTILE_NAMES = (
    "two words",
    'quo\'te and "quotes"',
    "<&>]]>&amp;<!--",
    "$(reboot);`id`|%s%n",
    "{braces} %(percent)s",
    "Žluťoučký 虚拟机 🚀",
    "-rf",
    "--help",
    ".hidden",
    "..",
    ".",
    "../../../../tmp/escape",
    "a/b",
    "back\\slash",
    "new\nline",
    "tab\tbed",
    "bell\x07",
    "nul\x00",
    "surrogate\udc80",
    "noncharacter\uffff",
    "",
    " ",
    " padded ",
    "n" * 150,
    "ж" * 75,
    "n" * 300,
    "ж" * 200,
    "a,b=c",
)


class HypervisorContract(TestCase):
    """The suite itself; `make_hypervisor_tests` gives it a fixture."""

    timeout = 3 * DEADLINE_S
    make_fixture: ClassVar[Callable[[TestCase], Fixture]]
    agent = AgentAddress(port=1, hosts=("127.0.0.1",))

    async def setUp(self) -> None:
        self.prefix = f"vmcontroller-contract-{secrets.token_hex(4)}"
        self.fixture = type(self).make_fixture(self)
        self.addCleanup(self.fixture.cleanup)
        self.events = Events(reactor)
        self.made: list[str] = []
        self.opened: list[Hypervisor] = []
        self.hypervisor = await self.open_one(self.events)
        self.before = set(await self.hypervisor.list_vms())

    async def tearDown(self) -> None:
        survivor = self.fixture.hypervisor()
        await self.close_all()
        await survivor.open(lambda _: None)
        for vm in await survivor.list_vms():
            if vm.uuid in self.made:
                if not vm.state.is_off:
                    await survivor.power_off(vm.uuid)
                await survivor.remove(vm.uuid)
        await survivor.close()

    async def open_one(self, events: Callable[[VmChanged], None]) -> Hypervisor:
        hypervisor = self.fixture.hypervisor()
        await hypervisor.open(events)
        self.opened.append(hypervisor)
        return hypervisor

    async def close_all(self) -> None:
        while self.opened:
            await self.opened.pop().close()

    async def create(self, suffix: str = "") -> Vm:
        vm = await self.hypervisor.create(self.fixture.make_spec(self.prefix + suffix))
        self.made.append(vm.uuid)
        return vm

    async def running(self) -> Vm:
        vm = await self.create()
        await self.hypervisor.start(vm.uuid, self.agent)
        await self.events.until(vm.uuid, VmState.RUNNING)
        self.events.forget()
        return vm

    async def paused(self) -> Vm:
        vm = await self.running()
        await self.hypervisor.pause(vm.uuid)
        await self.events.until(vm.uuid, VmState.PAUSED)
        self.events.forget()
        return vm

    async def seen(self, uuid: str) -> Vm | None:
        found = [vm for vm in await self.hypervisor.list_vms() if vm.uuid == uuid]
        self.assertLessEqual(len(found), 1)
        return found[0] if found else None

    async def state(self, vm: Vm) -> VmState | None:
        found = await self.seen(vm.uuid)
        return found.state if found else None

    async def refused(self, expected: Any, awaitable: Awaitable[object]) -> Any:
        """Return the error; one of another class, the vendor's say, fails the test."""
        try:
            result = await awaitable
        except expected as error:
            return error
        return self.fail(f"{result!r} instead of {expected}")

    def operations(self, hypervisor: Hypervisor) -> dict[str, Callable[[str], Awaitable[None]]]:
        return {
            "start": lambda uuid: hypervisor.start(uuid, self.agent),
            "shutdown": hypervisor.shutdown,
            "power_off": hypervisor.power_off,
            "reset": hypervisor.reset,
            "pause": hypervisor.pause,
            "resume": hypervisor.resume,
            "remove": hypervisor.remove,
        }

    def claimed(self, *names: str) -> list[str]:
        """Return those of the operations that the backend can do at all."""
        needs = {"shutdown": Capability.ACPI_SHUTDOWN, "reset": Capability.RESET}
        return [
            name
            for name in names
            if name not in needs or needs[name] in self.hypervisor.capabilities
        ]

    async def refused_in(self, vm: Vm, state: VmState, *names: str) -> None:
        operations = self.operations(self.hypervisor)
        for name in self.claimed(*names):
            error = await self.refused(InvalidState, operations[name](vm.uuid))
            self.assertEqual((error.vm, error.state), (vm.name, state), name)
            self.assertTrue(error.operation, name)
            self.assertTrue(error.allowed, name)
        self.assertEqual(await self.state(vm), state)

    # Making, listing and removing.

    async def test_credential(self) -> None:
        """A machine is told a credential whether it is off or on, and says whose it has."""
        vm = await self.create()
        self.assertEqual(vm.told_login, "")
        first = Credential(login=vm.uuid, passcode="1-a")
        await self.hypervisor.tell(vm.uuid, first)
        self.assertEqual((await self.listed(vm)).told_login, vm.uuid)
        second = Credential(login=vm.uuid, passcode="2-b")
        await self.hypervisor.start(vm.uuid, dataclasses.replace(self.agent, credential=second))
        await self.events.until(vm.uuid, VmState.RUNNING)
        await self.hypervisor.tell(vm.uuid, first)
        self.assertEqual((await self.listed(vm)).told_login, vm.uuid)
        with self.assertRaises(NoSuchVM):
            await self.hypervisor.tell("11111111-1111-4111-8111-111111111111", first)

    async def listed(self, vm: Vm) -> Vm:
        return next(each for each in await self.hypervisor.list_vms() if each.uuid == vm.uuid)

    async def test_new_machine_is_listed_and_reported(self) -> None:
        """A new machine is off, listed as create answered, and reported once."""
        vm = await self.create()
        self.assertEqual(vm.name, self.prefix)
        self.assertEqual(vm.state, VmState.POWERED_OFF)
        self.assertRegex(vm.uuid, r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")
        self.assertEqual(await self.seen(vm.uuid), vm)
        change = await self.events.until(vm.uuid, VmState.POWERED_OFF)
        self.assertEqual(change.name, vm.name)
        self.assertEqual(self.events.states(vm.uuid), [VmState.POWERED_OFF])

    async def test_machines_differ(self) -> None:
        """Two machines have two UUIDs and no MAC address in common; addresses are upper case."""
        first, second = await self.create("-1"), await self.create("-2")
        self.assertNotEqual(first.uuid, second.uuid)
        self.assertFalse(set(first.macs) & set(second.macs))
        for mac in (*first.macs, *second.macs):
            self.assertRegex(mac, r"^[0-9A-F]{2}(:[0-9A-F]{2}){5}$")

    async def test_name_is_taken_once(self) -> None:
        """A second machine of the same name is refused, and the first stays as it was."""
        vm = await self.create()
        error = await self.refused(
            VMExists, self.hypervisor.create(self.fixture.make_spec(vm.name))
        )
        self.assertEqual(error.name, vm.name)
        self.assertEqual(set(await self.hypervisor.list_vms()), self.before | {vm})

    async def test_name_is_taken_once_at_the_same_time(self) -> None:
        """Of two creates at once with one name, one is refused."""
        tries = [
            Deferred.fromCoroutine(self._created_or_refused(self.fixture.make_spec(self.prefix)))
            for _ in range(2)
        ]
        created = [vm for vm in await gatherResults(tries) if vm is not None]
        self.assertEqual(len(created), 1)
        self.assertEqual(set(await self.hypervisor.list_vms()), self.before | set(created))

    async def _created_or_refused(self, spec: VmSpec) -> Vm | None:
        try:
            vm = await self.hypervisor.create(spec)
        except VMExists:
            return None
        self.made.append(vm.uuid)
        return vm

    async def test_hostile_names(self) -> None:
        """Any name is either taken to the letter or refused, and nothing is left of a refused."""
        for suffix in HOSTILE_NAMES:
            name = f"{suffix}{self.prefix}" if suffix.strip() else suffix
            try:
                vm = await self.hypervisor.create(self.fixture.make_spec(name))
            except BadArgument:
                self.assertEqual(set(await self.hypervisor.list_vms()), self.before, name)
                continue
            self.made.append(vm.uuid)
            self.assertEqual((await self.seen(vm.uuid)), vm, name)
            self.assertEqual(vm.name, name)
            await self.hypervisor.start(vm.uuid, self.agent)
            self.assertEqual(await self.state(vm), VmState.RUNNING, name)
            await self.hypervisor.power_off(vm.uuid)
            await self.hypervisor.remove(vm.uuid)
            self.assertEqual(set(await self.hypervisor.list_vms()), self.before, name)

    async def test_failed_create_leaves_nothing(self) -> None:
        """What can't be had is refused and leaves neither a machine nor a report."""
        good = self.fixture.make_spec(self.prefix)
        bad = VmSpec(name=good.name, image=good.image, disk=good.disk, network="moon")
        await self.refused((BadArgument, Unsupported), self.hypervisor.create(bad))
        self.assertEqual(set(await self.hypervisor.list_vms()), self.before)
        self.assertEqual(self.events.seen, [])
        await self.create()

    async def test_removed_machine_is_gone(self) -> None:
        """After remove it is not listed, reported as gone, unknown, and its name is free."""
        vm = await self.create()
        await self.hypervisor.remove(vm.uuid)
        self.assertIsNone(await self.seen(vm.uuid))
        change = await self.events.until(vm.uuid, None)
        self.assertEqual(change.name, vm.name)
        await self.refused(NoSuchVM, self.hypervisor.start(vm.uuid, self.agent))
        await self.refused(NoSuchVM, self.hypervisor.remove(vm.uuid))
        again = await self.create()
        self.assertNotEqual(again.uuid, vm.uuid)

    async def test_unknown_machines(self) -> None:
        """Every operation on what is no machine's UUID answers NoSuchVM."""
        strangers = ("00000000-1111-4222-8333-444444444444", "", "x", "../..", "a\x00b", "\udc80")
        for uuid in strangers:
            for name, operation in self.operations(self.hypervisor).items():
                if self.claimed(name):
                    error = await self.refused(NoSuchVM, operation(uuid))
                    self.assertEqual(error.vm, uuid, name)

    async def test_disks_are_named(self) -> None:
        """A machine made from a disk image says so, so that nobody else is given it."""
        vm = await self.create()
        disk = self.fixture.make_spec(self.prefix).disk
        self.assertEqual(len(vm.disks), 0 if disk is None else 1)

    # The states.

    async def test_start_and_power_off(self) -> None:
        """Start and power_off hold as soon as they answer, and are reported, in this order."""
        vm = await self.running()
        self.assertEqual(await self.state(vm), VmState.RUNNING)
        await self.hypervisor.power_off(vm.uuid)
        self.assertEqual(await self.state(vm), VmState.POWERED_OFF)
        await self.events.until(vm.uuid, VmState.POWERED_OFF)
        self.assertNotIn(VmState.RUNNING, self.events.states(vm.uuid))

    async def test_machine_starts_again(self) -> None:
        """A machine that was powered off can be started again, as the same one."""
        vm = await self.running()
        await self.hypervisor.power_off(vm.uuid)
        await self.hypervisor.start(vm.uuid, self.agent)
        now = await self.seen(vm.uuid)
        assert now is not None
        self.assertEqual((now.uuid, now.name, now.macs), (vm.uuid, vm.name, vm.macs))
        self.assertEqual(now.state, VmState.RUNNING)

    async def test_pause_and_resume(self) -> None:
        """A paused machine is neither running nor off until it is resumed."""
        vm = await self.running()
        await self.hypervisor.pause(vm.uuid)
        self.assertEqual(await self.state(vm), VmState.PAUSED)
        await self.events.until(vm.uuid, VmState.PAUSED)
        await self.hypervisor.resume(vm.uuid)
        self.assertEqual(await self.state(vm), VmState.RUNNING)
        await self.events.until(vm.uuid, VmState.RUNNING)

    async def test_paused_machine_is_powered_off(self) -> None:
        """The power can be taken from a paused machine."""
        vm = await self.paused()
        await self.hypervisor.power_off(vm.uuid)
        self.assertEqual(await self.state(vm), VmState.POWERED_OFF)
        await self.events.until(vm.uuid, VmState.POWERED_OFF)

    async def test_reset(self) -> None:
        """A reset machine runs; who can't reset says so."""
        vm = await self.running()
        if Capability.RESET in self.hypervisor.capabilities:
            await self.hypervisor.reset(vm.uuid)
        else:
            await self.refused(Unsupported, self.hypervisor.reset(vm.uuid))
        self.assertEqual(await self.state(vm), VmState.RUNNING)

    async def test_shutdown(self) -> None:
        """A guest that obeys goes off and that is reported; who can't ask says so."""
        vm = await self.running()
        if Capability.ACPI_SHUTDOWN not in self.hypervisor.capabilities:
            await self.refused(Unsupported, self.hypervisor.shutdown(vm.uuid))
            return
        await self.hypervisor.shutdown(vm.uuid)
        if self.fixture.obeys_shutdown:
            await self._until_it_obeys(vm)
            self.assertEqual(await self.state(vm), VmState.POWERED_OFF)
        else:
            self.assertIn(await self.state(vm), {VmState.RUNNING, VmState.STOPPING})

    async def _until_it_obeys(self, vm: Vm) -> None:
        """Ask until it is off: a guest that has not come up yet may miss the first request."""
        for _ in range(DEADLINE_S):
            with contextlib.suppress(defer.TimeoutError):
                await self.events.until(vm.uuid, VmState.POWERED_OFF, deadline_s=1)
                return
            with contextlib.suppress(InvalidState):
                await self.hypervisor.shutdown(vm.uuid)
        self.fail("it never went off")

    async def test_refused_when_off(self) -> None:
        """What needs a running machine is refused for one that is off."""
        vm = await self.create()
        await self.refused_in(
            vm, VmState.POWERED_OFF, "pause", "resume", "reset", "shutdown", "power_off"
        )

    async def test_refused_when_running(self) -> None:
        """A running machine is neither started nor removed nor resumed."""
        await self.refused_in(await self.running(), VmState.RUNNING, "start", "remove", "resume")

    async def test_refused_when_paused(self) -> None:
        """A paused machine is neither started nor removed nor paused, nor can it be asked."""
        await self.refused_in(
            await self.paused(), VmState.PAUSED, "start", "remove", "pause", "shutdown"
        )

    async def test_started_once_at_the_same_time(self) -> None:
        """Of two starts at once, one is refused and the machine runs."""
        vm = await self.create()
        tries = [Deferred.fromCoroutine(self._started(vm)) for _ in range(2)]
        self.assertEqual(sorted(await gatherResults(tries)), [False, True])
        self.assertEqual(await self.state(vm), VmState.RUNNING)

    async def _started(self, vm: Vm) -> bool:
        try:
            await self.hypervisor.start(vm.uuid, self.agent)
        except InvalidState:
            return False
        return True

    # Opening and closing.

    async def test_machines_outlive_the_backend(self) -> None:
        """After close the machines run on; another one opened sees and operates the same."""
        off = await self.create("-off")
        vm = await self.running()
        before = set(await self.hypervisor.list_vms())
        await self.close_all()
        self.hypervisor = await self.open_one(self.events)
        self.assertEqual(set(await self.hypervisor.list_vms()), before)
        self.assertEqual(await self.state(off), VmState.POWERED_OFF)
        self.events.forget()
        await self.hypervisor.power_off(vm.uuid)
        await self.events.until(vm.uuid, VmState.POWERED_OFF)

    async def test_close_twice_and_open_again(self) -> None:
        """Closing is idempotent, and the very same backend can be opened again."""
        await self.hypervisor.close()
        await self.hypervisor.close()
        await self.hypervisor.open(self.events)
        vm = await self.create()
        await self.events.until(vm.uuid, VmState.POWERED_OFF)

    async def test_closed_backend_reports_nothing(self) -> None:
        """After close no report comes, though the machine changes."""
        vm = await self.create()
        await self.events.until(vm.uuid, VmState.POWERED_OFF)
        await self.close_all()
        self.events.forget()
        later = Events(self.events._reactor)
        self.hypervisor = await self.open_one(later)
        await self.hypervisor.remove(vm.uuid)
        await later.until(vm.uuid, None)
        self.assertEqual(self.events.seen, [])

    async def test_closed_backend_raises_ours(self) -> None:
        """A closed backend answers with one of our errors, or knows no machine."""
        vm = await self.create()
        await self.close_all()
        for name, operation in self.operations(self.hypervisor).items():
            if self.claimed(name):
                await self.refused((HypervisorUnreachable, NoSuchVM), operation(vm.uuid))

    # What it can do.

    async def test_direct_boot_is_claimed_or_unsupported(self) -> None:
        """A kernel is taken by who claims it, and else refused with nothing left."""
        good = self.fixture.make_spec(self.prefix)
        spec = dataclasses.replace(good, boot=DirectBoot(kernel="/vmlinuz"))
        if Capability.DIRECT_BOOT in self.hypervisor.capabilities:
            vm = await self.hypervisor.create(spec)
            self.made.append(vm.uuid)
            self.assertEqual(vm.state, VmState.POWERED_OFF)
            return
        await self.refused(Unsupported, self.hypervisor.create(spec))
        self.assertEqual(set(await self.hypervisor.list_vms()), self.before)

    async def test_guest_networks_are_addresses(self) -> None:
        """The host's addresses in its guests' networks are IP addresses, each once."""
        networks = await self.hypervisor.guest_networks()
        self.assertEqual(len(set(networks)), len(networks))
        for address in networks:
            self.assertTrue(ipaddress.ip_address(address))

    async def test_name_is_published(self) -> None:
        """Errors and logs name the backend by a plain word."""
        self.assertTrue(re.fullmatch(r"[a-z]+", self.hypervisor.name))
        self.assertLessEqual(self.hypervisor.capabilities, frozenset(Capability))
        self.assertTrue(issubclass(Unsupported, VMControllerError))


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
