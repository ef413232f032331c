"""A daemon's commands on a clock of the test's, with a real database and real files."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.host.wiring import at_once
from vmcontroller.common.config import CommandsConfig
from vmcontroller.common.errors import NotConnected
from vmcontroller.common.model import CommandResult, CommandSpec, guest_id
from vmcontroller.common.words.commands import (
    CmdOutput,
    CmdResult,
)
from vmcontroller.common.words.presence import Descriptor
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.commands.record import Command, StdinState
from vmcontroller.host.commands.world import CommandWorld
from vmcontroller.host.guests import Guest
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.transfers.roots import AllowedRoots

GUEST = guest_id("52:54:00:00:00:01")
STRANGER = guest_id("52:54:00:00:00:02")
TRUE = CommandSpec(cmd="true")
AGENT = Guest(
    id=GUEST,
    descriptor=Descriptor(id=GUEST),
    session="one",
    agent_version="1",
    since_s=0,
    last_heard_s=0,
    protocol=3,
)


class CommandsCase(SynchronousTestCase):
    """Commands of one guest, and what was said to it."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.said = []
        self.asked = []
        self.home = Path(self.mktemp())
        self.spool = self.home / "commands"
        self.spool.mkdir(parents=True)
        self.vm = Vm(uuid="u", name="vm", state=VmState.RUNNING, macs=(GUEST,))
        self.guests = {GUEST: AGENT}
        self.in_writer = at_once
        self.connected = True
        self.commands = self.opened()
        self.hearing = self.commands.hearing

    def opened(self, **config) -> Commands:
        """Return what a daemon finds that starts on the directory now."""
        commands = self.unopened(**config)
        self.now(commands.open())
        return commands

    def in_thread(self, work, *arguments):
        """Do at once what the daemon does in a thread."""
        return at_once(work, *arguments)

    def unopened(self, **config) -> Commands:
        """Return the commands of a daemon that is about to start."""
        return Commands(
            CommandWorld(
                clock=self.clock,
                wall_s=lambda: 1_000_000.0 + self.clock.seconds(),
                say=self.say,
                say_to_all=lambda word: self.say("*", word),
                ask_for_hello=self.asked.append,
                there=self.guests.get,
                open_file=AllowedRoots([str(self.home)]).readable,
                in_thread=self.in_thread,
                in_writer=lambda *work: self.in_writer(*work),  # noqa: PLW0108 - tests set it
            ),
            state_dir=self.home,
            config=CommandsConfig(**{"time_to_live": 100.0, "keep": 50} | config),
        )

    def say(self, guest, word) -> None:
        if not self.connected:
            raise NotConnected("no broker")
        self.said.append((guest, word))

    def now(self, coroutine):
        """Return what a coroutine returns that need not wait."""
        return self.successResultOf(Deferred.fromCoroutine(coroutine))

    def restart(self, *, killed: bool = False, **config) -> None:
        """Let another daemon take over, after an orderly end or a kill."""
        if not killed:
            self.now(self.commands.stop())
        self.commands = self.opened(**config)
        self.hearing = self.commands.hearing

    def get(self, cmd_id: str) -> Command:
        return self.now(self.commands.find(cmd_id))

    def read(self, cmd_id: str, stream: str = "stdout") -> bytes:
        return self.now(self.commands.output(cmd_id, stream, 0, 2**30))

    def ended(self) -> list[str]:
        return [command.cmd_id for command in self.now(self.commands.ended())]

    def run_one(self, spec: CommandSpec = TRUE) -> str:
        stdin = StdinState() if spec.stdin_open else None
        return self.now(self.commands.run(self.vm, AGENT, spec, stdin))

    def result(self, cmd_id: str, **changes) -> CmdResult:
        facts = {
            "cmd_id": cmd_id,
            "finished": True,
            "exit_code_or_signal": 0,
            "resources": {},
            "stdout_bytes": 0,
            "stderr_bytes": 0,
        }
        return CmdResult(result=CommandResult(**(facts | changes)))

    def refused(self, error, coroutine):
        """Return the error of what can't be."""
        return self.failureResultOf(Deferred.fromCoroutine(coroutine), error).value

    def output(self, cmd_id: str, data: bytes, offset: int = 0) -> CmdOutput:
        return CmdOutput(cmd_id=cmd_id, stream="stdout", offset=offset, data=data)

    def wait(self, cmd_id: str, timeout_s: float = 10) -> Deferred:
        return Deferred.fromCoroutine(self.commands.wait(cmd_id, timeout_s))
