"""How far a copy is, on a terminal: a bar, the rate, how long it takes still."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vmcontroller.client.cli.session import Session
from vmcontroller.client.cli.text import shown

Bar = Callable[[int, int], object]


@contextmanager
def bar(session: Session, name: str, *, quiet: bool) -> Iterator[Bar]:
    """Show progress on standard error, if that is a terminal; give what is told of it."""
    if quiet or session.json or not sys.stderr.isatty():
        yield lambda _done, _size: None
        return
    try:
        from rich import progress  # noqa: PLC0415 - slow to import, and may not be installed
        from rich.console import Console  # noqa: PLC0415
    except ImportError:
        yield lambda _done, _size: None
        return
    console = Console(stderr=True, no_color=not session.colours, highlight=False)
    columns = (
        progress.TextColumn("{task.description}", markup=False),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.DownloadColumn(binary_units=True),
        progress.TransferSpeedColumn(),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=console) as display:
        task = display.add_task(shown(name), total=None)
        yield lambda done, size: display.update(
            task, completed=done, total=size if size >= 0 else None
        )
