"""The table of methods: files to and from guests."""

from __future__ import annotations

from typing import Final

from vmcontroller.host.xmlrpc.kinds import Text
from vmcontroller.host.xmlrpc.literals import OldPath
from vmcontroller.host.xmlrpc.method import Method, Parameter
from vmcontroller.host.xmlrpc.parameters import VM

_LOCAL_PATH = (
    "{which} on the host, below one of the directories that the configuration's `files.roots` "
    "names or below `exchange` in its `state_dir`; a relative path begins in `exchange`."
)

COPY_METHODS: Final = (
    Method(
        name="cpFileToVM",
        target=lambda door, arg: door.operations.cp_file_to_vm(
            arg["vm"], arg["localPath"], arg["remotePath"]
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
        ),
        returns="array",
        answer="`[stdout, stderr, exitcode]`: `['', '', 0]` when the file is whole, verified and "
        "in place.",
        doc="Copy a file of the host into a guest.",
        example="host.cpFileToVM('worker 1', '/var/lib/vmcontroller/exchange/job.xml', "
        "'/tmp/job.xml')",
    ),
    Method(
        name="cpFileFromVM",
        target=lambda door, arg: door.operations.cp_file_from_vm(
            arg["vm"], arg["remotePath"], arg["localPath"]
        ),
        parameters=(
            VM,
            Parameter(name="remotePath", kind=Text(empty=False), doc="The file in the guest."),
            Parameter(
                name="localPath",
                kind=OldPath(),
                default="",
                doc=_LOCAL_PATH.format(which="Where it goes, a file or a directory")
                + " `''` is that directory.",
            ),
        ),
        returns="array",
        answer="As `cpFileToVM`.",
        doc="Copy a file of a guest to the host.",
        example="host.cpFileFromVM('worker 1', '/tmp/result', "
        "'/var/lib/vmcontroller/exchange/result')",
    ),
)
