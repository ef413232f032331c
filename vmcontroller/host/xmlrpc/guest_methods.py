"""The table of methods, second half: commands in guests, and files to and from them."""

from __future__ import annotations

from typing import Final

from vmcontroller.common.words.commands import STREAMS
from vmcontroller.host.requests import command_spec
from vmcontroller.host.xmlrpc.kinds import Choice, Seconds, Text, Whole
from vmcontroller.host.xmlrpc.literals import Arguments, Environment, OldPath
from vmcontroller.host.xmlrpc.method import Method, Parameter
from vmcontroller.host.xmlrpc.parameters import CMD_ID, PAGE_MAX_BYTES, RUN_OPTIONS, VM, WAIT_MAX_S

_RESULT = (
    "A struct: `cmd-id`, `out` and `err` (text of at most 16 MiB each; what isn't UTF-8 is "
    "repaired, `getCmdOutput` has the bytes), `outBytes` and `errBytes` (how many there are), "
    "`finished` (false while it runs, when a signal ended it, and when it is lost), "
    "`exitCodeOrSignal` (-1 while unknown), `resources` (of that process: `ru_utime` and the "
    "others of getrusage; `ru_maxrss` is never below the agent's own memory), "
    "`state` (`sent`, `running`, `ended`, `lost`), `error` (why it never ran or was lost); once "
    "it has ended also `truncated`, `timedOut`, `duration` in seconds."
)
_GUEST = (
    "A struct: `name`, `uuid` and `state` of the VM, `id` of its guest, `connected`; for one that "
    "is connected also `since` and `lastHeard` (seconds since 1970, by this host's clock), "
    "`silentFor` and `latency` (seconds; below 0: not measured yet), `load` (of one minute), "
    "`version` of its agent, `protocol`, `capabilities`, `session` (new with every start of the "
    "agent), `epoch` (which connection of it), `bootId`; and what it says of itself: `hostname`, "
    "`os`, `ip`, `addresses`."
)
_LOCAL_PATH = (
    "{which} on the host, below one of the directories that the configuration's `files.roots` "
    "names or below `exchange` in its `state_dir`; a relative path begins in `exchange`."
)

