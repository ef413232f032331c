"""What the API answers of a command: the seed's keys, and some more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vmcontroller.host.commands.record import Command

TEXT_BYTES = 16 * 2**20
"""`out` and `err` hold the text of so many bytes; getCmdOutput has all of them."""


def results_of(command: Command) -> Mapping[str, Any]:
    """Return the answer of getCmdResults. Reads the spool: a long output wants a thread.

    `finished` is false while it runs, when a signal ended it, and when how it ended is not
    known (`state` is then `lost`).
    """
    answer: dict[str, Any] = {
        "cmd-id": command.cmd_id,
        "state": command.state,
        "out": "",
        "err": "",
        "finished": False,
        "exitCodeOrSignal": -1,
        "resources": {},
        "error": command.error,
        "outBytes": command.stored_bytes[0],
        "errBytes": command.stored_bytes[1],
    }
    if command.has_ended:
        for key, name in (("out", "stdout"), ("err", "stderr")):
            answer[key] = command.streams[name].read(0, TEXT_BYTES).decode("utf-8", "replace")
    result = command.result
    if result is not None:
        answer |= {
            "finished": result.finished,
            "exitCodeOrSignal": result.exit_code_or_signal,
            "resources": dict(result.resources),
            "truncated": result.truncated,
            "timedOut": result.timed_out,
            "duration": result.duration_s,
        }
        if command.error and not answer["err"]:
            answer["err"] = f"vmcontroller: {command.error}\n"
    return answer


def details_of(command: Command) -> Mapping[str, Any]:
    """Return the answer of getCmdDetails: the request as the original kept it, and its state."""
    spec = command.spec
    return {
        "cmd-id": command.cmd_id,
        "toVmName": command.vm_name,
        "toVmId": command.guest,
        "cmd": spec.cmd,
        "args": list(spec.args),
        "env": dict(spec.env),
        "path": spec.path,
        "fileForStdin": spec.file_for_stdin,
        "state": command.state,
        "pid": command.pid,
        "outBytes": command.stored_bytes[0],
        "errBytes": command.stored_bytes[1],
        "error": command.error,
    }
