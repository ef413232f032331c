"""Waiting for what comes: an agent that is there, a state that is reached, events without end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Final

from vmcontroller.client.answers import Event
from vmcontroller.client.calls import Calls
from vmcontroller.client.errors import DeadlinePassed, GuestUnreachable
from vmcontroller.client.patience import Patience

PING_S: Final = 30.0
PAUSE_S: Final = 0.5
EVENTS_S: Final = 60.0
LOST: Final = "events-lost"
"""The kind of an event that the client makes: here some are missing, for one has asked too late."""


def wait_ready(calls: Calls, vm: str, timeout_s: float) -> None:
    """Return when a VM's agent answers; raises GuestUnreachable when the time has passed."""
    until_s = time.monotonic() + timeout_s
    patience = Patience(timeout_s)
    while True:
        left_s = max(0.1, until_s - time.monotonic())
        try:
            patience.ask(lambda: calls.ping(vm, min(left_s, PING_S)))  # noqa: B023 - called now
        except GuestUnreachable:
            if time.monotonic() + PAUSE_S >= until_s:
                raise
            patience.rest(PAUSE_S)
        else:
            return


def wait_state(calls: Calls, vm: str, state: str, timeout_s: float) -> None:
    """Return when a VM is in a state; raises DeadlinePassed when the time has passed."""
    until_s = time.monotonic() + timeout_s
    patience = Patience(timeout_s)
    while (now := patience.ask(lambda: calls.get_state(vm))) != state:
        if time.monotonic() >= until_s:
            raise DeadlinePassed(
                21, "DEADLINE_PASSED", f"{vm!r} is {now}, and not {state} within {timeout_s:g} s"
            )
        patience.rest(PAUSE_S)


def events(
    calls: Calls, *, kinds: Sequence[str] = (), vms: Sequence[str] = (), since: int = -1
) -> Iterator[Event]:
    """Go through what happens, for ever; a daemon that is away for a while is waited for.

    Where some are missing, there is an event of the kind `events-lost`.
    """
    wanted = {key: list(globs) for key, globs in (("kinds", kinds), ("vms", vms)) if globs}
    patience = Patience()
    while True:
        number = since
        answer = patience.ask(lambda: calls.wait_events(number, EVENTS_S, wanted))  # noqa: B023
        if answer["lost"]:
            yield {
                "number": number,
                "at": time.time(),
                "kind": LOST,
                "vm": "",
                "uuid": "",
                "detail": {},
            }
        yield from answer["events"]
        since = answer["next"]
