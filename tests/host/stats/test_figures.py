"""Counters become figures: rates where there are two readings of one run, and never nonsense."""

from __future__ import annotations

import math
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.hypervisor.stats import Counters, Disk, Memory, Nic
from vmcontroller.host.stats.figures import GUEST_FIGURES, guest_figures, host_figures

BEFORE = Counters(
    at_s=100.0,
    run="1",
    cpu_s=10.0,
    vcpus_s={0: 4.0, 1: 5.0},
    memory=Memory(
        rss_kib=300, total_kib=1000, available_kib=600, balloon_kib=1024, maximum_kib=2048
    ),
    disks={"vda": Disk(read_bytes=100, write_bytes=0, read_requests=3, write_requests=0)},
    nics={"nic0": Nic(rx_bytes=1000, tx_bytes=2000)},
)
NOW = replace(
    BEFORE,
    at_s=110.0,
    cpu_s=15.0,
    vcpus_s={0: 14.0, 1: 5.0},
    disks={"vda": Disk(read_bytes=600, write_bytes=10, read_requests=4, write_requests=1)},
    nics={"nic0": Nic(rx_bytes=1000, tx_bytes=7000)},
)

whole = st.integers(0, 2**63)
times = st.floats(0, 1e9)
names = st.sampled_from(["vda", "vdb"])
readings = st.builds(
    Counters,
    at_s=times,
    run=st.sampled_from("12"),
    cpu_s=st.none() | times,
    vcpus_s=st.dictionaries(st.integers(0, 3), times, max_size=3),
    memory=st.builds(
        Memory,
        rss_kib=st.none() | whole,
        total_kib=st.none() | whole,
        available_kib=st.none() | whole,
    ),
    disks=st.dictionaries(
        names, st.builds(Disk, read_bytes=whole, write_bytes=whole, read_requests=st.none() | whole)
    ),
    nics=st.dictionaries(st.just("nic0"), st.builds(Nic, rx_bytes=whole, tx_bytes=whole)),
)


def by_name(figures) -> dict[str, float]:
    return {figure.name: figure.value / figure.scale for figure in figures}


class HostFiguresTests(SynchronousTestCase):
    def test_two_readings(self) -> None:
        """The share of a processor in percent, bytes as counted and by the second."""
        figures = by_name(host_figures(BEFORE, NOW))
        self.assertEqual(figures["cpu.time"], 50.0)
        self.assertEqual(figures["vcpu.0.time"], 100.0)
        self.assertEqual(figures["vcpu.1.time"], 0.0)
        self.assertEqual(figures["memory.used"], 400)
        self.assertEqual(figures["memory.available"], 600)
        self.assertEqual(figures["memory.rss"], 300)
        self.assertEqual(figures["balloon.current"], 1024)
        self.assertEqual(figures["balloon.maximum"], 2048)
        self.assertEqual(figures["disk.vda.read_bytes"], 600)
        self.assertEqual(figures["disk.vda.read_rate"], 50)
        self.assertEqual(figures["disk.vda.write_requests"], 1)
        self.assertEqual(figures["net.nic0.tx_bytes"], 7000)
        self.assertEqual(figures["net.nic0.tx_rate"], 500)
        self.assertEqual(figures["net.nic0.rx_rate"], 0)

    def test_first_reading(self) -> None:
        """Has no rates: nothing is made up of the time before it."""
        figures = by_name(host_figures(None, NOW))
        self.assertNotIn("cpu.time", figures)
        self.assertFalse([name for name in figures if name.endswith("_rate")])
        self.assertEqual(figures["disk.vda.read_bytes"], 600)

    def test_restarted_machine(self) -> None:
        """Counters that began again give no rate, even where they are higher than before."""
        figures = by_name(host_figures(BEFORE, replace(NOW, run="2")))
        self.assertNotIn("cpu.time", figures)
        self.assertNotIn("net.nic0.tx_rate", figures)

    def test_readings_at_once(self) -> None:
        """Two readings in the same moment have no rate, least of all an endless one."""
        before = replace(BEFORE, at_s=0.0)
        for at_s in (0.0, 5e-324, 0.01, -1.0):
            figures = by_name(host_figures(before, replace(NOW, at_s=at_s)))
            self.assertNotIn("cpu.time", figures)
            self.assertIn("memory.rss", figures)

    def test_stuck_machine(self) -> None:
        """Of what its hypervisor can't read now there is no figure; the rest is as usual."""
        stuck = replace(NOW, memory=Memory(), disks={})
        figures = by_name(host_figures(BEFORE, stuck))
        self.assertEqual(figures["cpu.time"], 50.0)
        self.assertFalse([name for name in figures if name.startswith(("disk.", "memory."))])

    def test_a_new_disk(self) -> None:
        """A disk or vCPU that was not there before has no rate yet."""
        more = replace(NOW, disks={**NOW.disks, "vdb": Disk(read_bytes=7)}, vcpus_s={2: 3.0})
        figures = by_name(host_figures(BEFORE, more))
        self.assertEqual(figures["disk.vdb.read_bytes"], 7)
        self.assertNotIn("disk.vdb.read_rate", figures)
        self.assertNotIn("disk.vdb.read_requests", figures)
        self.assertNotIn("vcpu.2.time", figures)

    @given(readings, readings)
    def test_whatever_is_counted(self, before: Counters, now: Counters) -> None:
        """Every figure is finite, not negative, and there once; rates only of one run."""
        figures = list(host_figures(before, now))
        for figure in figures:
            self.assertTrue(math.isfinite(figure.value) and figure.value >= 0, figure)
        self.assertEqual(len({figure.name for figure in figures}), len(figures))
        if before.run != now.run or now.at_s - before.at_s < 0.1:
            self.assertFalse([f for f in figures if f.name.endswith(("_rate", ".time"))])


class GuestFiguresTests(SynchronousTestCase):
    def test_known_ones_are_taken(self) -> None:
        """With their unit; others are for later hosts."""
        figures = {f.name: f for f in guest_figures({"cpu": 12.345, "load1": 0.5, "colour": 3})}
        self.assertEqual(set(figures), {"guest.cpu", "guest.load1"})
        self.assertEqual(figures["guest.cpu"].value, 1234)
        self.assertEqual((figures["guest.cpu"].unit, figures["guest.cpu"].scale), ("%", 100))

    @given(st.dictionaries(st.sampled_from([*GUEST_FIGURES, "x"]), st.floats()))
    def test_whatever_a_guest_says(self, said) -> None:
        """No claim of a guest becomes a number that can't be sent, or is below zero."""
        for figure in guest_figures(said):
            self.assertTrue(0 <= figure.value <= 2**53, figure)
