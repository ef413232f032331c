"""The table of methods: commands in guests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from vmcontroller.common.words.commands import STREAMS
from vmcontroller.host.callers import EXEC
from vmcontroller.host.requests import RunRequest, run_request
from vmcontroller.host.xmlrpc.command_kinds import SignalName, Vms
from vmcontroller.host.xmlrpc.kinds import Choice, Content, Seconds, Text
from vmcontroller.host.xmlrpc.literals import Arguments, Environment, OldPath
from vmcontroller.host.xmlrpc.method import Door, Method, Parameter
from vmcontroller.host.xmlrpc.parameters import (
    CMD_ID,
    OFFSET,
    PAGE_MAX_BYTES,
    RUN_OPTIONS,
    VM,
    WAIT_MAX_S,
    length_of,
)

STDIN_MAX_BYTES: Final = 8 * 2**20
"""In one call of sendCmdStdin."""

_RESULT: Final = (
    "A struct: `cmd-id`, `out` and `err` (text of at most 16 MiB each; what isn't UTF-8 is "
    "repaired, `getCmdOutput` has the bytes), `outBytes` and `errBytes` (how many there are), "
    "`finished` (false while it runs, when a signal ended it, and when it is lost), "
    "`exitCodeOrSignal` (-1 while unknown), `resources` (of that process and what it waited for: "
    "`ru_utime` and the others of getrusage; `ru_maxrss` is never below the agent's own memory), "
    "`state` (`sent`, `running`, `ended`, `lost`), `error` (why it never ran, was lost, or what "
    "of its output could not be kept); once it has ended also `truncated` (output is missing: see "
    "`outTruncated` and `errTruncated`), `timedOut`, `duration` in seconds."
)
_RUN: Final = (
    Parameter(
        name="cmd",
        kind=Text(empty=False),
        doc="The program, by path or looked up in PATH. No shell reads it.",
    ),
    Parameter(name="args", kind=Arguments(), default=[], doc="Its arguments, an array of strings."),
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
)

_WAIT: Final = Parameter(
    name="timeout",
    kind=Seconds(least_s=0, most_s=WAIT_MAX_S),
    default=60,
    doc="How long to wait at most.",
)


def _request(door: Door, arg: Mapping[str, Any]) -> RunRequest:
    request = run_request(
        cmd=arg["cmd"],
        args=arg["args"],
        env=arg["env"],
        path=arg["path"],
        file_for_stdin=arg["fileForStdin"],
        options=arg["options"],
    )
    return replace(request, roles=door.caller.all_roles)


COMMAND_METHODS: Final = (
    Method(
        name="runCmd",
        role=EXEC,
        target=lambda door, arg: door.operations.run_cmd(arg["vm"], _request(door, arg)),
        parameters=(VM, *_RUN),
        returns="string",
        answer="The command's id, when the request is on this host's disk; `waitCmd` waits for "
        "its end.",
        doc="Run a command in a guest.",
        example="host.runCmd('worker 1', 'uname', ['-a'], {'LC_ALL': 'C'}, '/tmp', '', "
        "{'timeout': 60})",
    ),
    Method(
        name="runCmdOnAll",
        role=EXEC,
        target=lambda door, arg: door.operations.run_cmd_on_all(arg["vms"], _request(door, arg)),
        parameters=(
            Parameter(
                name="vms",
                kind=Vms(),
                doc="An array of names, or a pattern of the names of VMs that run: `*` stands for "
                "any characters, `?` for one, `[ab]` for one of these.",
            ),
            *_RUN,
        ),
        returns="struct",
        answer="A struct: `batch` (an id for `waitCmdOnAll`; `''` if none could be asked), "
        "`commands` (name of the VM → the command's id there), `failed` (name → why not, such as "
        "`GUEST_UNREACHABLE: …`).",
        doc="Run one command in many guests at once. Who can't be reached hinders nobody else.",
        example="host.runCmdOnAll('worker *', 'uname', ['-r'])['commands']",
    ),
    Method(
        name="waitCmdOnAll",
        role=EXEC,
        changes=False,
        target=lambda door, arg: door.operations.wait_cmd_on_all(arg["batchId"], arg["timeout"]),
        parameters=(
            Parameter(
                name="batchId",
                kind=Text(max_chars=100, empty=False),
                doc="The `batch` that `runCmdOnAll` answered.",
            ),
            _WAIT,
        ),
        returns="struct",
        answer="Name of the VM → as `getCmdResults`, `out` and `err` up to 64 KiB each: the "
        "results, or what there is when the time has passed. What was forgotten is left out.",
        doc="Wait until a command has ended in all guests that `runCmdOnAll` has asked.",
        example="host.waitCmdOnAll(batch, 60)['worker 1']['out']",
        only_waits=True,
    ),
    Method(
        name="waitCmd",
        role=EXEC,
        changes=False,
        target=lambda door, arg: door.operations.wait_cmd(arg["cmdId"], arg["timeout"]),
        parameters=(
            CMD_ID,
            _WAIT,
        ),
        returns="struct",
        answer="As `getCmdResults`: the result, or what there is when the time has passed.",
        doc="Wait until a command has ended.",
        example="host.waitCmd(cmd_id, 60)",
        only_waits=True,
    ),
    Method(
        name="listCmds",
        role=EXEC,
        changes=False,
        target=lambda door, arg: door.operations.list_cmds(arg["vm"]),
        parameters=(
            Parameter(
                name="vm",
                kind=Text(max_chars=1000),
                default="",
                doc="The VM's name, UUID or MAC address; `''` is all.",
            ),
        ),
        returns="array",
        answer="A struct for each, the oldest first, as `getCmdDetails`, with what it uses.",
        doc="List the commands that have not ended.",
        example="host.listCmds('worker 1')",
        only_waits=True,
    ),
    Method(
        name="listFinishedCmds",
        role=EXEC,
        changes=False,
        target=lambda door, _: door.operations.list_finished_cmds(),
        returns="struct",
        answer="Id → details, as `getCmdDetails`.",
        doc="List the commands that have ended and are not forgotten.",
        example="cmd_id in host.listFinishedCmds()",
    ),
    Method(
        name="getCmdResults",
        role=EXEC,
        changes=False,
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
        role=EXEC,
        changes=False,
        target=lambda door, arg: door.operations.get_cmd_details(arg["cmdId"]),
        parameters=(CMD_ID,),
        returns="struct",
        answer="A struct: the request (`toVmName`, `toVmId`, `cmd`, `args`, `env`, `path`, "
        "`fileForStdin`, `options`, `batch` of `runCmdOnAll`), `state`, `pid`, `created`, "
        "`started` and `ended` (seconds since 1970, 0: not yet or not known), `outBytes` and "
        "`errBytes` kept so far, `error`. With stdin that is sent while it runs `stdin`: "
        "`fromHost` (the file), `given` and `taken` (bytes given to this host, and taken by the "
        "guest), `closed` (nothing more will be given), `wanted` (it may still be read), `error` "
        "(why it ended early). While it runs `usage` of it and all it has started: `user_s`, "
        "`system_s` (processor time), `memory_kib`, `memory_peak_kib`, `read_bytes`, "
        "`written_bytes`, `processes`, `threads`; and `usageAge`, how old that is in seconds: at "
        "most about one, unless the guest does not answer within two; then it may be missing.",
        doc="Tell what a command was asked to do, where it stands and what it uses.",
        example="host.getCmdDetails(cmd_id)['state']",
        only_waits=True,
    ),
    Method(
        name="getCmdOutput",
        role=EXEC,
        changes=False,
        target=lambda door, arg: door.operations.get_cmd_output(
            arg["cmdId"], arg["stream"], arg["offset"], arg["length"], arg["timeout"]
        ),
        parameters=(
            CMD_ID,
            Parameter(name="stream", kind=Choice(choices=STREAMS), doc="Which of its streams."),
            OFFSET,
            length_of(PAGE_MAX_BYTES),
            Parameter(
                name="timeout",
                kind=Seconds(least_s=0, most_s=WAIT_MAX_S),
                default=0,
                doc="How long to wait for a first byte at `offset`, if there may still be one.",
            ),
        ),
        returns="base64",
        answer="The exact bytes; fewer or none where there are no more, yet. None although "
        "`timeout` has not passed: there will be none.",
        doc="Read what a command has printed, page by page, also while it runs.",
        example="host.getCmdOutput(cmd_id, 'stdout', 0, 4096, 30).data",
        only_waits=True,
    ),
    Method(
        name="killCmd",
        role=EXEC,
        target=lambda door, arg: door.operations.kill_cmd(arg["cmdId"], arg["signal"]),
        parameters=(
            CMD_ID,
            Parameter(
                name="signal",
                kind=SignalName(),
                default="TERM",
                doc="HUP, INT, QUIT, KILL, USR1, USR2, TERM, CONT or STOP, also with SIG before "
                "it, or its number.",
            ),
        ),
        returns="boolean",
        answer="`true` when the guest has sent it to at least one process; `false` if there was "
        "none any more. Of a command that is known to have ended it is a Fault.",
        doc="Send a signal to a command and all that it has started.",
        example="host.killCmd(cmd_id, 'KILL')",
    ),
    Method(
        name="sendCmdStdin",
        role=EXEC,
        target=lambda door, arg: door.operations.send_cmd_stdin(arg["cmdId"], arg["data"]),
        parameters=(
            CMD_ID,
            Parameter(
                name="data",
                kind=Content(max_bytes=STDIN_MAX_BYTES),
                doc="The next bytes; a string is sent in UTF-8.",
            ),
        ),
        returns="int",
        answer="How many bytes have been given so, in all (beyond 32 bits a double). They are on "
        "this host's disk, and reach the command as it reads them. At most 16 MiB wait: beyond "
        "that it is the Fault BUSY.",
        doc="Give more of its stdin to a command that was run with `stdinOpen`.",
        example="host.sendCmdStdin(cmd_id, 'more of it')",
    ),
    Method(
        name="closeCmdStdin",
        role=EXEC,
        target=lambda door, arg: door.operations.close_cmd_stdin(arg["cmdId"]),
        parameters=(CMD_ID,),
        returns="boolean",
        answer="`true`",
        doc="Let the stdin of such a command end, after what it has been given.",
        example="host.closeCmdStdin(cmd_id)",
    ),
    Method(
        name="forgetCmd",
        role=EXEC,
        target=lambda door, arg: door.operations.forget_cmd(arg["cmdId"]),
        parameters=(CMD_ID,),
        returns="boolean",
        answer="`true`",
        doc="Drop the result and the output of a command that has ended.",
        example="host.forgetCmd(cmd_id)",
    ),
)
