"""The table of methods: files to and from guests."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from vmcontroller.host.callers import FILES
from vmcontroller.host.transfers.request import CopyOptions
from vmcontroller.host.xmlrpc.kinds import Flag, Option, Options, Text
from vmcontroller.host.xmlrpc.literals import OldPath
from vmcontroller.host.xmlrpc.method import Door, Method, Parameter
from vmcontroller.host.xmlrpc.parameters import VM

_LOCAL_PATH = (
    "{which} on the host, below one of the directories that the configuration's `files.roots` "
    "names or below `exchange` in its `state_dir`; a relative path begins in `exchange`."
)

_OPTIONS: Final = Parameter(
    name="options",
    kind=Options(
        build=CopyOptions,
        entries=(
            Option(
                key="recursive",
                field="recursive",
                kind=Flag(),
                doc="Copy a directory with all below it. Symbolic links are copied as links, and "
                "refused where they lead out of it; devices, FIFOs and sockets are refused. "
                "Where it goes nothing may be; in an existing directory it gets its own name.",
            ),
            Option(
                key="owner",
                field="owner",
                kind=Flag(),
                doc="Keep user and group, by name, where those exist and who writes may; `true` to "
                "a VM and `false` from one if not given.",
            ),
        ),
    ),
    default={},
    doc="More about the copy.",
)
_TRANSFER_ID: Final = Parameter(
    name="transferId",
    kind=Text(max_chars=100, empty=False),
    doc="The copy's `id`, which `listTransfers` tells.",
)
_RECORD: Final = (
    "`id`, `vm`, `direction` (`to-vm`, `from-vm`), `localPath`, `remotePath`, `options`; `state`: "
    "`queued` (three of a guest run at once), `running`, `waiting` (for its guest to come back), "
    "`done`, `failed`, `cancelled` or `interrupted` (what has come is kept for a day, and the same "
    "call goes on with it); `size` and `bytes` (how far it is; `size` is -1 while it is unknown), "
    "`rate` (bytes per second, now; of one that is done, on average), `estimate` (seconds that are "
    "left; -1: unknown), `entries` (of a directory: the files in it so far), `started` and `ended` "
    "(seconds since 1970; 0: not yet), `error`, `resumed` (how often it was gone on with)."
)


def _of_caller(door: Door, options: CopyOptions) -> CopyOptions:
    return replace(options, roles=door.caller.all_roles)


COPY_METHODS: Final = (
    Method(
        name="cpFileToVM",
        role=FILES,
        target=lambda door, arg: door.operations.cp_file_to_vm(
            arg["vm"], arg["localPath"], arg["remotePath"], _of_caller(door, arg["options"])
        ),
        parameters=(
            VM,
            Parameter(
                name="localPath",
                kind=Text(empty=False),
                doc=_LOCAL_PATH.format(which="The file"),
            ),
            Parameter(
                name="remotePath",
                kind=OldPath(),
                default="",
                doc="Where it goes in the guest, a file or a directory; a relative path begins in "
                "the home of the agent's user, and `''` is that directory.",
            ),
            _OPTIONS,
        ),
        returns="array",
        answer="`[stdout, stderr, exitcode]`: `['', '', 0]` when the file is whole, verified and "
        "in place.",
        doc="Copy a file of the host into a guest; a directory with the option `recursive`. It "
        "goes on by itself when the guest is away for a while (`files.resume_grace`); after a "
        "Fault CONNECTION_LOST or a restart of the daemon the same call goes on from there.",
        example="host.cpFileToVM('worker 1', '/var/lib/vmcontroller/exchange/job.xml', "
        "'/tmp/job.xml')",
    ),
    Method(
        name="cpFileFromVM",
        role=FILES,
        target=lambda door, arg: door.operations.cp_file_from_vm(
            arg["vm"], arg["remotePath"], arg["localPath"], _of_caller(door, arg["options"])
        ),
        parameters=(
            VM,
            Parameter(
                name="remotePath",
                kind=Text(empty=False),
                doc="The file in the guest, or the directory.",
            ),
            Parameter(
                name="localPath",
                kind=OldPath(),
                default="",
                doc=_LOCAL_PATH.format(which="Where it goes, a file or a directory")
                + " `''` is that directory.",
            ),
            _OPTIONS,
        ),
        returns="array",
        answer="As `cpFileToVM`.",
        doc="Copy a file of a guest to the host; otherwise as `cpFileToVM`.",
        example="host.cpFileFromVM('worker 1', '/tmp/result', "
        "'/var/lib/vmcontroller/exchange/result')",
    ),
    Method(
        name="listTransfers",
        role=FILES,
        changes=False,
        target=lambda door, arg: door.operations.list_transfers(arg["vm"]),
        parameters=(
            Parameter(
                name="vm",
                kind=Text(max_chars=1000),
                default="",
                doc="The VM's name, UUID or MAC address; `''` is all.",
            ),
        ),
        returns="array",
        answer=f"A struct for each, the oldest first: {_RECORD}",
        doc="List the copies under way, those that ended in the last hour, and the interrupted.",
        example="host.listTransfers('worker 1')[-1]['rate']",
    ),
    Method(
        name="getTransfer",
        role=FILES,
        changes=False,
        target=lambda door, arg: door.operations.get_transfer(arg["transferId"]),
        parameters=(_TRANSFER_ID,),
        returns="struct",
        answer="One of `listTransfers`.",
        doc="Tell where a copy stands.",
        example="host.getTransfer(transfer_id)['estimate']",
    ),
    Method(
        name="cancelTransfer",
        role=FILES,
        target=lambda door, arg: door.operations.cancel_transfer(arg["transferId"]),
        parameters=(_TRANSFER_ID,),
        returns="boolean",
        answer="`true`; `false` when it had ended before.",
        doc="End a copy: its call gets a Fault with CANCELLED, and nothing of it remains on "
        "either side.",
        example="host.cancelTransfer(transfer_id)",
    ),
)
