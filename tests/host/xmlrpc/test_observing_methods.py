"""Figures, screens and consoles on the wire: what comes out is what an XML-RPC client can read."""

from __future__ import annotations

from xmlrpc.client import Fault

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes.hypervisor import FakeHypervisor
from tests.fakes.observing import PNG
from vmcontroller.common.config import StatsConfig
from vmcontroller.common.errors import BadArgument, InvalidState, NoSuchVM
from vmcontroller.host.callers import ANYONE
from vmcontroller.host.directory import Directory
from vmcontroller.host.guests import Guests
from vmcontroller.host.hypervisor.base import AgentAddress
from vmcontroller.host.hypervisor.screen import ConsolePiece
from vmcontroller.host.hypervisor.specification import VmSpec
from vmcontroller.host.hypervisor.stats import Counters, Disk
from vmcontroller.host.operations.screen import ScreenOperations
from vmcontroller.host.operations.stats import StatsOperations
from vmcontroller.host.stats.sampler import Sampler
from vmcontroller.host.xmlrpc.dispatch import Dispatcher


class Both(StatsOperations, ScreenOperations):
    def __init__(self, clock: Clock, hypervisor: FakeHypervisor) -> None:
        directory = Directory(clock=clock, hypervisor=hypervisor)
        guests = Guests(gc_grace_s=30, gone=lambda *_: None)
        StatsOperations.__init__(
            self,
            directory=directory,
            sampler=Sampler.of(hypervisor, directory, guests, clock=clock, config=StatsConfig()),
        )
        ScreenOperations.__init__(self, directory=directory, hypervisor=hypervisor)


class ObservingMethodsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.hypervisor = FakeHypervisor()
        self.operations = Both(self.clock, self.hypervisor)
        self.dispatcher = Dispatcher(self.operations)
        self.now(self.hypervisor.open(lambda _: None))
        self.vm = self.now(self.hypervisor.create(VmSpec(name="vm", image="")))

    def now(self, coroutine):
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def call(self, method: str, *params):
        return self.now(self.dispatcher.call(ANYONE, method, params))

    def refused(self, error, method: str, *params):
        return self.failureResultOf(
            Deferred.fromCoroutine(self.dispatcher.call(ANYONE, method, params)), error
        ).value

    def start(self) -> None:
        self.now(self.hypervisor.start(self.vm.uuid, AgentAddress()))

    def test_figures(self) -> None:
        """By name, UUID or MAC address; of a VM that never ran there are none."""
        self.assertEqual(self.call("getStats", "vm"), [])
        self.start()
        self.hypervisor.counters[self.vm.uuid] = Counters(
            at_s=1.0, run="1", disks={"vda": Disk(read_bytes=2**40)}
        )
        self.now(self.operations.sampler.sample())
        for reference in ("vm", self.vm.uuid, self.vm.macs[0]):
            (figure,) = self.call("getStats", reference, "disk.*.read_bytes")
            self.assertEqual((figure["object"], figure["values"]), ("vm", [float(2**40)]))
            self.assertIsInstance(figure["values"][0], float)
        names = [each["name"] for each in self.call("getPerformanceData", "vm")]
        self.assertEqual(names, ["disk.vda.read_bytes", "disk.vda.write_bytes"])
        self.assertEqual(self.call("getStats", "vm", "no*such"), [])
        self.refused(NoSuchVM, "getStats", "other")
        self.refused(BadArgument, "getStats", "vm", "*" * 201)

    def test_display(self) -> None:
        """Every key is there, whatever there is to say."""
        display = self.call("getDisplay", "vm")
        self.assertEqual(
            set(display), {"kind", "host", "port", "socket", "password", "tls", "open"}
        )
        self.assertEqual(display["socket"], "")
        self.start()
        self.assertEqual(self.call("getDisplay", "vm")["socket"], f"/run/{self.vm.uuid}")

    def test_screenshot(self) -> None:
        """The bytes of a PNG; of a VM that is off a Fault."""
        self.refused(InvalidState, "takeScreenshot", "vm")
        self.start()
        self.assertEqual(self.call("takeScreenshot", "vm"), PNG)

    def test_console(self) -> None:
        """Page by page; offsets may be doubles, as they must be beyond 32 bits."""
        self.hypervisor.consoles[self.vm.uuid] = b"0123456789"
        self.assertEqual(
            self.call("getConsoleLog", "vm", 4.0, 3),
            {"data": b"456", "offset": 4, "next": 7, "begins": 0},
        )
        self.assertEqual(self.call("getConsoleLog", "vm")["data"], b"0123456789")
        for offset, length in ((-1, 1), (0.5, 1), (0, 0), (0, 2**20 + 1), ("0", 1)):
            self.refused(BadArgument, "getConsoleLog", "vm", offset, length)

    def test_offsets_beyond_an_int(self) -> None:
        """Of a console that has printed for years they arrive as the doubles that they must be."""

        async def console_log(uuid: str, offset: int, length: int) -> ConsolePiece:
            return ConsolePiece(data=b"x", offset=2**41, begins=2**40)

        self.hypervisor.console_log = console_log
        answer = self.call("getConsoleLog", "vm", float(2**41))
        self.assertEqual((answer["offset"], answer["begins"]), (2**41, 2**40))
        self.assertNotIsInstance(answer, Fault)
