"""The one interface every hypervisor is driven through, and the values that cross it.

A backend turns its vendor's errors into those of `common.errors`; none of the vendor's own
crosses this line. It answers quickly or by its own deadline, never blocks the reactor, and
leaves waiting for a state, retries and policy to those above. `tests/contract/hypervisor.py`
is what every backend must pass.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from vmcontroller.common.credentials import Credential
from vmcontroller.host.hypervisor.observable import Observable
from vmcontroller.host.hypervisor.snapshots import Snapshot
from vmcontroller.host.hypervisor.specification import VmSpec
from vmcontroller.host.hypervisor.vm_state import VmState


class Capability(enum.StrEnum):
    """What a backend may or may not be able to do; what it doesn't claim answers Unsupported."""

    ACPI_SHUTDOWN = "acpi-shutdown"
    """A clean shutdown can be asked of the guest."""
    DIRECT_BOOT = "direct-boot"
    """A kernel and an initrd can be given instead of a boot loader on the disk."""
    DISK_IMAGES = "disk-images"
    """VMs are made from disk images (otherwise from directories)."""
    RESET = "reset"
    SNAPSHOTS = "snapshots"
    """What is on a machine's disks can be kept, and gone back to."""
    MEMORY_SNAPSHOTS = "memory-snapshots"
    """Snapshots of a machine that is on hold its memory, too."""
    SAVE = "save"
    """A machine's memory can be put into a file, and gone on from at the next start."""
    SLEEP = "sleep"
    """A guest can be put to sleep; whether this one can is seen when it is asked."""
    CLONES = "clones"
    """A machine can stand on an overlay or a copy of the image that is given."""
    DEVICES = "devices"
    """More disks, an optical disc, other buses than the usual one, an order of booting."""
    FIRMWARE = "firmware"
    """BIOS or UEFI can be chosen."""
    NETWORKS = "networks"
    """Guests can be on an isolated network, or on a bridge of the host."""
    SEEDS = "seeds"
    """A guest is shown a seed image for cloud-init."""
    FIGURES = "figures"
    SCREENSHOT = "screenshot"
    CONSOLE_LOG = "console-log"


@dataclass(frozen=True, slots=True, kw_only=True)
class VmDisk:
    """A disk of a machine, as its definition has it; nobody looked at the file."""

    path: str
    """The real path, where the hypervisor is on this host."""
    format: str = ""
    """In the hypervisor's words; empty where it says none."""
    bus: str = ""
    read_only: bool = False
    """The machine never writes to it: an optical disc, or so marked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vm:
    """One virtual machine as the hypervisor has it now."""

    uuid: str
    """Lower case, with hyphens."""
    name: str
    state: VmState
    macs: tuple[str, ...] = ()
    """Upper case with colons; the first is the guest's id."""
    disks: tuple[VmDisk, ...] = ()
    told_login: str = ""
    """Whose credential its guest is told at a start; empty: none. A clone begins with another's."""
    told_passcode: str = field(default="", repr=False)
    channel: str = ""
    """The host's Unix socket of the machine's own serial channel to the daemon, while it runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmDetails:
    """What a machine was made with, as its definition has it."""

    memory_mib: int
    """0 where the hypervisor sets it no size."""
    vcpus: int
    """0 where it has as many as the host."""
    network: str
    """`nat`, `isolated`, `bridge`, `none`, or `other`, of a machine that others made."""
    firmware: str
    """`bios` or `uefi`; empty where there is none."""
    description: str
    disks: tuple[VmDisk, ...]
    """Read-only ones too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VmChanged:
    """A virtual machine appeared, changed its state or went (`state` is None)."""

    uuid: str
    name: str
    state: VmState | None
    restored: bool = False
    """Its memory was put back from a file or a snapshot: its guest is what it was then."""
    rolled_back: bool = False
    """It goes back to a snapshot: what its guest has done since then has not happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentAddress:
    """How an agent reaches the broker; the backend knows the host part of it."""

    port: int = 61613
    hosts: Sequence[str] = field(default_factory=tuple)
    """The addresses the broker listens on; a backend picks the one its guest can reach."""
    elsewhere: bool = False
    """The broker is not this host's own: the only one of `hosts` is told to guests as it is."""
    credential: Credential | None = None
    """What the agent logs in with at the broker. None: what its own configuration says."""


