"""Snapshots as values: their names, and the tree."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import BadArgument
from vmcontroller.host.hypervisor.snapshots import (
    Snapshot,
    check_new_name,
    current,
    depth_first,
    tree,
)
from vmcontroller.host.hypervisor.vm_state import VmState


def snapshot(name: str, parent: str = "", created_s: float = 0.0, *, now: bool = False) -> Snapshot:
    return Snapshot(
        name=name,
        description="",
        created_s=created_s,
        state=VmState.POWERED_OFF,
        parent=parent,
        is_current=now,
    )


def names(snapshots) -> list[str]:
    return [each.name for each in depth_first(tree(snapshots))]


class NameTests(SynchronousTestCase):
    def test_allowed(self) -> None:
        """Everything that can be printed is, up to a hundred characters."""
        for name in (
            "a",
            "x" * 100,
            "two words",
            "a/b",
            "..",
            "<&'\">",
            "虚拟机",
            "🚀",
            "1",
            "-rf",
        ):
            check_new_name(name)

    def test_refused(self) -> None:
        """What is empty, too long, not printable or has space at its ends is not."""
        for name in ("", "x" * 101, "a\nb", "\x00", "\x1b[31m", "\udc80", "\u2028", "\uffff", " a"):
            error = self.assertRaises(BadArgument, check_new_name, name)
            self.assertEqual(error.name, "name")


class TreeTests(SynchronousTestCase):
    def test_order(self) -> None:
        """Depth first, siblings by age and then by name."""
        found = [
            snapshot("late", "root", 9.0),
            snapshot("b", "early", 3.0),
            snapshot("a", "early", 3.0),
            snapshot("early", "root", 2.0),
            snapshot("root", "", 1.0),
            snapshot("other", "", 5.0),
        ]
        self.assertEqual(names(found), ["root", "early", "a", "b", "late", "other"])

    def test_parent_that_is_gone(self) -> None:
        """Its children are roots."""
        roots = tree([snapshot("a", "gone"), snapshot("b", "a")])
        self.assertEqual([node.snapshot.name for node in roots], ["a"])

    def test_circle(self) -> None:
        """A hypervisor's nonsense has an end, and nothing is left out."""
        found = [snapshot("a", "b", 1.0), snapshot("b", "a", 2.0), snapshot("c", "c", 3.0)]
        self.assertEqual(sorted(names(found)), ["a", "b", "c"])

    def test_long_chain(self) -> None:
        """Thousands that stand on each other are no matter."""
        found = [snapshot(str(n), str(n - 1) if n else "", float(n)) for n in range(5000)]
        self.assertEqual(names(found), [str(n) for n in range(5000)])

    def test_current(self) -> None:
        """The one that is marked; none if none is."""
        self.assertIsNone(current([snapshot("a")]))
        marked = snapshot("b", now=True)
        self.assertEqual(current([snapshot("a"), marked]), marked)

    @given(some.lists(some.tuples(some.integers(0, 12), some.integers(0, 3)), max_size=12))
    def test_everyone_is_in_it_once(self, given) -> None:
        """Whatever the parents are, and each after its parent where there is no circle."""
        found = [snapshot(str(n), str(p), float(s)) for n, (p, s) in enumerate(given)]
        listed = names(found)
        self.assertEqual(sorted(listed), sorted(each.name for each in found))
        parents = {each.name: each.parent for each in found}
        for name in listed:
            seen, above = [name], parents[name]
            while above in parents and above not in seen:
                seen.append(above)
                above = parents[above]
            if above not in parents and parents[name] in parents:
                self.assertLess(listed.index(parents[name]), listed.index(name))
