"""The sampler: one reading for all machines, gaps where there is none, nothing kept for ever."""

from __future__ import annotations

from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes.hypervisor import FakeHypervisor
from vmcontroller.common.config import StatsConfig
from vmcontroller.common.errors import HypervisorUnreachable
from vmcontroller.common.model import GuestId
from vmcontroller.common.words.presence import Descriptor
from vmcontroller.host.directory import Directory
from vmcontroller.host.guests import Guest, Guests
from vmcontroller.host.hypervisor.base import AgentAddress, Vm
from vmcontroller.host.hypervisor.specification import VmSpec
from vmcontroller.host.hypervisor.stats import Counters, Memory
from vmcontroller.host.operations.stats import StatsOperations
from vmcontroller.host.stats.sampler import Sampler


class SamplerTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.wall_offset_s = 1_000_000.0
        self.hypervisor = FakeHypervisor()
        self.directory = Directory(clock=self.clock, hypervisor=self.hypervisor)
        self.now(self.hypervisor.open(self.directory.changed))
        self.guests = Guests(gc_grace_s=30, gone=lambda *_: None)
        self.sampler = Sampler(
            clock=self.clock,
            wall_s=lambda: self.wall_offset_s + self.clock.seconds(),
            config=StatsConfig(interval=10.0, keep=20),
            read=self.hypervisor.stats,
            list_vms=self.directory.current,
            guests=self.guests,
        )
        self.operations = StatsOperations(directory=self.directory, sampler=self.sampler)
        self.vm = self.started("vm")

    def now(self, coroutine):
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def started(self, name: str) -> Vm:
        vm = self.now(self.hypervisor.create(VmSpec(name=name, image="")))
        self.now(self.hypervisor.start(vm.uuid, AgentAddress()))
        return vm

    def sample(self, cpu_s: float | None = None, *, vm: Vm | None = None, run: str = "1") -> None:
        """Ten seconds later, with so much of the processor used."""
        self.clock.advance(10)
        if cpu_s is not None:
            self.hypervisor.counters[(vm or self.vm).uuid] = Counters(
                at_s=self.clock.seconds(), run=run, cpu_s=cpu_s, memory=Memory(rss_kib=7)
            )
        self.now(self.sampler.sample())

    def values(self, name: str, vm: str = "vm"):
        return [each["values"] for each in self.now(self.operations.get_stats(vm, name))]

    def test_history(self) -> None:
        """Each sample adds a value, up to the number that is kept; the old call has fifteen."""
        for number in range(30):
            self.sample(number * 1.0)
        self.assertEqual(self.values("cpu.time"), [[1000] * 20])
        performance = self.now(self.operations.get_performance_data("vm"))
        self.assertEqual(len(performance[0]["values"]), 15)
        self.assertEqual(performance[0]["at"], self.wall_offset_s + 300)

    def test_one_reading_for_all(self) -> None:
        """All machines cost as many reads of the hypervisor as one: one. Others get turns."""
        for number in range(249):
            self.started(f"vm {number}")
        self.hypervisor.counters[self.vm.uuid] = Counters(
            at_s=0.0, run="1", cpu_s=1.0, memory=Memory(rss_kib=7)
        )
        sampled = Deferred.fromCoroutine(self.sampler.sample())
        self.assertNoResult(sampled)
        self.clock.advance(0)
        self.successResultOf(sampled)
        self.assertEqual(self.hypervisor.bulk_reads, 1)
        self.assertEqual(self.values("memory.rss", "vm"), [[7]])

    def test_restart(self) -> None:
        """Over a restart there is no share of the processor; the one after counts again."""
        self.sample(100.0)
        self.sample(105.0)
        self.sample(1.0, run="2")
        self.sample(2.0, run="2")
        self.assertEqual(self.values("cpu.time"), [[5000, 1000]])
        self.assertEqual(self.values("memory.rss"), [[7] * 4])

    def test_a_gap(self) -> None:
        """A sample that can't be taken leaves no value; the next share is that of the whole gap."""
        self.sample(10.0)

        async def unreachable():
            raise HypervisorUnreachable("fake", "busy")

        read, self.sampler._read = self.sampler._read, unreachable
        self.sample()
        self.sample()
        self.sampler._read = read
        self.sample(25.0)
        self.assertEqual(self.values("cpu.time"), [[5000]])

    def test_a_step_of_the_clock(self) -> None:
        """The time of day may jump: shares are not changed by it, and `at` is the new time."""
        self.sample(10.0)
        self.wall_offset_s -= 5000.0
        self.sample(15.0)
        (cpu,) = self.now(self.operations.get_stats("vm", "cpu.time"))
        self.assertEqual((cpu["values"], cpu["at"]), ([5000], self.wall_offset_s + 20))

    def test_machines_that_are_off_and_gone(self) -> None:
        """What was used before a stop can be asked for a while; of a machine removed, nothing."""
        self.sample(10.0)
        self.sample(15.0)
        self.now(self.hypervisor.power_off(self.vm.uuid))
        self.sample()
        self.assertEqual(self.values("cpu.time"), [[5000]])
        for _ in range(25):
            self.sample()
        self.assertEqual(self.values("*"), [])
        self.assertEqual(self.sampler._machines, {})
        other = self.started("other")
        self.sample(1.0, vm=other)
        self.assertIn(other.uuid, self.sampler._machines)
        self.now(self.hypervisor.power_off(other.uuid))
        self.now(self.hypervisor.remove(other.uuid))
        self.sample()
        self.assertEqual(self.sampler._machines, {})

    def test_guests(self) -> None:
        """What an agent says comes in with the next sample, once; also before the first CPU."""
        guest = Guest(
            id=GuestId(self.vm.macs[0]),
            descriptor=Descriptor(id=self.vm.macs[0]),
            session="s",
            agent_version="1",
            since_s=0.0,
            last_heard_s=0.0,
        )
        self.guests.hello(guest)
        self.sample(1.0)
        self.assertEqual(self.values("guest.*"), [])
        self.guests.note(guest.id, figures={"cpu": 50.0}, figures_s=self.clock.seconds())
        self.sample(2.0)
        self.sample(3.0)
        self.assertEqual(self.values("guest.cpu"), [[5000]])
        self.guests.hello(replace(guest, last_heard_s=5.0))
        self.assertEqual(self.guests.get(guest.id).figures, {"cpu": 50.0})