class Hypervisor(Observable, Protocol):
    """A hypervisor of this host.

    VMs are named by their UUID here. Unless stated otherwise every method raises NoSuchVM for
    an unknown UUID, InvalidState when the machine's state does not allow the operation,
    HypervisorUnreachable when there is nobody to ask, and HypervisorError for every other
    refusal. A method returns when the hypervisor has accepted the operation; for all but
    `shutdown` the new state is then in force.
    """

    name: str
    capabilities: frozenset[Capability]

    async def open(self, listener: Callable[[VmChanged], None]) -> None:
        """Connect and begin to report changes to `listener`, in the reactor's thread.

        Raises HypervisorUnreachable. Changes made by others are reported too.
        """
        ...

    async def close(self) -> None:
        """Stop reporting and let go; virtual machines run on. Idempotent."""
        ...

    async def guest_networks(self) -> tuple[str, ...]:
        """Return the host's own IP address in each network its guests can be on now."""
        ...

    async def list_vms(self) -> tuple[Vm, ...]:
        """Return every virtual machine, running or not, in one bulk read."""
        ...

    async def describe(self, uuid: str) -> VmDetails:
        """Return what a machine was made with; whatever its state."""
        ...

    async def create(self, spec: VmSpec) -> Vm:
        """Define a new machine, powered off. All or nothing: after an error nothing remains.

        Raises VMExists, and BadArgument or Unsupported for what cannot be had here.
        """
        ...

    async def remove(self, uuid: str) -> None:
        """Undefine a machine that is off. The disk images its creator gave stay where they are."""
        ...

    async def tell(self, uuid: str, credential: Credential) -> None:
        """Let the guest be told, from its next start on, what it logs in with at the broker."""
        ...

    async def start(self, uuid: str, agent: AgentAddress) -> None:
        """Power on; the agent inside learns from the hypervisor where the broker is.

        It also learns what to log in with, unless `agent` leaves that to it.
        """
        ...

    async def shutdown(self, uuid: str) -> None:
        """Ask the guest to shut down and return at once; it may take its time or ignore it."""
        ...

    async def power_off(self, uuid: str) -> None:
        """Take the power away, from any state that is not off."""
        ...

    async def reset(self, uuid: str) -> None:
        """Restart a running machine as its reset button would."""
        ...

    async def pause(self, uuid: str) -> None:
        """Freeze a running machine, its memory kept."""
        ...

    async def resume(self, uuid: str) -> None:
        """Let a paused machine run on."""
        ...

    async def take_snapshot(self, uuid: str, name: str, description: str = "") -> None:
        """Keep what a machine is now; all or nothing. It becomes the current snapshot.

        Of a machine that runs or is paused the memory is kept too, with MEMORY_SNAPSHOTS. Raises
        BadArgument for a name that can't be, SnapshotExists, and Unsupported where its disks can't
        hold one, saying what would.
        """
        ...

    async def restore_snapshot(self, uuid: str, name: str) -> None:
        """Make a machine what it was; afterwards it is in the snapshot's state.

        What was saved of its memory since is dropped. Raises NoSuchSnapshot.
        """
        ...

    async def delete_snapshot(self, uuid: str, name: str) -> None:
        """Drop a snapshot; those that were taken after it stay. Raises NoSuchSnapshot."""
        ...

    async def list_snapshots(self, uuid: str) -> Sequence[Snapshot]:
        """Return a machine's snapshots, in no particular order."""
        ...

    async def save(self, uuid: str) -> None:
        """Put the memory of a machine that runs or is paused into a file, and switch it off.

        The next `start` goes on from there: a paused one stays paused.
        """
        ...

    async def discard(self, uuid: str) -> None:
        """Drop what was saved: the machine is powered off, as if its plug had been pulled."""
        ...

    async def sleep(self, uuid: str) -> None:
        """Put the guest to sleep (S3) by the hypervisor's own means; `resume` wakes it.

        Raises Unsupported where there are none: the agent may have others.
        """
        ...
