"""A runner of commands with real children, and a host in memory that stores what it says."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.guest.fakes import FakeLink
from vmcontroller.common.model import CommandResult, CommandSpec
from vmcontroller.common.words import Word
from vmcontroller.common.words.commands import CmdOutput, CmdResult, CmdRun, CmdStored
from vmcontroller.guest.commands.command import Patience
from vmcontroller.guest.commands.courier import CHUNK_BYTES
from vmcontroller.guest.commands.orphans import adopt_orphans
from vmcontroller.guest.commands.runner import Runner


def descriptors() -> int:
    """Return how many are open."""
    return len(os.listdir("/proc/self/fd"))


def turn() -> Deferred[None]:
    """Return what fires a few milliseconds later."""
    turned: Deferred[None] = Deferred()
    reactor.callLater(0.005, turned.callback, None)
    return turned


def read(path: Path) -> str:
    """Return a file's text; empty when there is none."""
    return path.read_text() if path.exists() else ""


async def until(condition: Callable[[], object]) -> None:
    """Return when something has become true; the test's timeout is the deadline."""
    while not condition():
        await turn()


class Host(FakeLink):
    """A host that stores what comes, as the real one does: without gaps and without repetition."""

    def __init__(self) -> None:
        super().__init__()
        self.output: dict[tuple[str, str], bytearray] = {}
        self.results: dict[str, CommandResult] = {}
        self.order: list[str] = []
        self._ends: dict[str, Deferred[CommandResult]] = {}

    def say(self, word: Word) -> None:
        super().say(word)
        self.order.append(word.NAME)
        match word:
            case CmdOutput():
                stored = self.output.setdefault((word.cmd_id, word.stream), bytearray())
                assert word.offset <= len(stored), "a gap"
                assert len(word.data) <= CHUNK_BYTES
                stored[word.offset :] = word.data
            case CmdResult():
                self.results[word.result.cmd_id] = word.result
                if not (end := self.end(word.result.cmd_id)).called:
                    end.callback(word.result)

    def end(self, cmd_id: str) -> Deferred[CommandResult]:
        """Return what fires when the result of a command has come."""
        return self._ends.setdefault(cmd_id, Deferred())

    def has(self, cmd_id: str) -> tuple[int, int]:
        """Return how much of both streams is stored."""
        out = self.output.get((cmd_id, "stdout"), b"")
        return len(out), len(self.output.get((cmd_id, "stderr"), b""))


class Running(TestCase):
    """Runs commands; `self.host` has what was said of them."""

    timeout = 60
    patience = Patience()
    env: Mapping[str, str] = MappingProxyType({"PATH": "/usr/bin:/bin", "AGENTS": "own"})

    def setUp(self) -> None:
        self.host = Host()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.runner = self.make()
        self.runner.resume({})

    def make(self) -> Runner:
        """Return a runner that goes on with what is in the folder."""
        runner = Runner(
            reactor=reactor,
            say=self.host.say,
            writable=self.host.writable,
            folder=self.folder,
            env=self.env,
            patience=self.patience,
        )
        runner.start()
        return runner

    async def tearDown(self) -> None:
        for cmd_id in self.runner.held():
            self.runner.heard_cmd_stored(CmdStored(cmd_id=cmd_id))
        assert self.runner.held() == {}
        await self.runner.stop()
        adopt_orphans(False)  # those of later tests' daemons are not this process's to bury
        assert [path.name for path in self.folder.iterdir()] == ["journal"]

    def begin(self, spec: CommandSpec, cmd_id: str = "id") -> Deferred[CommandResult]:
        self.runner.heard_cmd_run(CmdRun(cmd_id=cmd_id, spec=spec))
        return self.host.end(cmd_id)

    async def shell(self, script: str, **more: object) -> CommandResult:
        return await self.begin(CommandSpec(cmd="sh", args=("-c", script), **more))

    def path(self) -> Path:
        """Return a path where nothing is."""
        return Path(self.mktemp()).resolve()

    def dir(self) -> Path:
        """Return an empty folder."""
        path = self.path()
        path.mkdir()
        return path

    @property
    def stdout(self) -> bytes:
        return bytes(self.host.output.get(("id", "stdout"), b""))

    @property
    def stderr(self) -> bytes:
        return bytes(self.host.output.get(("id", "stderr"), b""))
