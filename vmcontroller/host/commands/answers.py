"""What the API answers of a command: the seed's keys, and some more. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from vmcontroller.host.commands.record import Command

TEXT_BYTES: Final = 16 * 2**20
"""`out` and `err` hold the text of so many bytes; getCmdOutput has all of them."""

BATCH_TEXT_BYTES: Final = 64 * 1024
"""The same in the answer for many guests."""


def results_of(command: Command, out: bytes, err: bytes) -> Mapping[str, Any]:
    """Return the answer of getCmdResults; `out` and `err` are what it has printed.

    `finished` is false while it runs, when a signal ended it, and when how it ended is not
    known (`state` is then `lost`). Decodes: a long output wants a thread.
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
        answer["out"] = out.decode("utf-8", "replace")
        answer["err"] = err.decode("utf-8", "replace")
    result = command.result
    if result is not None:
        answer |= {
            "finished": result.finished,
            "exitCodeOrSignal": result.exit_code_or_signal,
            "resources": dict(result.resources),
            "truncated": result.truncated,
            "outTruncated": command.is_cut("stdout"),
            "errTruncated": command.is_cut("stderr"),
            "timedOut": result.timed_out,
            "duration": result.duration_s,
        }
        if command.error and not answer["err"]:
            answer["err"] = f"vmcontroller: {command.error}\n"
    return answer


def details_of(command: Command) -> Mapping[str, Any]:
    """Return the answer of getCmdDetails: the request as the original kept it, and its state."""
    spec = command.spec
    answer: dict[str, Any] = {
        "cmd-id": command.cmd_id,
        "batch": command.batch_id,
        "toVmName": command.vm_name,
        "toVmId": command.guest,
        "cmd": spec.cmd,
        "args": list(spec.args),
        "env": dict(spec.env),
        "path": spec.path,
        "fileForStdin": spec.file_for_stdin,
        "options": {
            "timeout": spec.timeout_s,
            "killAfter": spec.kill_after_s,
            "user": spec.user,
            "group": spec.group,
            "umask": spec.umask,
            "nice": spec.nice,
            "replaceEnv": spec.replace_env,
            "outputLimit": spec.output_limit_bytes,
            "stdinOpen": spec.stdin_open,
        },
        "state": command.state,
        "pid": command.pid,
        "created": command.created_at,
        "started": command.started_at,
        "ended": command.ended_at,
        "outBytes": command.stored_bytes[0],
        "errBytes": command.stored_bytes[1],
        "error": command.error,
    }
    stdin = command.stdin
    if stdin is not None:
        answer["stdin"] = {
            "fromHost": stdin.host_file.path if stdin.host_file is not None else "",
            "given": stdin.given_bytes,
            "taken": stdin.taken_bytes,
            "closed": stdin.end,
            "wanted": not (stdin.closed or command.has_ended),
            "error": stdin.error,
        }
    return answer