GUEST_METHODS: Final = (
    Method(
        name="ping",
        target=lambda door, arg: door.operations.ping(arg["vm"], arg["timeout_secs"]),
        parameters=(
            VM,
            Parameter(
                name="timeout_secs",
                kind=Seconds(least_s=0, most_s=WAIT_MAX_S),
                default=5.0,
                doc="How long to wait, also for an agent that still comes up.",
            ),
        ),
        returns="string",
        answer="`PONG from <name>`; a Fault means: not yet.",
        doc="Ask a VM's agent whether it is there.",
        example="host.ping('worker 1', 120)",
        only_waits=True,
    ),
    Method(
        name="getGuest",
        target=lambda door, arg: door.operations.get_guest(arg["vm"]),
        parameters=(VM,),
        returns="struct",
        answer=f"{_GUEST} When it is not connected, `detail` says why.",
        doc="Ask what is known of a VM's guest. Nothing is asked of the guest itself: `ping` does.",
        example="host.getGuest('worker 1')['lastHeard']",
    ),
    Method(
        name="listGuests",
        target=lambda door, _: door.operations.list_guests(),
        returns="struct",
        answer="Name of the VM → what `getGuest` answers of it.",
        doc="Ask what is known of all guests, also of VMs that are off.",
        example="host.listGuests()['worker 1']['connected']",
    ),
    Method(
        name="getBrokerStats",
        target=lambda door, _: door.operations.get_broker_stats(),
        returns="struct",
        answer="A struct: `connections`, with a session or not; `roles` (role → sessions); "
        "`subscriptions`, `destinations`; `queuedMessages` and `queuedBytes` (waiting in queues, "
        "or delivered and not acknowledged); `held` (connections that are not read now, because "
        "they send too much or the host is behind); `totals` since the start and `perSecond` of "
        "the last ten seconds (`framesIn`, `bytesIn`, `framesOut`, `bytesOut`); `drops` (reason → "
        "how often: `slow-consumer`, `login-refused`, `too-many` connections, `protocol-error`, "
        "`access-denied`, `takeover`, `silent`; and `rate-held`, which drops nobody); `listeners` "
        "(`tcp`, `tls`, `unix` → addresses); `limits`; `events`, the last hundred takeovers, "
        "refused logins, slow consumers and protocol errors (`number`, `at` in seconds since "
        "1970, `kind`, `who`, `address`, `detail`). With an external broker it is a Fault.",
        doc="Ask what the embedded STOMP broker does.",
        example="host.getBrokerStats()['drops']['slow-consumer']",
    ),
    Method(
        name="runCmd",
        target=lambda door, arg: door.operations.run_cmd(
            arg["vm"],
            command_spec(
                cmd=arg["cmd"],
                args=arg["args"],
                env=arg["env"],
                path=arg["path"],
                file_for_stdin=arg["fileForStdin"],
                options=arg["options"],
            ),
        ),
        parameters=(
            VM,
            Parameter(
                name="cmd",
                kind=Text(empty=False),
                doc="The program, by path or looked up in PATH. No shell reads it.",
            ),
            Parameter(
                name="args", kind=Arguments(), default=[], doc="Its arguments, an array of strings."
            ),
            Parameter(
                name="env",
                kind=Environment(),
                default={},
                doc="Variables added to the agent's environment; also as a Python literal in a "
                "string, `\"{'A': 'b'}\"`.",
            ),
            Parameter(
                name="path",
                kind=OldPath(),
                default="",
                doc="The directory to run in; `''` or `'None'` is the agent's. Also as a Python "
                "literal in a string, `\"'/tmp'\"`.",
            ),
            Parameter(
                name="fileForStdin",
                kind=OldPath(),
                default="",
                doc="A file in the guest that becomes its stdin.",
            ),
            Parameter(name="options", kind=RUN_OPTIONS, default={}, doc="More about how to run."),
        ),
        returns="string",
        answer="The command's id, at once; `waitCmd` waits for its end.",
        doc="Run a command in a guest.",
        example="host.runCmd('worker 1', 'uname', ['-a'], {'LC_ALL': 'C'}, '/tmp', '', "
        "{'timeout': 60})",
    ),
    Method(
        name="waitCmd",
        target=lambda door, arg: door.operations.wait_cmd(arg["cmdId"], arg["timeout"]),
        parameters=(
            CMD_ID,
            Parameter(
                name="timeout",
                kind=Seconds(least_s=0, most_s=WAIT_MAX_S),
                default=60,
                doc="How long to wait at most.",
            ),
        ),
        returns="struct",
        answer="As `getCmdResults`: the result, or what there is when the time has passed.",
        doc="Wait until a command has ended.",
        example="host.waitCmd(cmd_id, 60)",
        only_waits=True,
    ),
    Method(
        name="listFinishedCmds",
        target=lambda door, _: door.operations.list_finished_cmds(),
        returns="struct",
        answer="Id → details, as `getCmdDetails`.",
        doc="List the commands that have ended and are not forgotten.",
        example="cmd_id in host.listFinishedCmds()",
    ),
    Method(
        name="getCmdResults",
        target=lambda door, arg: door.operations.get_cmd_results(arg["cmdId"]),
        parameters=(CMD_ID,),
        returns="struct",
        answer=_RESULT,
        doc="Tell how a command ended; as often as one asks, until `forgetCmd` or its time to "
        "live.",
        example="host.getCmdResults(cmd_id)['exitCodeOrSignal']",
    ),
    Method(
        name="getCmdDetails",
        target=lambda door, arg: door.operations.get_cmd_details(arg["cmdId"]),
        parameters=(CMD_ID,),
        returns="struct",
        answer="A struct: the request (`toVmName`, `toVmId`, `cmd`, `args`, `env`, `path`, "
        "`fileForStdin`), `state`, `pid`, `outBytes` and `errBytes` stored so far, `error`.",
        doc="Tell what a command was asked to do and where it stands.",
        example="host.getCmdDetails(cmd_id)['state']",
    ),
    Method(
        name="getCmdOutput",
        target=lambda door, arg: door.operations.get_cmd_output(
            arg["cmdId"], arg["stream"], arg["offset"], arg["length"]
        ),
        parameters=(
            CMD_ID,
            Parameter(name="stream", kind=Choice(choices=STREAMS), doc="Which of its streams."),
            Parameter(
                name="offset",
                kind=Whole(least=0, most=2**53),
                default=0,
                doc="The first byte wanted; beyond 32 bits a double.",
            ),
            Parameter(
                name="length",
                kind=Whole(least=1, most=PAGE_MAX_BYTES, unit="bytes"),
                default=65536,
                doc="How many bytes at most.",
            ),
        ),
        returns="base64",
        answer="The exact bytes; fewer or none where there are no more, yet.",
        doc="Read what a command has printed, page by page, also while it runs.",
        example="host.getCmdOutput(cmd_id, 'stdout', 0, 4096).data",
    ),
    Method(
        name="forgetCmd",
        target=lambda door, arg: door.operations.forget_cmd(arg["cmdId"]),
        parameters=(CMD_ID,),
        returns="boolean",
        answer="`true`",
        doc="Drop the result and the output of a command that has ended.",
        example="host.forgetCmd(cmd_id)",
    ),
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
