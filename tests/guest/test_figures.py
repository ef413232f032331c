"""What the guest says of itself: read from a /proc of the test's own, and from the real one."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.guest.figures import Figures, parse_cpu, parse_memory

MEMINFO = "MemTotal:        1000 kB\nMemFree:          200 kB\nMemAvailable:     600 kB\n"


class FiguresTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.proc = Path(self.mktemp())
        self.proc.mkdir()
        (self.proc / "loadavg").write_text("0.25 0.10 0.05 1/100 4711\n")
        (self.proc / "meminfo").write_text(MEMINFO)
        self.ticks(100, 0, 0, 900)
        for name in ("1", "23", "self", "sys"):
            (self.proc / name).mkdir()
        self.figures = Figures(str(self.proc), "/")

    def ticks(self, *numbers: int) -> None:
        line = " ".join(map(str, numbers))
        (self.proc / "stat").write_text(f"cpu  {line}\ncpu0 {line}\nintr 1\n")

    def test_all_of_them(self) -> None:
        """The share of the processors is that since the reading before, so not in the first."""
        first = self.figures.read()
        self.assertNotIn("cpu", first)
        self.assertEqual(first["load1"], 0.25)
        self.assertEqual(first["memory.total"], 1000)
        self.assertEqual(first["memory.used"], 400)
        self.assertEqual(first["memory.free"], 200)
        self.assertEqual(first["processes"], 2)
        self.assertGreater(first["disk.total"], first["disk.free"])
        self.ticks(150, 0, 10, 980, 20, 5, 5, 30)
        # 50 user + 10 system + 10 of interrupts are work; 80 idle, 20 waiting, 30 stolen are not.
        self.assertEqual(self.figures.read()["cpu"], 35.0)

    def test_a_step_back(self) -> None:
        """After a restore from a snapshot the kernel's counters may be lower: no share then."""
        self.figures.read()
        self.ticks(10, 0, 0, 50)
        self.assertNotIn("cpu", self.figures.read())
        self.ticks(20, 0, 0, 60)
        self.assertEqual(self.figures.read()["cpu"], 50.0)

    def test_nothing_there(self) -> None:
        """What can't be read is left out, and the agent goes on."""
        self.assertEqual(Figures(str(self.proc / "none"), str(self.proc / "none")).read(), {})
        (self.proc / "stat").write_text("what\n")
        (self.proc / "loadavg").write_text("much\n")
        (self.proc / "meminfo").write_text("MemTotal: lots\n")
        self.assertEqual(
            {name.partition(".")[0] for name in self.figures.read()}, {"disk", "processes"}
        )

    def test_this_machine(self) -> None:
        """On a real Linux every figure is there at the second reading, or time stood still."""
        figures = Figures()
        first = figures.read()
        self.assertGreater(first["memory.total"], first["memory.used"])
        self.assertLessEqual(figures.read().get("cpu", 0.0), 100.0)
        self.assertGreaterEqual(first["processes"], 1)

    @given(st.text() | st.sampled_from(["MemTotal:", "cpu", "MemFree: kB\n", "\n", ""]))
    def test_anything(self, text: str) -> None:
        """No text makes the parsers raise anything else than ValueError."""
        for parse in (parse_cpu, parse_memory):
            try:
                parse(text)
            except ValueError:
                continue
