"""Calls: commands in guests. `run` (running.py) does all of it at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from vmcontroller.client.answers import Batch, Details, Options, Result
from vmcontroller.client.caller import NOTHING, Caller


class CommandCalls(Caller):
    """Commands in guests."""

    def run_cmd(  # noqa: PLR0917 - as on the wire
        self,
        vm: str,
        cmd: str,
        args: Sequence[str] = (),
        env: Mapping[str, str] = NOTHING,
        path: str = "",
        file_for_stdin: str = "",
        options: Options = NOTHING,
    ) -> str:
        """Begin a command; return its id. No shell reads it; `path` is where it runs."""
        return str(self.call("runCmd", vm, cmd, args, env, path, file_for_stdin, options))

    def run_cmd_on_all(  # noqa: PLR0917 - as on the wire
        self,
        vms: str | Sequence[str],
        cmd: str,
        args: Sequence[str] = (),
        env: Mapping[str, str] = NOTHING,
        path: str = "",
        file_for_stdin: str = "",
        options: Options = NOTHING,
    ) -> Batch:
        """Begin a command in many guests; `vms` is a pattern of names, or names."""
        answer: Batch = self.call("runCmdOnAll", vms, cmd, args, env, path, file_for_stdin, options)
        return answer

    def wait_cmd_on_all(self, batch_id: str, timeout: float = 60) -> dict[str, Result]:
        """Return {VM: result} when all have ended, or as they are after `timeout` seconds."""
        answer: dict[str, Result] = self.call("waitCmdOnAll", batch_id, timeout, wait_s=timeout)
        return answer

    def wait_cmd(self, cmd_id: str, timeout: float = 60) -> Result:
        """Return the result when there is one, or how it stands after `timeout` seconds."""
        answer: Result = self.call("waitCmd", cmd_id, timeout, wait_s=timeout)
        return answer

    def list_cmds(self, vm: str = "") -> list[Details]:
        """Return the commands that have not ended; '' is of all VMs."""
        answer: list[Details] = self.call("listCmds", vm)
        return answer

    def list_finished_cmds(self) -> dict[str, Details]:
        """Return {id: details} of the commands that have ended and are not forgotten."""
        answer: dict[str, Details] = self.call("listFinishedCmds")
        return answer

    def get_cmd_results(self, cmd_id: str) -> Result:
        """Return how a command ended, or stands."""
        answer: Result = self.call("getCmdResults", cmd_id)
        return answer

    def get_cmd_details(self, cmd_id: str) -> Details:
        """Return what a command was asked to do, where it stands and what it uses."""
        answer: Details = self.call("getCmdDetails", cmd_id)
        return answer

    def get_cmd_output(
        self,
        cmd_id: str,
        stream: str,
        offset: int = 0,
        length: int = 65536,
        timeout: float = 0,
    ) -> bytes:
        """Return up to `length` bytes of `stdout` or `stderr` from `offset` on.

        Waits up to `timeout` seconds for the first. None before that: there will be none.
        """
        answer: bytes = self.call(
            "getCmdOutput", cmd_id, stream, offset, length, timeout, wait_s=timeout
        )
        return answer

    def kill_cmd(self, cmd_id: str, signal: str | int = "TERM") -> bool:
        """Send a signal to a command and all it has started; tell whether any process got it."""
        return bool(self.call("killCmd", cmd_id, signal))

    def send_cmd_stdin(self, cmd_id: str, data: bytes | str) -> int:
        """Give a command more of its stdin, up to 8 MiB; return how much it has in all."""
        return int(self.call("sendCmdStdin", cmd_id, data))

    def close_cmd_stdin(self, cmd_id: str) -> bool:
        """Let a command's stdin end after what it has been given."""
        return bool(self.call("closeCmdStdin", cmd_id))

    def forget_cmd(self, cmd_id: str) -> bool:
        """Drop the result and the output of a command that has ended."""
        return bool(self.call("forgetCmd", cmd_id))
