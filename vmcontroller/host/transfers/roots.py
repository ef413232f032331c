"""Which of the host's files a copy may touch: those below directories the config allows.

Opening goes down from the allowed directory one name at a time and follows no link, so that what
was checked is what is opened, however the tree is changed meanwhile. Blocks on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from vmcontroller.common.copying.reasons import Reason, explained
from vmcontroller.common.copying.source import Place, open_below
from vmcontroller.common.errors import AccessDenied, TransferFailed


class AllowedRoots:
    """The directories below which copies may read and write."""

    def __init__(
        self,
        roots: Sequence[str],
        *,
        read_only: Sequence[str] = (),
        of_roles: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """`roots`: absolute paths, at least one; relative paths are relative to the first.

        `read_only`: copies may read below them, too. `of_roles`: what a role has beside `roots`.
        """
        self._roots = tuple(roots)
        self._read_only = tuple(read_only)
        self._of_roles = of_roles or {}

    def of(self, roles: Collection[str]) -> AllowedRoots:
        """Return the directories of callers with these roles: those of all, and of each."""
        own = [root for role in roles for root in self._of_roles.get(role, ())]
        return AllowedRoots([*self._roots, *own], read_only=self._read_only)

    def resolve_readable(self, path: str) -> str:
        """Return the real path of what `path` names, all symbolic links followed.

        Raises AccessDenied, naming the roots, when that is outside of them; TransferFailed
        when no file can have this name. Whether the file exists shows when it is opened.
        """
        if not path:
            raise TransferFailed(Reason.NO_SUCH_FILE, "the path on the host is empty")
        with explained(path):
            real = os.path.realpath(Path(self._roots[0]) / path)
        self._root_of(real, path, self._readable)
        return real

    @property
    def _readable(self) -> tuple[str, ...]:
        return self._roots + self._read_only

    def resolve_writable(self, path: str, name: str) -> str:
        """Return the real path that a copy named `path` gets; errors as resolve_readable.

        A directory, a path that ends in a slash and an empty path (the first root) get the copy
        inside, under `name`; so cp does it.
        """
        real = self.resolve_readable(path or ".")
        with explained(path):
            inside = path.endswith("/") or Path(real).is_dir()
        if inside:
            real = self.resolve_readable(str(Path(real) / name))
        self._root_of(real, path, self._roots)
        return real

    def readable(self, path: str, roles: Collection[str] = ()) -> Place:
        """Find a file to read; the errors of resolve_readable, and TransferFailed.

        `roles`: of the caller, where these are not yet the directories of roles.
        """
        roots = self.of(roles) if roles else self
        return roots._place(roots.resolve_readable(path), path, roots._readable)  # noqa: SLF001

    def writable(self, path: str, name: str) -> Place:
        """Find the place of a file to write; the errors of resolve_writable, and TransferFailed."""
        return self._place(self.resolve_writable(path, name), path or name, self._roots)

    def _place(self, real: str, shown: str, roots: Sequence[str]) -> Place:
        root = self._root_of(real, shown, roots)
        if real == root:
            raise TransferFailed(Reason.IS_A_DIRECTORY, f"{shown!r} is a directory")
        *directories, name = os.path.relpath(real, root).split("/")
        with explained(shown):
            directory_fd = open_below(root, directories)
        return Place(directory_fd=directory_fd, name=name, shown=shown)

    def _root_of(self, real: str, shown: str, roots: Sequence[str]) -> str:
        for root in map(os.path.realpath, roots):
            if real == root or real.startswith(root.rstrip("/") + "/"):
                return root
        allowed = ", ".join(map(repr, roots))
        raise AccessDenied(f"{shown!r} lies outside the directories copies may use: {allowed}")


RootsOf = Callable[[Collection[str]], AllowedRoots]
"""Returns the directories of roles."""
