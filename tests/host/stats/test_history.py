"""What is kept of figures is bounded, in order, and answered as clients of old expect it."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from tests.host.stats.test_figures import BEFORE, NOW
from vmcontroller.host.hypervisor.stats import Disk
from vmcontroller.host.stats.history import INT_MOST, MachineHistory, Series


class SeriesTests(SynchronousTestCase):
    @given(st.integers(1, 20), st.lists(st.integers(0, 2**53)), st.integers(0, 30))
    def test_the_newest_are_kept_in_order(self, keep: int, values: list[int], most: int) -> None:
        """However many come, the last `keep` are there, the oldest first."""
        series = Series("", 1, keep)
        for value in values:
            series.add(value, 0.0, 0.0)
        kept = values[-keep:]
        self.assertEqual(series.values(most), kept[-most:] if most else [])
        self.assertLessEqual(len(series._values), keep)


class MachineHistoryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.history = MachineHistory(3)
        self.history.counted(BEFORE, 1000.0, 6000.0)
        self.history.counted(NOW, 1010.0, 6010.0)

    def answer(self, pattern: str = "*", most: int = 100):
        answers = self.history.answer("vm", pattern, most)
        return {answer["name"]: answer for answer in answers}

    def test_one_figure(self) -> None:
        """All its keys, with values that are divided by the scale."""
        self.assertEqual(
            self.answer("cpu*")["cpu.time"],
            {
                "name": "cpu.time",
                "object": "vm",
                "unit": "%",
                "scale": 100,
                "values": [5000],
                "values_as_string": "[50.00%]",
                "at": 6010.0,
            },
        )
        rss = self.answer("memory.rss")["memory.rss"]
        self.assertEqual(rss["values_as_string"], "[300 KiB, 300 KiB]")

    def test_pattern_and_number(self) -> None:
        """Names are matched as in a shell, case and all; the newest are answered."""
        self.assertEqual(list(self.answer("vcpu.[0-9].time")), ["vcpu.0.time", "vcpu.1.time"])
        self.assertEqual(self.answer("CPU*"), {})
        tx = self.answer("net.*.tx_bytes", most=1)["net.nic0.tx_bytes"]
        self.assertEqual(tx["values"], [7000])

    def test_what_is_too_large_for_an_int(self) -> None:
        """Is a double, and exact; what isn't is an int."""
        large = replace(NOW, at_s=120.0, disks={"vda": Disk(read_bytes=2**40 + 1)})
        self.history.counted(large, 1020.0, 6020.0)
        values = self.answer("disk.vda.read_bytes")["disk.vda.read_bytes"]["values"]
        self.assertEqual(values, [100, 600, float(2**40 + 1)])
        self.assertEqual([type(value) for value in values], [int, int, float])
        self.assertEqual(INT_MOST, 2**31 - 1)

    def test_what_the_guest_says(self) -> None:
        """Is of the object guest, and counts once however often it is looked at."""
        for _ in range(2):
            self.history.said({"load1": 0.25}, 1011.0, 6011.0)
        self.history.said({"load1": 0.5}, 1021.0, 6021.0)
        load = self.answer("guest.*")["guest.load1"]
        self.assertEqual((load["object"], load["values"], load["at"]), ("guest", [25, 50], 6021.0))

    def test_old_figures_go(self) -> None:
        """A figure that is not there any more is forgotten, the others are not."""
        self.history.counted(replace(NOW, at_s=120.0, disks={}), 1020.0, 6020.0)
        self.history.drop_before(1015.0)
        self.assertNotIn("disk.vda.read_bytes", self.answer())
        self.assertIn("memory.rss", self.answer())
        self.assertFalse(self.history.is_empty)
        self.history.drop_before(2000.0)
        self.assertTrue(self.history.is_empty)
