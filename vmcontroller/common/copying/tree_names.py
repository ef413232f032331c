"""Which names and links a tree may hold: the same rules for whoever sends and whoever receives.

Names are bytes, as Linux has them. Pure; raises TransferFailed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vmcontroller.common.copying.reasons import Reason
from vmcontroller.common.errors import TransferFailed

NAME_BYTES: Final = 255
PATH_BYTES: Final = 4096
DEPTH_MOST: Final = 1000
ENTRIES_MOST: Final = 1_000_000
OWNER_CHARS: Final = 64
"""Of the name of a user or group, as in the words; a longer one is not kept."""


def shown(names: Sequence[bytes]) -> str:
    """Return a path as errors name it (with repr, for it may hold anything)."""
    return b"/".join(names).decode("utf-8", "surrogateescape")


def check_names(names: Sequence[bytes]) -> None:
    """Raise unless this path leads to a place below the root, by names that are possible."""
    if not names:
        raise TransferFailed(Reason.PROTOCOL, "an entry of the tree has no name")
    if len(names) > DEPTH_MOST:
        raise TransferFailed(
            Reason.TOO_LARGE, f"{shown(names)!r:.200}: deeper than {DEPTH_MOST} directories"
        )
    if sum(map(len, names)) + len(names) - 1 > PATH_BYTES:
        raise TransferFailed(
            Reason.TOO_LARGE, f"{shown(names)!r:.200}: a path longer than {PATH_BYTES} bytes"
        )
    for name in names:
        if name in {b"", b".", b".."} or b"\0" in name or b"/" in name or len(name) > NAME_BYTES:
            raise TransferFailed(
                Reason.PROTOCOL, f"{shown(names)!r:.200} is no path below the directory"
            )


def check_target(names: Sequence[bytes], target: bytes) -> None:
    """Raise unless the symbolic link at `names` surely leads nowhere but into the tree.

    It does when its target is `..` at most as often as there are directories above the link, and
    then only goes down. For a link lies in a true directory of the tree, whose `..` is the true
    directory above; going down by names ends in the tree, or at another link, of which the same
    holds. A `..` after a name proves nothing, for the name may be a link to somewhere higher.
    """
    if not target or b"\0" in target or len(target) >= PATH_BYTES:
        raise TransferFailed(Reason.PROTOCOL, f"{shown(names)!r:.200} is a link to no path")
    parts = [part for part in target.split(b"/") if part not in {b"", b"."}]
    ups = next((at for at, part in enumerate(parts) if part != b".."), len(parts))
    if target.startswith(b"/") or ups >= len(names) or b".." in parts[ups:]:
        raise TransferFailed(
            Reason.ESCAPES_TREE,
            f"{shown(names)!r:.200} is a symbolic link to {shown([target])!r:.200}, which may lead "
            "out of the directory that is copied: remove it, or make it relative, with '..' only "
            "at the beginning",
        )
