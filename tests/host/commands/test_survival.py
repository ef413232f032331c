"""Whatever is cut, and whenever: a command runs once, and its one end is told with its bytes.

A daemon with its real database and files, and a guest that keeps what the protocol asks of it.
Words are repeated, connections cut, commits held up, and the daemon is stopped and killed.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections import Counter, deque
from contextlib import closing
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.host.wiring import at_once
from vmcontroller.common.config import CommandsConfig
from vmcontroller.common.errors import NotConnected, NotStored, VMControllerError
from vmcontroller.common.model import CommandResult, CommandSpec, guest_id
from vmcontroller.common.words.commands import (
    CmdOutput,
    CmdResult,
    CmdRun,
    CmdStarted,
    CmdStored,
)
from vmcontroller.common.words.presence import Descriptor
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.commands.output import INLINE_BYTES
from vmcontroller.host.commands.record import CommandState
from vmcontroller.host.commands.world import CommandWorld
from vmcontroller.host.guests import Guest
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.hypervisor.vm_state import VmState

GUEST = guest_id("52:54:00:00:00:01")
VM = Vm(uuid="u", name="vm", state=VmState.RUNNING, macs=(GUEST,))
AGENT = Guest(
    id=GUEST,
    descriptor=Descriptor(id=GUEST),
    session="one",
    agent_version="1",
    since_s=0,
    last_heard_s=0,
    protocol=3,
)
SIZES = st.sampled_from([0, 1, 1000, INLINE_BYTES, INLINE_BYTES + 1, 3 * INLINE_BYTES])


def output_of(number: int, size: int) -> bytes:
    """Return bytes of which each prefix tells which command they are of."""
    return (b"%06d." % number * (size // 7 + 1))[:size]


class GuestModel:
    """An agent as the contract wants it: it keeps all until the host has stored it."""

    def __init__(self) -> None:
        self.held: dict[str, dict] = {}
        self.ran: Counter[str] = Counter()
        self.outbox: deque = deque()
        self.numbers = iter(range(10**6))

    def hear(self, word) -> None:
        if isinstance(word, CmdRun):
            if word.cmd_id not in self.held:
                self.ran[word.cmd_id] += 1
                size = int(word.spec.args[0])
                out = output_of(next(self.numbers), size)
                self.held[word.cmd_id] = {"out": out, "said": 0, "code": len(out) % 250}
            self.outbox.append(CmdStarted(cmd_id=word.cmd_id, pid=7))
        elif isinstance(word, CmdStored):
            self.held.pop(word.cmd_id, None)

    def print(self, cmd_id: str, size: int) -> None:
        command = self.held[cmd_id]
        at = command["said"]
        data = command["out"][at : at + size]
        if data:
            self.outbox.append(CmdOutput(cmd_id=cmd_id, stream="stdout", offset=at, data=data))
            command["said"] += len(data)

    def end(self, cmd_id: str) -> None:
        command = self.held[cmd_id]
        self.print(cmd_id, len(command["out"]))
        command["ended"] = True
        self.outbox.append(
            CmdResult(
                result=CommandResult(
                    cmd_id=cmd_id,
                    finished=True,
                    exit_code_or_signal=command["code"],
                    resources={"ru_utime": 0.5},
                    stdout_bytes=len(command["out"]),
                    stderr_bytes=0,
                )
            )
        )

    def answered(self, offsets) -> None:
        """Go on as the host's HELLO says."""
        for cmd_id, command in list(self.held.items()):
            if cmd_id in offsets:
                command["said"] = offsets[cmd_id][0]
            elif command.get("ended"):
                command["said"] = len(command["out"])
            if command.get("ended"):
                self.end(cmd_id)


