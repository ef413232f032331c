"""What is kept of a file besides its bytes, and how words carry that."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.words.wording import Spoken


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What is kept of a file besides its bytes."""

    size_bytes: int
    """Of a tree: of the stream that stands for it (common/copying/tree.py)."""
    mode: int
    """The twelve permission bits."""
    mtime_ns: int
    owner: str = ""
    """The names of its user and its group; empty where they are not to be kept."""
    group: str = ""
    tree: bool = False
    """A directory and all below it, as one stream."""
    data_bytes: int | None = None
    """How much of a file with holes takes space on the disk, about; None: all of it."""

    def are_those_of(self, other: FileFacts | None) -> bool:
        """Tell whether both are of one state of a file; how much space it takes may vary."""
        if other is None:
            return False
        return replace(self, data_bytes=None) == replace(other, data_bytes=None)


def said_facts(facts: FileFacts) -> dict[str, object]:
    """Return the fields that say the facts."""
    return {
        "size": facts.size_bytes,
        "mode": facts.mode,
        "mtime": facts.mtime_ns,
        "owner": facts.owner,
        "group": facts.group,
        "tree": facts.tree,
        "data": facts.size_bytes if facts.data_bytes is None else facts.data_bytes,
    }


def heard_facts(spoken: Spoken) -> FileFacts:
    """Read the facts from a word; raises ProtocolError."""
    size_bytes = spoken.whole("size")
    data_bytes = spoken.whole("data", size_bytes)
    mode = spoken.whole("mode")
    if mode > 0o7777:
        raise ProtocolError(f"{spoken.name}: mode must be the permission bits, not {mode:o}")
    return FileFacts(
        size_bytes=size_bytes,
        mode=mode,
        mtime_ns=spoken.whole("mtime"),
        owner=spoken.text("owner", "", max_chars=64),
        group=spoken.text("group", "", max_chars=64),
        tree=spoken.truth("tree"),
        data_bytes=data_bytes if data_bytes < size_bytes else None,
    )
