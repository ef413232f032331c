"""The table of methods: snapshots, saved states, sleep."""

from __future__ import annotations

from typing import Final

from vmcontroller.host.callers import OPERATE, READ
from vmcontroller.host.xmlrpc.kinds import Text
from vmcontroller.host.xmlrpc.method import Method, Parameter
from vmcontroller.host.xmlrpc.parameters import VM

DESCRIPTION_CHARS: Final = 10_000

_NEW_NAME: Final = Parameter(
    name="name",
    kind=Text(max_chars=100, empty=False),
    doc="A name that no other snapshot of this VM has: 1 to 100 characters, none of them a control "
    "character, no white space at its ends.",
)
_NAME: Final = Parameter(
    name="name", kind=Text(max_chars=1000, empty=False), doc="The snapshot's name."
)
_DESCRIPTION: Final = Parameter(
    name="desc",
    kind=Text(max_chars=DESCRIPTION_CHARS),
    default="",
    doc="A description, which `getSnapshots` answers as it is.",
)

SNAPSHOT_METHODS: Final = (
    Method(
        name="takeSnapshot",
        role=OPERATE,
        aliases=("saveSnapshot",),
        target=lambda door, arg: door.operations.take_snapshot(arg["vm"], arg["name"], arg["desc"]),
        parameters=(VM, _NEW_NAME, _DESCRIPTION),
        returns="boolean",
        answer="`true` when it is kept; the VM is in the state it was in.",
        doc="Take a snapshot of a VM that is off, runs or is paused; of one that is on its memory, "
        "too, where the hypervisor can. It stands still meanwhile. After a Fault nothing is kept.",
        example="host.takeSnapshot('worker 1', 'before the upgrade', 'all is well')",
    ),
    Method(
        name="restoreSnapshot",
        role=OPERATE,
        target=lambda door, arg: door.operations.restore_snapshot(arg["vm"], arg["name"]),
        parameters=(
            VM,
            Parameter(
                name="name",
                kind=Text(max_chars=1000),
                default="",
                doc="The snapshot's name; the current one (the newest that was taken or restored) "
                "if it is empty.",
            ),
            Parameter(
                name="desc",
                kind=Text(),
                default="",
                doc="Accepted for the sake of old clients, and not used.",
            ),
        ),
        returns="boolean",
        answer="`true` when the VM is what it was, and in the state that `getSnapshots` says.",
        doc="Go back to a snapshot, from any state. What the VM was until now is gone, a saved "
        "state too; commands that run in it are lost.",
        example="host.restoreSnapshot('worker 1', 'before the upgrade')",
    ),
    Method(
        name="deleteSnapshot",
        role=OPERATE,
        target=lambda door, arg: door.operations.delete_snapshot(arg["vm"], arg["name"]),
        parameters=(VM, _NAME),
        returns="boolean",
        answer="`true` when it is gone.",
        doc="Drop a snapshot. Those that were taken after it stay, and so does the VM.",
        example="host.deleteSnapshot('worker 1', 'before the upgrade')",
    ),
    Method(
        name="listSnapshots",
        role=READ,
        target=lambda door, arg: door.operations.list_snapshots(arg["vm"]),
        parameters=(VM,),
        returns="array",
        answer="Their names, each before those that were taken after it.",
        doc="List a VM's snapshots.",
        example="host.listSnapshots('worker 1')",
    ),
    Method(
        name="getSnapshots",
        role=READ,
        target=lambda door, arg: door.operations.get_snapshots(arg["vm"]),
        parameters=(VM,),
        returns="array",
        answer="The roots of the tree, the oldest first, as structs: `name`, `description`, "
        "`created` (seconds since 1970), `state` (the VM's after it is restored), `parent` (a "
        "name, or empty), `current` (the next one that is taken will be its child), `children` (an "
        "array of the same; what is more than 100 levels deep stands side by side).",
        doc="Tell a VM's snapshots as a tree.",
        example="host.getSnapshots('worker 1')[0]['children']",
    ),
    Method(
        name="saveState",
        role=OPERATE,
        target=lambda door, arg: door.operations.save_state(arg["vm"]),
        parameters=(VM,),
        returns="boolean",
        answer="`true` when the VM is `Saved`.",
        doc="Save the memory of a VM that runs or is paused, and switch it off. `start` goes on "
        "from there, its commands too; a VM that was paused is paused again.",
        example="host.saveState('worker 1')",
    ),
    Method(
        name="discardState",
        role=OPERATE,
        target=lambda door, arg: door.operations.discard_state(arg["vm"]),
        parameters=(VM,),
        returns="boolean",
        answer="`true` when the VM is `PoweredOff`.",
        doc="Drop a saved state, as if the VM's plug had been pulled when it was saved.",
        example="host.discardState('worker 1')",
    ),
    Method(
        name="sleep",
        role=OPERATE,
        target=lambda door, arg: door.operations.sleep(arg["vm"]),
        parameters=(VM,),
        returns="boolean",
        answer="`true` when it sleeps: its state is `Paused`, and `resume` wakes it.",
        doc="Put the guest to sleep (suspend to memory, S3), by its agent or by QEMU's own. A "
        "guest that can't is told by a Fault UNSUPPORTED, which says why.",
        example="host.sleep('worker 1')",
    ),
)
