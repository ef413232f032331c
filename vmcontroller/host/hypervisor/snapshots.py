"""Snapshots as values: what one is, what it may be called, and the tree that they make. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vmcontroller.common.errors import BadArgument
from vmcontroller.host.hypervisor.vm_state import VmState

MAX_CHARS: Final = 100

_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Control characters, lone surrogates, line and paragraph separators."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One snapshot of one machine."""

    name: str
    description: str
    created_s: float
    """Seconds since 1970, by the hypervisor's clock."""
    state: VmState
    """The machine's after this snapshot is restored."""
    parent: str = ""
    """The name of the one that was current when it was taken; empty: none."""
    is_current: bool = False
    """It was taken or restored last: the next one will be its child."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A snapshot and those that were taken after it."""

    snapshot: Snapshot
    children: tuple[Node, ...]


def check_new_name(name: str) -> None:
    """Refuse a name for a new snapshot with BadArgument, which says what is allowed."""
    if not 1 <= len(name) <= MAX_CHARS:
        raise BadArgument(
            "name", f"a snapshot's name has 1 to {MAX_CHARS} characters, not {len(name)}"
        )
    for char in name:
        if unicodedata.category(char) in _UNPRINTABLE or char in "\ufffe\uffff":
            raise BadArgument(
                "name", f"a snapshot's name must not contain the character U+{ord(char):04X}"
            )
    if name != name.strip():
        raise BadArgument("name", f"{name!r} begins or ends with white space")


def current(snapshots: Iterable[Snapshot]) -> Snapshot | None:
    """Return the one that was taken or restored last, if that is still there."""
    return next((snapshot for snapshot in snapshots if snapshot.is_current), None)


def tree(snapshots: Sequence[Snapshot]) -> tuple[Node, ...]:
    """Return the roots with all that stands on them; siblings by age, the oldest first.

    Every snapshot is in it exactly once: one whose parent isn't there is a root, and a circle is
    cut open.
    """
    ordered = sorted(snapshots, key=lambda each: (each.created_s, each.name))
    names = {snapshot.name for snapshot in ordered}
    by_parent: dict[str, list[Snapshot]] = {}
    for snapshot in ordered:
        parent = snapshot.parent if snapshot.parent in names else ""
        by_parent.setdefault(parent, []).append(snapshot)
    placed: set[str] = set()
    roots = [_node(snapshot, by_parent, placed) for snapshot in by_parent.get("", [])]
    roots.extend(_node(each, by_parent, placed) for each in ordered if each.name not in placed)
    return tuple(roots)


def _node(root: Snapshot, by_parent: dict[str, list[Snapshot]], placed: set[str]) -> Node:
    """Build without recursion: a chain may be a thousand long."""
    placed.add(root.name)
    order = [root]
    children: dict[str, list[Snapshot]] = {}
    for snapshot in order:  # grows meanwhile
        new = [each for each in by_parent.get(snapshot.name, []) if each.name not in placed]
        placed.update(each.name for each in new)
        children[snapshot.name] = new
        order += new
    built: dict[str, Node] = {}
    for snapshot in reversed(order):
        below = tuple(built[each.name] for each in children[snapshot.name])
        built[snapshot.name] = Node(snapshot=snapshot, children=below)
    return built[root.name]


def depth_first(roots: Sequence[Node]) -> list[Snapshot]:
    """Return every snapshot, each before those that were taken after it."""
    found: list[Snapshot] = []
    waiting = list(reversed(roots))
    while waiting:
        node = waiting.pop()
        found.append(node.snapshot)
        waiting += reversed(node.children)
    return found
