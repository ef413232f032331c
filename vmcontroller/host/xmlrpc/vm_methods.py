"""The table of methods: virtual machines."""

from __future__ import annotations

from typing import Final

from vmcontroller.host.callers import ADMIN, OPERATE, READ
from vmcontroller.host.xmlrpc.create_options import CREATE_OPTIONS
from vmcontroller.host.xmlrpc.kinds import Text
from vmcontroller.host.xmlrpc.method import Method, Parameter
from vmcontroller.host.xmlrpc.parameters import GUI_MODE, VM

VM_METHODS: Final = (
    Method(
        name="createVM",
        role=ADMIN,
        target=lambda door, arg: door.operations.create_vm(arg["vm"], arg["image"], arg["options"]),
        parameters=(
            Parameter(
                name="vm",
                kind=Text(max_chars=1000),
                doc="The new VM's name: 1 to 100 characters without '/' and control characters, "
                "not of the form of a UUID or a MAC address.",
            ),
            Parameter(
                name="image",
                kind=Text(),
                doc="The path of its disk image on the host (qcow2, raw or vmdk). On the "
                "hypervisor `local` a directory to start from, or ''. '' also where the options "
                "name something else to boot from.",
            ),
            Parameter(name="options", kind=CREATE_OPTIONS, default={}, doc="What it shall have."),
        ),
        returns="array",
        answer="`[true, name]`",
        doc="Make a VM on an existing disk image, or on an overlay of one; it is off. After a "
        "Fault nothing of it remains. What a hypervisor can't do is a Fault UNSUPPORTED that names "
        "the option.",
        example="host.createVM('worker 1', '/srv/images/worker.qcow2', {'memory': 1024})",
    ),
    Method(
        name="removeVM",
        role=ADMIN,
        target=lambda door, arg: door.operations.remove_vm(arg["vm"]),
        parameters=(VM,),
        returns="array",
        answer="`[true, name]`",
        doc="Remove a VM that is off, with the disks and the seed that createVM made for it. "
        "Images that were given stay where they are.",
        example="host.removeVM('worker 1')",
    ),
    Method(
        name="start",
        role=OPERATE,
        target=lambda door, arg: door.operations.start(arg["vm"]),
        parameters=(VM, GUI_MODE),
        returns="boolean",
        answer="`true` when it runs; its agent comes up later: see `ping`.",
        doc="Power a VM on.",
        example="host.start('worker 1')",
    ),
    Method(
        name="shutdown",
        role=OPERATE,
        target=lambda door, arg: door.operations.shutdown(arg["vm"]),
        parameters=(VM,),
        returns="boolean",
        answer="`true` when the guest has shut down.",
        doc="Ask the guest to shut down and wait for it.",
        example="host.shutdown('worker 1')",
    ),
    Method(
        name="reset",
        role=OPERATE,
        target=lambda door, arg: door.operations.reset(arg["vm"]),
        parameters=(VM,),
        returns="boolean",
        answer="`true`",
        doc="Restart a running VM as its reset button would; the guest is not asked.",
        example="host.reset('worker 1')",
    ),
    Method(
        name="powerOff",
        role=OPERATE,
        target=lambda door, arg: door.operations.power_off(arg["vm"]),
        parameters=(VM,),
        returns="boolean",
        answer="`true` when it is off.",
        doc="Take the power away; the guest is not asked.",
        example="host.powerOff('worker 1')",
    ),
    Method(
        name="pause",
        role=OPERATE,
        target=lambda door, arg: door.operations.pause(arg["vm"]),
        parameters=(VM,),
        returns="boolean",
        answer="`true` when it stands still.",
        doc="Freeze a running VM; it keeps its memory.",
        example="host.pause('worker 1')",
    ),
    Method(
        name="resume",
        role=OPERATE,
        aliases=("unpause",),
        target=lambda door, arg: door.operations.resume(arg["vm"]),
        parameters=(VM,),
        returns="boolean",
        answer="`true` when it runs on.",
        doc="Let a paused VM run on.",
        example="host.resume('worker 1')",
    ),
    Method(
        name="getVM",
        role=READ,
        target=lambda door, arg: door.operations.get_vm(arg["vm"]),
        parameters=(VM,),
        returns="struct",
        answer="`name`, `uuid`, `state`, `macs`, `memory` (MiB) and `vcpus` (0: as much as the "
        "host has), `disks` (an array of `path`, `format`, `bus`, `made`: whether createVM made "
        "it, and `readOnly`), `network` (`nat`, `isolated`, `bridge`, `none`, or `other`), "
        "`firmware` (`bios`, `uefi` or ''), `description`, `hypervisor`, `snapshots` "
        "(their number).",
        doc="Tell what a VM was made with.",
        example="host.getVM('worker 1')['disks']",
    ),
    Method(
        name="getState",
        role=READ,
        target=lambda door, arg: door.operations.get_state(arg["vm"]),
        parameters=(VM,),
        returns="string",
        answer="The state's name, such as `Running`; `states` lists them.",
        doc="Tell a VM's state as the hypervisor has it now.",
        example="host.getState('worker 1')",
    ),
    Method(
        name="listVMs",
        role=READ,
        aliases=("listAvailableVMs",),
        target=lambda door, _: door.operations.list_vms(),
        returns="array",
        answer="Their names.",
        doc="List all VMs, running or not.",
        example="host.listVMs()",
    ),
    Method(
        name="listVMsWithState",
        role=READ,
        target=lambda door, _: door.operations.list_vms_with_state(),
        returns="struct",
        answer="Name → state.",
        doc="List all VMs with their states.",
        example="host.listVMsWithState()",
    ),
    Method(
        name="listRunningVMs",
        role=READ,
        target=lambda door, _: door.operations.list_running_vms(),
        returns="array",
        answer="Their names.",
        doc="List the VMs that run. That one runs does not say that its agent is up: see `ping`.",
        example="host.listRunningVMs()",
    ),
    Method(
        name="getIdsToNamesMapping",
        role=READ,
        target=lambda door, _: door.operations.get_ids_to_names_mapping(),
        returns="struct",
        answer="MAC address → name.",
        doc="Map the ids of the guests, their MAC addresses, to the names of their VMs.",
        example="host.getIdsToNamesMapping()",
    ),
    Method(
        name="getNamesToIdsMapping",
        role=READ,
        target=lambda door, _: door.operations.get_names_to_ids_mapping(),
        returns="struct",
        answer="Name → MAC address.",
        doc="Map the names of VMs to the ids of their guests, their MAC addresses.",
        example="host.getNamesToIdsMapping()",
    ),
    Method(
        name="states",
        role=READ,
        target=lambda door, _: door.operations.states(),
        returns="struct",
        answer="State → a number that stands for it.",
        doc="List the states that a VM can be in.",
        example="host.states()",
    ),
    Method(
        name="version",
        role=READ,
        target=lambda door, _: door.operations.version(),
        returns="string",
        answer="The version.",
        doc="Tell the daemon's version.",
        example="host.version()",
    ),
)
