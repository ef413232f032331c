"""Tables on a terminal: with rich where it is installed, and plain where it is not."""

from __future__ import annotations

from collections.abc import Sequence

import click

from vmcontroller.client.cli.text import Cell, shown

try:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text
except ImportError:  # the extra `client` is not installed
    Console = None  # type: ignore[assignment,misc]


def print_table(titles: Sequence[str], rows: Sequence[Sequence[Cell]], *, colours: bool) -> None:
    """Print rows below their titles."""
    if Console is None:
        _print_plain(titles, rows)
        return
    table = Table(box=None, pad_edge=False, header_style="bold" if colours else "")
    for at, title in enumerate(titles):
        numbers = bool(rows) and all(_is_number(row[at].plain) for row in rows)
        table.add_column(title, justify="right" if numbers else "left", no_wrap=True)
    for row in rows:
        table.add_row(
            *(Text(shown(cell.pretty), style=cell.style if colours else "") for cell in row)
        )
    console = Console(highlight=False, markup=False, emoji=False, no_color=not colours)
    # What does not fit the terminal may break its lines: nothing is left out, and an id is whole.
    wide = console.options.update(width=10_000)
    console.width = max(console.width, console.measure(table, options=wide).maximum)
    console.print(table)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).lstrip("-").isdigit()


def _print_plain(titles: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    lines = [list(titles), *([shown(cell.pretty) for cell in row] for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(titles))]
    for line in lines:
        cells = (f"{text:{width}}" for text, width in zip(line, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