class Survival(RuleBasedStateMachine):
    """One daemon after another on one directory, and one guest."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp(prefix="vmcontroller-survival-"))
        (self.home / "commands").mkdir()
        self.clock = Clock()
        self.guest = GuestModel()
        self.truth: dict[str, tuple[bytes, int]] = {}
        self.told: dict[str, tuple] = {}
        self.asked: list[str] = []
        self.forgotten: set[str] = set()
        self.generation = 0

    @initialize()
    def begin(self) -> None:
        self.open()

    def open(self) -> None:
        self.generation += 1
        mine = self.generation
        self.inbox: deque = deque()
        self.held_up: deque = deque()
        self.hello_wanted = True

        def say(_guest, word) -> None:
            if mine != self.generation:
                raise NotConnected("this daemon is dead")
            self.check_said(word)
            self.inbox.append(word)

        def ask_for_hello(_guest) -> None:
            self.hello_wanted = True

        def in_writer(work, *arguments):
            later = Deferred()
            self.held_up.append((later, work, arguments))
            return later

        self.commands = Commands(
            CommandWorld(
                clock=self.clock,
                wall_s=lambda: 1_000_000.0 + self.clock.seconds(),
                say=say,
                say_to_all=lambda word: say(None, word),
                ask_for_hello=ask_for_hello,
                there={GUEST: AGENT}.get,
                open_file=None,
                in_thread=at_once,
                in_writer=in_writer,
            ),
            state_dir=self.home,
            config=CommandsConfig(time_to_live=1e6),
        )
        opening = Deferred.fromCoroutine(self.commands.open())
        self.commit_all()
        assert opening.called
        opening.addErrback(lambda failure: failure.raiseException())

    def row(self, cmd_id: str):
        with closing(sqlite3.connect(self.home / "commands.db")) as disk:
            query = "SELECT state, stdout FROM commands WHERE cmd_id = ?"
            return disk.execute(query, (cmd_id,)).fetchone()

    def check_said(self, word) -> None:
        """What is said is on the disk."""
        if isinstance(word, CmdRun):
            assert self.row(word.cmd_id) is not None, "said before it was kept"
        if isinstance(word, CmdStored) and word.cmd_id not in self.forgotten:
            state, stdout = self.row(word.cmd_id)
            assert state == "ended", f"the guest may forget what is {state} here"
            kept = stdout
            if kept is None:
                kept = (self.home / "commands" / f"{word.cmd_id}.stdout").read_bytes()
            assert (
                kept == self.guest.held[word.cmd_id]["out"]
                if (word.cmd_id in self.guest.held)
                else True
            )

    # What callers do.

    @rule(size=SIZES)
    def run(self, size: int) -> None:
        spec = CommandSpec(cmd="print", args=(str(size),))
        running = Deferred.fromCoroutine(self.commands.run(VM, AGENT, spec))
        running.addCallbacks(self.asked.append, lambda failure: failure.trap(NotStored))

    @precondition(lambda self: self.asked)
    @rule(data=st.data())
    def look(self, data) -> None:
        self.look_at(data.draw(st.sampled_from(self.asked)))

    def look_at(self, cmd_id: str) -> None:
        found = []
        finding = Deferred.fromCoroutine(self.commands.wait(cmd_id, 0))
        finding.addCallbacks(found.append, lambda failure: failure.trap(VMControllerError))
        if cmd_id in self.forgotten:
            return
        [command] = found
        assert command.state is not CommandState.LOST, command.error
        if command.has_ended:
            reading = self.commands.output(cmd_id, "stdout", 0, 10**6)
            Deferred.fromCoroutine(reading).addCallback(found.append)
            told = (found[1], command.result.exit_code_or_signal, command.ended_at)
            assert self.told.setdefault(cmd_id, told) == told, "told otherwise before"
            assert told[:2] == self.truth[cmd_id], "not what the guest had"
        else:
            assert cmd_id not in self.told, "it had ended before"

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def forget(self, data) -> None:
        cmd_id = data.draw(st.sampled_from(list(self.told)))
        Deferred.fromCoroutine(self.commands.forget(cmd_id)).addErrback(
            lambda failure: failure.trap(VMControllerError)
        )
        self.forgotten.add(cmd_id)
        del self.told[cmd_id]

    # What happens in the guest and on the way.

    @precondition(lambda self: self.guest.held)
    @rule(data=st.data(), size=st.integers(1, 2 * INLINE_BYTES), ends=st.booleans())
    def work(self, data, size: int, ends: bool) -> None:
        cmd_id = data.draw(st.sampled_from(list(self.guest.held)))
        if ends:
            self.guest.end(cmd_id)
        else:
            self.guest.print(cmd_id, size)

    @rule(count=st.integers(1, 5))
    def to_guest(self, count: int) -> None:
        for _ in range(min(count, len(self.inbox))):
            word = self.inbox.popleft()
            self.guest.hear(word)
            if isinstance(word, CmdRun):
                command = self.guest.held[word.cmd_id]
                self.truth[word.cmd_id] = (command["out"], command["code"])
                assert self.guest.ran[word.cmd_id] <= 1, "it ran twice"

    @rule(count=st.integers(1, 5), twice=st.booleans())
    def to_host(self, count: int, twice: bool) -> None:
        hearing = self.commands.hearing
        for _ in range(min(count, len(self.guest.outbox))):
            word = self.guest.outbox.popleft()
            for _ in range(1 + twice):
                match word:
                    case CmdStarted():
                        hearing.heard_started(word, GUEST)
                    case CmdOutput():
                        hearing.heard_output(word, GUEST)
                    case CmdResult():
                        hearing.heard_result(word, GUEST)

    @rule()
    def cut(self) -> None:
        """The connection breaks: what was on the way is gone."""
        self.inbox.clear()
        self.guest.outbox.clear()
        self.hello_wanted = True

    @precondition(lambda self: self.hello_wanted)
    @rule()
    def hello(self) -> None:
        self.hello_wanted = False
        held = set(self.guest.held)
        offsets = self.commands.hearing.reconcile(GUEST, held, "one")
        self.guest.answered(offsets)

    @rule(count=st.integers(1, 3))
    def commit(self, count: int) -> None:
        for _ in range(min(count, len(self.held_up))):
            later, work, arguments = self.held_up.popleft()
            maybeDeferred(work, *arguments).chainDeferred(later)

    def commit_all(self) -> None:
        while self.held_up:
            self.commit(1)

    @rule(written=st.booleans())
    def kill(self, written: bool) -> None:
        """Kill the daemon, before or after its last commit has reached the disk."""
        self.generation += 1
        if written and self.held_up:
            _, work, arguments = self.held_up[0]
            work(*arguments)
        self.commands.store._connection.close()
        self.cut()
        self.open()

    @rule()
    def stop(self) -> None:
        """Stop it in order, and start the next."""
        stopping = Deferred.fromCoroutine(self.commands.stop())
        self.commit_all()
        assert stopping.called
        stopping.addErrback(lambda failure: failure.raiseException())
        self.cut()
        self.open()

    def teardown(self) -> None:
        """Once nothing is cut any more, every command comes to its end, and the guest is free."""
        for _ in range(6):
            self.commit_all()
            if self.hello_wanted:
                self.cut()
                self.hello()
            for cmd_id in list(self.guest.held):
                self.guest.end(cmd_id)
            while self.inbox or self.guest.outbox:
                self.to_host(1, twice=False)
                self.commit_all()
                self.to_guest(1)
        try:
            assert not self.guest.held, "the guest holds what nobody takes"
            for cmd_id in self.asked:
                self.look_at(cmd_id)
            assert set(self.told) == set(self.asked) - self.forgotten
        finally:
            self.generation += 1
            self.commands.store._connection.close()
            shutil.rmtree(self.home)


class SurvivalTests(SynchronousTestCase):
    def test_whatever_is_cut(self) -> None:
        """Each command ran at most once, has one end, and exactly the bytes it printed."""
        machine = Survival.TestCase
        machine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
        machine("runTest").runTest()
