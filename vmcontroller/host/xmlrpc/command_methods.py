"""The table of methods: commands in guests."""

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

COMMAND_METHODS: Final = (
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
)
