"""Making disks with qemu-img: overlays on a base, and empty ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from vmcontroller.common.errors import HypervisorError, Unsupported
from vmcontroller.common.spawning import StartFailed, StartProblem
from vmcontroller.host.creation.programs import RunProgram
from vmcontroller.host.hypervisor.specification import DiskImage

PROGRAM: Final = "qemu-img"
DEADLINE_S: Final = 60.0
"""It writes a few hundred KiB, whatever the size of the disk."""


def overlay_command(path: str, base: DiskImage, size_bytes: int) -> Sequence[str]:
    """Return what makes a qcow2 overlay on `base`, whose format is stated and never guessed."""
    return [
        *(PROGRAM, "create", "-q", "-f", "qcow2", "-F", base.format, "-b", base.path),
        *("--", path, str(size_bytes)),
    ]


def disk_command(path: str, size_bytes: int) -> Sequence[str]:
    """Return what makes an empty qcow2 disk."""
    return [PROGRAM, "create", "-q", "-f", "qcow2", "--", path, str(size_bytes)]


async def make_disk(run: RunProgram, backend: str, command: Sequence[str]) -> None:
    """Run one of these commands.

    Raises Unsupported where the host has no qemu-img, HypervisorError with what it said.
    """
    try:
        ended = await run(command, DEADLINE_S)
    except StartFailed as error:
        if error.problem is StartProblem.NOT_FOUND:
            raise Unsupported(
                backend,
                f"disks of its own: there is no {PROGRAM} on this host; Debian and Ubuntu have "
                "it in the package qemu-utils",
            ) from error
        raise HypervisorError(backend, f"{PROGRAM}: {error}") from error
    if not ended.succeeded:
        raise HypervisorError(backend, f"{PROGRAM}: {ended.said}")
