"""What is read of /proc, and who belongs to whom."""

from __future__ import annotations

import os

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.guest.commands import census
from vmcontroller.guest.commands.processes import (
    MARKER,
    Stat,
    descendants,
    marker_of,
    parse_figures,
    parse_stat,
    same,
)


def stat(pid: int, parent: int = 1, **more: object) -> Stat:
    """Return a process of which little matters."""
    facts = {"session": pid, "started_ticks": 100, "state": "S"} | more
    return Stat(
        pid=pid,
        parent=parent,
        user_ticks=0,
        system_ticks=0,
        threads=1,
        resident_pages=10,
        **facts,  # type: ignore[arg-type]
    )


def line(pid: int, name: bytes, numbers: list[int], state: bytes = b"S") -> bytes:
    """Return what the kernel would write of a process of this name."""
    return b"%d (%s) %s %s\n" % (pid, name, state, b" ".join(b"%d" % each for each in numbers))


class StatTests(SynchronousTestCase):
    """/proc/PID/stat."""

    @given(st.binary(max_size=64), st.lists(st.integers(0, 2**63), min_size=21, max_size=49))
    def test_any_name(self, name: bytes, numbers: list[int]) -> None:
        """A process that calls itself `x) R 1 (` is what it is, not what it says."""
        found = parse_stat(line(7, name, numbers))
        self.assertEqual((found.pid, found.state, found.parent), (7, "S", numbers[0]))
        self.assertEqual((found.session, found.started_ticks), (numbers[2], numbers[18]))
        self.assertEqual(found.user_ticks, numbers[10] + numbers[12])
        self.assertEqual(found.system_ticks, numbers[11] + numbers[13])
        self.assertEqual((found.threads, found.resident_pages), (numbers[16], numbers[20]))

    @given(st.binary(max_size=200))
    def test_anything_else(self, text: bytes) -> None:
        """What is no such line is a ValueError, never another error."""
        try:
            parse_stat(text)
        except ValueError:
            return

    def test_dead(self) -> None:
        """A zombie has ended; one that sleeps or stands still has not."""
        states = {state: stat(7, state=state).ended for state in "RSDTtZX"}
        self.assertEqual({state for state, ended in states.items() if ended}, {"Z", "X"})

    def test_this_process(self) -> None:
        """The kernel's own line of this process is read right."""
        found = census.stat_of(os.getpid())
        assert found is not None
        self.assertEqual((found.parent, found.session), (os.getppid(), os.getsid(0)))
        self.assertGreater(found.resident_pages, 1000)
        self.assertIsNone(census.stat_of(2**22 + 1))


class FigureTests(SynchronousTestCase):
    """/proc/PID/io and /proc/PID/status."""

    def test_figures(self) -> None:
        """They come in the order asked for; what is absent or no number is 0."""
        text = b"Name:\tVmHWM: 7\nVmHWM:\t  1234 kB\nread_bytes: 5\nwrite_bytes: x\n"
        asked = (b"write_bytes", b"VmHWM", b"read_bytes", b"nothing")
        self.assertEqual(parse_figures(text, *asked), (0, 1234, 5, 0))

    @given(st.binary(max_size=300))
    def test_anything(self, text: bytes) -> None:
        """Whatever is read, they are numbers from 0."""
        self.assertTrue(all(each >= 0 for each in parse_figures(text, b"VmHWM", b"a")))


class MarkerTests(SynchronousTestCase):
    """/proc/PID/environ."""

    def test_marker(self) -> None:
        """It is a variable of its own, not a part of another's name or value."""
        mark = MARKER.encode()
        self.assertEqual(marker_of(b"A=b\0" + mark + b"=id\0C=d\0"), "id")
        self.assertEqual(marker_of(b"A=" + mark + b"=id\0X" + mark + b"=id\0"), "")
        self.assertEqual(marker_of(b""), "")

    @given(st.binary(max_size=300))
    def test_anything(self, environ: bytes) -> None:
        """A process may write what it likes there."""
        self.assertNotIn("\0", marker_of(environ))


class TreeTests(SynchronousTestCase):
    """Descent."""

    @given(st.lists(st.integers(0, 30), min_size=1, max_size=30), st.sets(st.integers(1, 40)))
    def test_descendants(self, parents: list[int], roots: set[int]) -> None:
        """Those from whom a walk upwards meets a root, whatever loops the numbers make."""
        stats = {pid: stat(pid, parent) for pid, parent in enumerate(parents, start=1)}
        found = descendants(stats, roots)
        for pid in stats:
            above, seen = pid, set()
            while above in stats and above not in seen and above not in roots:
                seen.add(above)
                above = stats[above].parent
            self.assertEqual(pid in found, above in roots and above in stats)

    def test_same(self) -> None:
        """A number that was given to another is another's."""
        self.assertTrue(same(stat(7), stat(7)))
        self.assertFalse(same(stat(7, started_ticks=101), stat(7)))
        self.assertFalse(same(None, stat(7)))
