"""Calls of the daemon as the wrapper makes them: long ones, and small commands in the guest."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, Self

from vmcontroller.client.boinc.deciding import Later
from vmcontroller.client.boinc.messages import ExitCode
from vmcontroller.client.boinc.progress import Ending, Progress

UNLIMITED: Final = float("inf")
IN_GUEST_S: Final = 60.0
"""How long a small command in the guest may take."""
TURN_S: Final = 0.2


class Host(Protocol):
    """A daemon: `vmcontroller.client.Client` is one."""

    def call(self, method: str, *params: object, wait_s: float = 0) -> Any:
        """Call a method by its wire name; raises ClientError."""
        ...

    def clone(self) -> Self:
        """Return another one for another thread."""
        ...

    def close(self) -> None:
        """Hang up."""
        ...


class Hopeless(Exception):
    """The job can't go on; `ending` says how it ends."""

    def __init__(self, ending: Ending) -> None:
        super().__init__(ending.message)
        self.ending = ending


class Postponed(Exception):
    """The job is to go on later, with `progress`."""

    def __init__(self, later: Later, progress: Progress) -> None:
        super().__init__(later.reason)
        self.later = later
        self.progress = progress


class Interrupted(Exception):
    """The client wants the wrapper to end, and what is done just now takes long."""


class Calling:
    """Calls one daemon. Every method raises ClientError."""

    def __init__(self, host: Host, ends: Callable[[], bool] = lambda: False) -> None:
        """`ends` tells whether what takes long is to be left."""
        self._host = host
        self._ends = ends

    def call(self, method: str, *params: object) -> Any:
        """Call, and wait for as long as the daemon takes."""
        return self._host.call(method, *params, wait_s=UNLIMITED)

    def long(self, method: str, *params: object) -> None:
        """Call what may take long, in a thread; raises Interrupted when it is left.

        What was begun goes on in the daemon then, as it does when its caller is killed.
        """
        over = threading.Event()
        errors: list[BaseException] = []
        host = self._host.clone()

        def work() -> None:
            try:
                host.call(method, *params, wait_s=UNLIMITED)
            except BaseException as error:  # noqa: BLE001 - it is raised where one waits for it
                errors.append(error)
            finally:
                host.close()
                over.set()

        threading.Thread(target=work, daemon=True, name=method).start()
        while not over.wait(TURN_S):
            if self._ends():
                raise Interrupted(method)
        for error in errors:
            raise error

    def run(self, vm: str, cmd: str, args: list[str]) -> Mapping[str, Any]:
        """Run a small command in the guest and return its result."""
        call = self._host.call
        cmd_id = call("runCmd", vm, cmd, args, {}, "", "", {"timeout": IN_GUEST_S})
        result: Mapping[str, Any] = call("waitCmd", cmd_id, IN_GUEST_S, wait_s=IN_GUEST_S)
        if result["state"] in {"ended", "lost"}:
            call("forgetCmd", cmd_id)
        return result

    def must(self, vm: str, cmd: str, args: list[str]) -> None:
        """Run a small command that has to succeed; raises Hopeless."""
        result = self.run(vm, cmd, args)
        if result["state"] == "ended" and result["exitCodeOrSignal"]:
            text = f"in the guest: {cmd}: {result['err']:.200}"
            raise Hopeless(Ending(code=ExitCode.INIT_FAILURE, message=text))
