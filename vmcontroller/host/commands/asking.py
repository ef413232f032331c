"""Signals to commands, and what commands use: questions that a guest answers at once."""

from __future__ import annotations

import contextlib
from typing import Final

from twisted.internet.defer import Deferred

from vmcontroller.common.errors import (
    BadArgument,
    DeadlinePassed,
    GuestUnreachable,
    NotConnected,
    Unsupported,
)
from vmcontroller.common.words.running import (
    USAGE,
    CmdAsk,
    CmdSignal,
    CmdSignalled,
    CmdUsage,
)
from vmcontroller.host.commands.record import Command, CommandState
from vmcontroller.host.commands.waiting import Waiting
from vmcontroller.host.commands.world import CommandWorld

SIGNAL_DEADLINE_S: Final = 10.0
USAGE_DEADLINE_S: Final = 2.0
USAGE_FRESH_S: Final = 1.0
"""Figures that are younger are not asked for again."""


class Asking:
    """Asks guests about commands that run in them."""

    def __init__(self, world: CommandWorld) -> None:
        self._world = world
        self._signals: dict[tuple[str, str], list[Deferred[int]]] = {}
        """By command and signal, those who wait for the answer, in the order of asking."""
        self._asked: set[str] = set()
        self._usages = Waiting(world.clock)

    async def signal(self, command: Command, signal: str) -> int:
        """Send a signal to a command and all it has started; return how many processes got it.

        Raises BadArgument for a command that has ended, GuestUnreachable, Unsupported,
        NotConnected, and DeadlinePassed when there was no answer: the signal may have been sent.
        """
        if command.has_ended:
            raise BadArgument("cmdId", f"{command.cmd_id} has ended, there is nothing to signal")
        self._must_speak(command, "signals to commands")
        self._world.say(command.guest, CmdSignal(cmd_id=command.cmd_id, signal=signal))
        answered: Deferred[int] = Deferred()
        key = (command.cmd_id, signal)
        self._signals.setdefault(key, []).append(answered)
        timer = self._world.clock.callLater(
            SIGNAL_DEADLINE_S,
            lambda: answered.errback(
                DeadlinePassed(
                    f"{command.vm_name!r} did not answer to the signal", SIGNAL_DEADLINE_S
                )
            ),
        )
        try:
            return await answered
        finally:
            if timer.active():
                timer.cancel()
            others = self._signals.get(key, [])
            if answered in others:
                others.remove(answered)
            if not others:
                self._signals.pop(key, None)

    async def refresh_usage(self, command: Command) -> None:
        """Let the record of a command that runs have figures that are at most a second old.

        Several who ask at once share one question. Where the guest can't be asked or does not
        answer, the record stays as it is.
        """
        guest = self._world.there(command.guest)
        if command.state is not CommandState.RUNNING or guest is None or guest.protocol < 3:
            return
        if self._world.clock.seconds() - command.usage_s < USAGE_FRESH_S:
            return
        if command.cmd_id not in self._asked:
            with contextlib.suppress(NotConnected):
                self._world.say(command.guest, CmdAsk(cmd_id=command.cmd_id))
                self._asked.add(command.cmd_id)
        try:
            await self._usages.until_woken(command.cmd_id, USAGE_DEADLINE_S)
        finally:
            self._asked.discard(command.cmd_id)

    def _must_speak(self, command: Command, what: str) -> None:
        guest = self._world.there(command.guest)
        if guest is None:
            raise GuestUnreachable(command.vm_name, "its agent is not connected")
        if guest.protocol < 3:
            raise Unsupported(f"the agent of {command.vm_name!r} (protocol {guest.protocol})", what)

    def heard_signalled(self, command: Command, word: CmdSignalled) -> None:
        """Answer the first who asked for that."""
        waiting = self._signals.get((command.cmd_id, word.signal))
        if waiting:
            waiting.pop(0).callback(word.processes)

    def heard_usage(self, command: Command, word: CmdUsage) -> None:
        """Note the figures; what has no name here is left out."""
        if command.cmd_id not in self._asked:
            return
        command.usage = {name: word.usage[name] for name in USAGE if name in word.usage}
        command.usage_s = self._world.clock.seconds()
        self._usages.wake(command.cmd_id)

    def has_ended(self, command: Command) -> None:
        """Answer all who wait: there is nothing any more that a signal could reach."""
        for key in [key for key in self._signals if key[0] == command.cmd_id]:
            for answered in self._signals.pop(key):
                answered.callback(0)
        self._usages.wake(command.cmd_id)

    def stop(self) -> None:
        """Let everybody go."""
        for waiting in list(self._signals.values()):
            for answered in list(waiting):
                if not answered.called:
                    answered.errback(NotConnected("the daemon stops"))
        self._usages.end(NotConnected("the daemon stops"))
