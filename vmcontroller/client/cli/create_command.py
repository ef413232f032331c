"""The command `create`: a VM, and all that it may have."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any, Final

import click

from vmcontroller.client.cli.lazy import PASS, Command
from vmcontroller.client.cli.session import Session
from vmcontroller.client.cli.text import bytes_of

MIB: Final = 2**20


def mib_of(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    """Read a size in MiB, or with a unit."""
    if value is None:
        return None
    try:
        return int(value) if value.isdigit() else bytes_of(value) // MIB
    except ValueError as error:
        raise click.BadParameter(f"{value!r} is no size such as 1024 (MiB) or 1.5G") from error


def text_of(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    """Read a file of this machine."""
    if value is None:
        return None
    try:
        with open(value, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"{value}: {error}") from error


def keys_of(
    _context: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> list[str] | None:
    """Read public keys: each a file of this machine, or the key itself."""
    found: list[str] = []
    for value in values:
        if value.startswith(("ssh-", "ecdsa-", "sk-")):
            found.append(value)
            continue
        try:
            with open(value, encoding="utf-8") as file:
                found += [line.strip() for line in file if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise click.BadParameter(f"{value}: {error}") from error
    return found or None


def disks_of(
    _context: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> list[dict[str, Any]] | None:
    """Read further disks: a size makes a new one, anything else is a path on the host."""
    found: list[dict[str, Any]] = []
    for value in values:
        if value.startswith("/"):
            found.append({"path": value})
            continue
        size = mib_of(_context, _parameter, value)
        assert size is not None
        found.append({"path": "", "size": size})
    return found or None


def pairs_of(
    _context: click.Context, _parameter: click.Parameter, values: Sequence[str]
) -> dict[str, Any]:
    """Read NAME=VALUE, where the value is JSON, or else a string."""
    found: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals:
            raise click.BadParameter(f"{value!r} is no NAME=VALUE")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


@click.command("create", cls=Command)
@click.argument("vm", metavar="NAME")
@click.argument("image", default="")
@click.option("--clone", is_flag=True, help="IMAGE is a base: the VM gets a layer above it.")
@click.option("--memory", metavar="SIZE", callback=mib_of, help="In MiB, or with a unit: 2G.")
@click.option("--vcpus", type=int, metavar="N", help="Virtual processors.")
@click.option("--disk-size", "diskSize", metavar="SIZE", callback=mib_of, help="Grow the clone.")
@click.option(
    "--disk",
    "disks",
    multiple=True,
    metavar="SIZE|PATH",
    callback=disks_of,
    help="A further disk: a new one of this size, or one that is there.",
)
@click.option("--bus", type=click.Choice(["virtio", "sata", "scsi", "ide"]), help="Of the disks.")
@click.option("--network", type=click.Choice(["nat", "isolated", "bridge", "none"]))
@click.option("--bridge", metavar="NAME", help="The host's bridge, with --network bridge.")
@click.option("--boot", "bootOrder", metavar="A,B", help="Of disk, network and cdrom.")
@click.option("--firmware", type=click.Choice(["bios", "uefi"]))
@click.option("--cdrom", metavar="PATH", help="An ISO image of the host.")
@click.option("--user-data", "userData", metavar="FILE", callback=text_of, help="For cloud-init.")
@click.option("--meta-data", "metaData", metavar="FILE", callback=text_of, help="For cloud-init.")
@click.option("--network-config", "networkConfig", metavar="FILE", callback=text_of)
@click.option(
    "--ssh-key",
    "sshKeys",
    multiple=True,
    metavar="FILE|KEY",
    callback=keys_of,
    help="A public key that may log in.",
)
@click.option("--hostname", metavar="NAME", help="The guest's.")
@click.option("--description", metavar="TEXT")
@click.option("--format", type=click.Choice(["qcow2", "raw", "vmdk"]), help="Of IMAGE.")
@click.option(
    "-o",
    "--option",
    "more",
    multiple=True,
    metavar="NAME=JSON",
    callback=pairs_of,
    help="Any option of createVM.",
)
@click.option("--start", is_flag=True, help="Power it on, and wait for its agent.")
@PASS
def create_command(
    session: Session, /, vm: str, image: str, *, start: bool, more: dict[str, Any], **given: Any
) -> None:
    """Make a VM on a disk image of the host.

    IMAGE is a path on the daemon's host; a relative one is meant from here. --user-data and the
    like name files of this machine.
    """
    options = {
        name: value for name, value in given.items() if value is not None and value is not False
    }
    if "bootOrder" in options:
        options["bootOrder"] = options["bootOrder"].split(",")
    image = image and os.path.abspath(image)
    answer = session.client.create_vm(vm, image, {**options, **more})
    if start:
        session.client.start(vm)
        session.client.wait_ready(vm)
    session.done(answer)
