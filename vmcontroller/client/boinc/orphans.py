"""VMs of jobs that BOINC's client has dropped while no wrapper ran, and their removal.

The client clears a slot whose job it gives up; nobody tells the VM. So a VM that is made for a
job says in its description whose it is, and each wrapper looks after those of its own client.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from vmcontroller.client.boinc.calling import Calling
from vmcontroller.client.boinc.progress import FILE_NAME, load
from vmcontroller.client.errors import ClientError

PREFIX: Final = "boinc_"
"""Of the names of VMs that are made for one job, and of nothing else."""
_LABEL: Final = "VM of a BOINC job "


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a VM is: a slot among the slots of one client on one machine."""

    slot: str
    device: int
    inode: int
    """Of the directory of all slots: another client's may have the same path elsewhere."""

    def label(self) -> str:
        """Return the description of its VM."""
        return _LABEL + json.dumps(asdict(self))


def owner_of(description: str) -> Owner | None:
    """Return whom a description names; None if it is not one of ours."""
    if not description.startswith(_LABEL):
        return None
    try:
        told = json.loads(description.removeprefix(_LABEL))
        owner = Owner(**told)
    except (ValueError, TypeError, RecursionError):
        return None
    return owner if isinstance(owner.slot, str) and owner.slot else None


def owner_at(slot: Path) -> Owner:
    """Return the owner that a slot is; raises OSError."""
    found = slot.parent.stat()
    return Owner(slot=str(slot), device=found.st_dev, inode=found.st_ino)


def is_orphan(vm: str, owner: Owner, own: Owner) -> bool:
    """Tell whether nobody will come back for a VM; when in doubt, somebody will.

    Only slots beside the own one are judged: those that this process can see. A wrapper writes
    down that it makes a VM before it does.
    """
    slot = Path(owner.slot)
    beside = (owner.device, owner.inode) == (own.device, own.inode)
    if not beside or slot.parent != Path(own.slot).parent:
        return False
    try:
        progress = load((slot / FILE_NAME).read_text("utf-8"))
    except FileNotFoundError:
        return True
    except (OSError, ValueError):
        return False
    return progress.vm != vm


def remove_orphans(calling: Calling, slot: Path, say: Callable[[str], None]) -> None:
    """Remove the VMs of this client's that nobody will come back for; what fails is only told."""
    try:
        own = owner_at(slot)
        names = [str(name) for name in calling.call("listVMs") if str(name).startswith(PREFIX)]
        for vm in names:
            owner = owner_of(str(calling.call("getVM", vm)["description"]))
            if owner is not None and is_orphan(vm, owner, own):
                say(f"the VM {vm!r} is left of a job that was dropped in {owner.slot}")
                _remove(calling, vm)
    except (OSError, ClientError) as error:
        say(f"looking for VMs that are left: {error}")


def _remove(calling: Calling, vm: str) -> None:
    state = calling.call("getState", vm)
    if state == "Saved":
        calling.call("discardState", vm)
    elif state in {"Running", "Paused"}:
        calling.call("powerOff", vm)
    calling.call("removeVM", vm)
