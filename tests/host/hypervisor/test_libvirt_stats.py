"""libvirt's records become counters, and silent balloons are asked once."""

from __future__ import annotations

import libvirt
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.hypervisor.libvirt.stats import BulkStats, counters_of
from vmcontroller.host.hypervisor.stats import Counters, Disk, Memory, Nic

RECORD = {
    "cpu.time": 7_005_212_000,
    "balloon.current": 524288,
    "balloon.maximum": 524288,
    "balloon.unused": 393844,
    "balloon.available": 480028,
    "balloon.usable": 421152,
    "balloon.last-update": 1_795_930_839,
    "balloon.rss": 321008,
    "vcpu.current": 1,
    "vcpu.maximum": 2,
    "vcpu.0.time": 2_310_000_000,
    "net.count": 1,
    "net.0.name": "vnet8",
    "net.0.rx.bytes": 2902,
    "net.0.tx.bytes": 2766,
    "block.count": 2,
    "block.0.name": "vda",
    "block.0.rd.reqs": 1510,
    "block.0.rd.bytes": 46650368,
    "block.0.wr.reqs": 5,
    "block.0.wr.bytes": 20480,
    "block.1.name": "sda",
}
"""As libvirt 9.0 answered of a Debian guest under QEMU, some of it left out."""
NOW = 1_795_930_841.0


def counters(record=RECORD, wall_s: float = NOW) -> Counters:
    return counters_of(record, run="10", at_s=1.0, wall_s=wall_s)


class FakeDomain:
    def __init__(self, run: int = 1) -> None:
        self.run = run
        self.periods = []
        self.refuses = False

    def UUIDString(self):
        return "u"

    def ID(self):
        return self.run

    def setMemoryStatsPeriod(self, period, flags):
        self.periods.append((period, flags))
        if self.refuses:
            raise libvirt.libvirtError("no balloon")


class FakeConnection:
    def __init__(self) -> None:
        self.record = {"balloon.current": 1, "balloon.rss": 1}
        self.domain = FakeDomain()

    def getAllDomainStats(self, groups, flags):
        assert flags & libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        return [(self.domain, self.record)]


class CountersTests(SynchronousTestCase):
    def test_a_real_record(self) -> None:
        """Nanoseconds become seconds; a disk that nobody counts is left out, not zero."""
        self.assertEqual(
            counters(),
            Counters(
                at_s=1.0,
                run="10",
                cpu_s=7.005212,
                vcpus_s={0: 2.31},
                memory=Memory(
                    rss_kib=321008,
                    total_kib=480028,
                    available_kib=421152,
                    balloon_kib=524288,
                    maximum_kib=524288,
                ),
                disks={
                    "vda": Disk(
                        read_bytes=46650368,
                        write_bytes=20480,
                        read_requests=1510,
                        write_requests=5,
                    )
                },
                nics={"nic0": Nic(rx_bytes=2902, tx_bytes=2766)},
            ),
        )

    def test_old_news_of_the_balloon(self) -> None:
        """What the guest said a while ago is not what it has now; the host's own figures are."""
        memory = counters(wall_s=NOW + 600).memory
        self.assertEqual((memory.total_kib, memory.available_kib), (None, None))
        self.assertEqual(memory.rss_kib, 321008)

    def test_old_driver(self) -> None:
        """A guest whose driver tells no usable memory has at least what is unused."""
        record = {key: value for key, value in RECORD.items() if key != "balloon.usable"}
        self.assertEqual(counters(record).memory.available_kib, 393844)

    def test_without_cgroups(self) -> None:
        """The machine's time is then that of its virtual CPUs."""
        record = {key: value for key, value in RECORD.items() if key != "cpu.time"}
        self.assertEqual(counters(record).cpu_s, 2.31)
        self.assertIsNone(counters({}).cpu_s)

    @given(st.sets(st.sampled_from(sorted(RECORD))))
    def test_whatever_is_missing(self, missing: set[str]) -> None:
        """Of a stuck machine libvirt answers a part: what is there is read."""
        counters({key: value for key, value in RECORD.items() if key not in missing})


class BalloonTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.connection = FakeConnection()
        self.stats = BulkStats()

    def read(self) -> int:
        """Return how often the balloon has been asked for its statistics."""
        self.stats.read(self.connection)
        return len(self.connection.domain.periods)

    def test_silent_one_is_asked_once_a_run(self) -> None:
        """Also where there turns out to be none."""
        self.connection.domain.refuses = True
        self.assertEqual([self.read(), self.read()], [1, 1])
        self.connection.domain.run = 2
        self.assertEqual([self.read(), self.read()], [2, 2])

    def test_one_that_speaks_is_left_alone(self) -> None:
        """Its owner may have chosen another period."""
        self.connection.record["balloon.last-update"] = 5
        self.assertEqual(self.read(), 0)

    def test_a_stuck_machine_is_not_asked(self) -> None:
        """That would hold up everybody: libvirt's answer shows that it could not ask."""
        del self.connection.record["balloon.rss"]
        self.assertEqual(self.read(), 0)

    def test_machines_that_are_gone_are_forgotten(self) -> None:
        """What is remembered is of machines that are there."""
        self.read()
        self.connection.getAllDomainStats = lambda *_: []
        self.stats.read(self.connection)
        self.assertEqual(self.stats._asked, {})
