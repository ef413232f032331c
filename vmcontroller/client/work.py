"""What takes several calls: a command from begin to end, copies, waiting, events."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Mapping, Sequence

from vmcontroller.client import downloading, following, trees, uploading
from vmcontroller.client.answers import Event, Options
from vmcontroller.client.caller import NOTHING
from vmcontroller.client.calls import Calls
from vmcontroller.client.errors import CopyFailed
from vmcontroller.client.feeding import Source
from vmcontroller.client.running import Completed, Running, Sink
from vmcontroller.client.uploading import Progress

READY_S = 300.0


def _no_progress(_done_bytes: int, _size_bytes: int) -> None:
    pass


class Work(Calls):
    """Work on top of the methods. All of it goes on over a daemon's restart."""

    def run(
        self,
        vm: str,
        cmd: str,
        args: Sequence[str] = (),
        *,
        env: Mapping[str, str] = NOTHING,
        path: str = "",
        stdin: Source | bytes | None = None,
        on_stdout: Sink | None = None,
        on_stderr: Sink | None = None,
        on_begun: Callable[[Running], object] | None = None,
        options: Options = NOTHING,
    ) -> Completed:
        """Run a command to its end, and return how it ended; its exit code raises nothing.

        `on_stdout` and `on_stderr` get its output as it comes, exactly; what has no callback is in
        the answer. `stdin`: bytes, or a file that is read as the command reads. `on_begun` gets
        the running command: it can be sent signals from then on. `options` are those of runCmd.
        When something is raised meanwhile, also KeyboardInterrupt, the command is killed.
        """
        source = io.BytesIO(stdin) if isinstance(stdin, bytes) else stdin
        more = {"stdinOpen": True} if source is not None else {}
        running = Running(self, self.run_cmd(vm, cmd, args, env, path, "", {**options, **more}))
        try:
            if on_begun is not None:
                on_begun(running)
            done = running.follow(on_stdout, on_stderr, stdin=source)
        except BaseException:
            running.kill()
            raise
        running.forget()
        return done

    def copy_to(
        self,
        vm: str,
        local: str,
        remote: str = "",
        *,
        recursive: bool = False,
        on_progress: Progress | None = None,
        options: Options = NOTHING,
    ) -> None:
        """Copy a file of this machine into a guest; return when it is whole, verified, in place.

        The bytes go through the API, with this program's rights here and the agent's there (or
        those of `options`' user). It goes on after a broken connection by itself, and after a
        Ctrl-C or a kill when it is called again. `on_progress(done, size)` counts bytes. Raises
        CopyFailed. The guest needs sh, cat, sha256sum and, for directories, tar.
        """
        send = trees.send_tree if recursive and os.path.isdir(local) else uploading.send_file
        if not os.path.exists(local):
            raise CopyFailed("NO_SUCH_FILE", f"{local!r}")
        if os.path.isdir(local) and not recursive:
            raise CopyFailed("IS_A_DIRECTORY", f"{local!r}: it needs `recursive` (-r)")
        send(self, vm, local, remote, options, on_progress or _no_progress)

    def copy_from(
        self,
        vm: str,
        remote: str,
        local: str = "",
        *,
        recursive: bool = False,
        on_progress: Progress | None = None,
        options: Options = NOTHING,
    ) -> None:
        """Copy a file of a guest to this machine; as `copy_to`, the other way."""
        progress = on_progress or _no_progress
        if recursive:
            look = downloading.Download(self, vm, remote, options=options, progress=progress)
            if look.look() is None:
                trees.fetch_tree(self, vm, remote, local, options, progress)
                return
        downloading.fetch_file(self, vm, remote, local, options, progress)

    def wait_ready(self, vm: str, timeout_s: float = READY_S) -> None:
        """Return when a VM's agent answers; raises GuestUnreachable when the time has passed."""
        following.wait_ready(self, vm, timeout_s)

    def wait_state(self, vm: str, state: str, timeout_s: float = READY_S) -> None:
        """Return when a VM is in a state; raises DeadlinePassed when the time has passed."""
        following.wait_state(self, vm, state, timeout_s)

    def events(
        self, *, kinds: Sequence[str] = (), vms: Sequence[str] = (), since: int = -1
    ) -> Iterator[Event]:
        """Go through what happens from now (or number `since`) on, for ever.

        `kinds` and `vms` are patterns. Where some are missing, for one came too late, there is an
        event of the kind `events-lost`.
        """
        return following.events(self, kinds=kinds, vms=vms, since=since)
