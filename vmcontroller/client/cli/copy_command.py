"""The command `cp`: files into VMs and out of them."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

import click

from vmcontroller.client.cli.lazy import PASS, Command
from vmcontroller.client.cli.progress import Bar, bar
from vmcontroller.client.cli.session import Session
from vmcontroller.client.errors import ClientError

_MAC: Final = re.compile(r"((?:[0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}):(.*)", re.DOTALL)
POLL_S: Final = 0.5


class End(NamedTuple):
    """One end of a copy."""

    vm: str
    """'' is this machine (or, with --on-host, the daemon's)."""
    path: str


def end_of(word: str) -> End:
    """Read VM:PATH, or a path; `./a:b` is a path."""
    if found := _MAC.fullmatch(word):
        return End(found[1], found[2])
    vm, colon, path = word.partition(":")
    if colon and vm and "/" not in vm:
        return End(vm, path)
    return End("", word)


@click.command("cp", cls=Command)
@click.argument("words", metavar="SOURCE... TARGET", nargs=-1, required=True)
@click.option("-r", "--recursive", is_flag=True, help="Directories, with all below them.")
@click.option("--user", metavar="NAME", help="With the rights of this user of the guest.")
@click.option("--on-host", is_flag=True, help="The path without VM: is one of the daemon's host.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
@PASS
def cp_command(
    session: Session,
    words: Sequence[str],
    *,
    recursive: bool,
    user: str | None,
    on_host: bool,
    quiet: bool,
) -> None:
    """Copy files into VMs and out of them.

    One of SOURCE and TARGET is VM:PATH. A path without VM: is a file of the machine on which this
    command runs, with the rights of who runs it; its bytes go through the API, from anywhere, and
    need the role exec. With --on-host it is a file of the daemon's host instead, below the
    directories that its configuration allows, and the daemon copies it: much faster.

    A file is in its place when it is whole and verified (SHA-256), not before. The same command
    goes on with a copy that broke off. A relative path of a guest begins in the home of its user.
    """
    if len(words) < 2:
        raise click.UsageError("cp needs a source and a target: VM:PATH on one side")
    *sources, target = map(end_of, words)
    if any(bool(source.vm) == bool(target.vm) for source in sources):
        raise click.UsageError("one of source and target is VM:PATH, the other is not")
    if user and on_host:
        raise click.UsageError(
            "--on-host copies with the rights of the guest's agent, not a user's"
        )
    for source in sources:
        with bar(session, os.path.basename(source.path.rstrip("/")), quiet=quiet) as shown:
            if on_host:
                _by_the_daemon(session, source, target, shown, recursive=recursive)
            else:
                _by_the_api(session, source, target, shown, recursive=recursive, user=user)
    session.done()


def _by_the_api(
    session: Session, source: End, target: End, shown: Bar, *, recursive: bool, user: str | None
) -> None:
    options = {"user": user} if user else {}
    if target.vm:
        session.client.copy_to(
            target.vm,
            source.path,
            target.path,
            recursive=recursive,
            on_progress=shown,
            options=options,
        )
    else:
        session.client.copy_from(
            source.vm,
            source.path,
            target.path,
            recursive=recursive,
            on_progress=shown,
            options=options,
        )


def _by_the_daemon(
    session: Session, source: End, target: End, shown: Bar, *, recursive: bool
) -> None:
    """Let the daemon copy, and look how far it is; an interrupt ends the copy there, too."""
    vm = target.vm or source.vm
    watch = session.client
    before = {one["id"] for one in watch.list_transfers(vm) if one["state"] in _OVER}
    failed: list[ClientError] = []

    def copy() -> None:
        with session.client.clone() as client:
            try:
                options = {"recursive": True} if recursive else {}
                if target.vm:
                    client.cp_file_to_vm(vm, source.path, target.path, options)
                else:
                    client.cp_file_from_vm(vm, source.path, target.path, options)
            except ClientError as error:
                failed.append(error)

    remote, local = (target.path, source.path) if target.vm else (source.path, target.path)
    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    found = ""
    try:
        while thread.is_alive():
            thread.join(POLL_S)
            for one in watch.list_transfers(vm):
                mine = (one["remotePath"], one["localPath"]) == (remote, local)
                if mine and one["id"] not in before:
                    found = one["id"]
                    shown(one["bytes"], one["size"])
    except KeyboardInterrupt:
        if found:
            watch.cancel_transfer(found)
        raise
    if failed:
        raise failed[0]


_OVER: Final = frozenset({"done", "failed", "cancelled"})
