"""What one run of the command works with: its options, the client, where its output goes."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from vmcontroller.client.cli.text import Cell, shown

if TYPE_CHECKING:
    from vmcontroller.client.client import Client


def is_json(value: object) -> Any:
    """Turn what JSON has not into what it has: bytes into base64."""
    if isinstance(value, bytes):
        import base64  # noqa: PLC0415 - seldom needed

        return base64.b64encode(value).decode()
    return str(value)


class Session:
    """The options of the command line, and what comes of them."""

    def __init__(self) -> None:
        self.options: dict[str, Any] = {}
        self._client: Client | None = None

    def take(self, name: str, value: object) -> None:
        """Note a global option; one that comes later in the command line counts."""
        self.options[name] = value

    @property
    def client(self) -> Client:
        """The daemon's client; made when it is needed."""
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _connect(self) -> Client:
        from vmcontroller.client.client import TIMEOUT_S, Client  # noqa: PLC0415 - slow to import

        given = self.options
        user = given.get("api_user") or ""
        token = _secret(given.get("token_file"), "VMCONTROLLER_TOKEN")
        password = _secret(given.get("password_file"), "VMCONTROLLER_PASSWORD") if user else ""
        if user and not password and not token:
            password = click.prompt(f"Password of {user}", hide_input=True, err=True)
        try:
            return Client(
                given.get("url") or "",
                user=user,
                password=password,
                token=token,
                ca=given.get("ca") or "",
                certificate=given.get("cert") or "",
                key=given.get("key") or "",
                timeout_s=given.get("api_timeout") or TIMEOUT_S,
                reason=given.get("reason") or "",
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error

    @property
    def json(self) -> bool:
        """Whether output is for programs that read JSON."""
        return bool(self.options.get("json"))

    @property
    def pretty(self) -> bool:
        """Whether output is for people: standard output is a terminal."""
        return not self.json and sys.stdout.isatty()

    @property
    def colours(self) -> bool:
        """Whether what is for people may have colours."""
        wanted = not self.options.get("no_color") and not os.environ.get("NO_COLOR")
        return wanted and os.environ.get("TERM") != "dumb"

    def table(
        self, titles: Sequence[str], rows: Sequence[Sequence[Cell | str | int]], data: object
    ) -> None:
        """Print rows: as a table, as lines with tabs, or as JSON, which is `data`."""
        if self.json:
            self.print_json(data)
            return
        cells = [[each if isinstance(each, Cell) else _cell(each) for each in row] for row in rows]
        if self.pretty:
            from vmcontroller.client.cli.tables import print_table  # noqa: PLC0415 - slow to import

            print_table(titles, cells, colours=self.colours)
            return
        for row in cells:
            click.echo("\t".join(shown(cell.plain) for cell in row))

    def facts(self, pairs: Sequence[tuple[str, Cell | str | int]], data: object) -> None:
        """Print names and values, one a line; or JSON, which is `data`."""
        if self.json:
            self.print_json(data)
            return
        width = max((len(name) for name, _ in pairs), default=0)
        for name, value in pairs:
            cell = value if isinstance(value, Cell) else _cell(value)
            if self.pretty:
                label = click.style(f"{name:{width}}", bold=True) if self.colours else name
                pad = "" if self.colours else " " * (width - len(name))
                click.echo(f"{label}{pad}  {shown(cell.pretty)}")
            else:
                click.echo(f"{name}\t{shown(cell.plain)}")

    def print_json(self, data: object, *, one_line: bool = False) -> None:
        """Print JSON: ASCII, so that nothing in it does anything to a terminal."""
        indent = 2 if sys.stdout.isatty() and not one_line else None
        click.echo(json.dumps(data, indent=indent, default=is_json))

    def done(self, data: object = True) -> None:
        """End a command that has nothing to say: silence, or in JSON what the daemon answered."""
        if self.json:
            self.print_json(data)

    def note(self, text: str) -> None:
        """Say something to a person, on standard error."""
        click.echo(f"vmcontroller: {shown(text)}", err=True)

    def close(self) -> None:
        """Hang up."""
        if self._client is not None:
            self._client.close()


def _cell(value: str | int) -> Cell:
    return Cell(str(value), str(value))


def _secret(path: str | None, variable: str) -> str:
    """Read a secret from a file, '-' being standard input; else from the environment."""
    if path is None:
        return os.environ.get(variable, "")
    try:
        if path == "-":
            text = sys.stdin.readline()
        else:
            with open(path, encoding="utf-8") as file:
                text = file.readline()
    except (OSError, UnicodeDecodeError) as error:
        raise click.UsageError(f"{path}: {error}") from error
    secret = text.rstrip("\r\n")
    if not secret:
        raise click.UsageError(f"{path}: its first line is empty")
    return secret
