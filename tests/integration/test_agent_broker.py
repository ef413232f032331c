"""The agent as a real process at a real broker: it comes, works, survives a loss, and goes."""

from __future__ import annotations

import hashlib
import os
import signal
import sys
import tempfile
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.integration.agent_process import ID, REPOSITORY, AgentProcess, Host
from tests.integration.running import until
from vmcontroller.common import process
from vmcontroller.common.model import CommandSpec
from vmcontroller.common.process import Exit
from vmcontroller.common.spawning import Launch
from vmcontroller.common.words.commands import CmdOutput, CmdRun, CmdStarted, CmdStored
from vmcontroller.common.words.files import (
    FileData,
    FileFacts,
    FileFailed,
    FilePut,
    FileReady,
)
from vmcontroller.common.words.presence import Aint, Bye, Hello, Ping, Pong, StillAlive


class AgentProcessTests(AgentProcess):
    """What it does from its HELLO to its BYE."""

    async def test_comes_and_goes(self) -> None:
        """HELLO, beacons, PONG; at SIGTERM BYE within a moment, and exit status 0."""
        hello = await self.met()
        self.assertEqual(hello.descriptor.id, ID)
        self.host.say(Ping(ping_id="p"))
        self.assertEqual(await self.host.hear(Pong), Pong(ping_id="p"))
        alive = await self.host.hear(StillAlive)
        self.assertEqual(
            alive,
            StillAlive(session=hello.session, load=alive.load, figures=alive.figures),
        )
        self.assertGreater(alive.figures["memory.total"], alive.figures["memory.used"])
        os.kill(self.agent.pid, signal.SIGTERM)
        bye = await self.host.hear(Bye)
        assert isinstance(bye, Bye)
        self.assertEqual(bye.descriptor.id, ID)
        ended = await self.ended
        self.assertEqual((ended.by_signal, ended.code_or_signal), (False, 0))
        for line in self.log.read_text().splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARN) ")

    async def test_unknown_to_the_host(self) -> None:
        """Told that it isn't known, it introduces itself again, as the same start of the agent."""
        first = await self.met()
        self.host.say(Aint(word="STILL_ALIVE", detail="who?"))
        again = await self.met()
        self.assertEqual(again.session, first.session)

    async def test_command(self) -> None:
        """A command from CMD_RUN to CMD_STORED; nothing of it stays on the guest's disk."""
        await self.met()
        spec = CommandSpec(cmd="sh", args=("-c", "cat; exit 3"), stdin=b"\xff\x00\n")
        self.host.say(CmdRun(cmd_id="c", spec=spec))
        result = (await self.result_of("c")).result
        self.assertEqual((result.exit_code_or_signal, result.stdout_bytes), (3, 3))
        output = await self.host.hear(CmdOutput)
        self.assertEqual(output, CmdOutput(cmd_id="c", stream="stdout", offset=0, data=b"\xff\0\n"))
        self.assertTrue((self.home / "state" / "commands" / "c").exists())
        self.host.say(CmdStored(cmd_id="c"))
        folder = self.home / "state" / "commands"
        await until(lambda: [path.name for path in folder.iterdir()] == ["journal"])

    async def test_ping_amid_much_output(self) -> None:
        """Ten megabytes on their way do not hold up a word for long, and all of them arrive."""
        await self.met()
        spec = CommandSpec(cmd="head", args=("-c", "10000000", "/dev/zero"))
        self.host.say(CmdRun(cmd_id="c", spec=spec))
        first = await self.host.hear(CmdOutput)
        assert isinstance(first, CmdOutput)
        self.host.say(Ping(ping_id="p"))
        await self.host.hear(Pong)
        before = sum(len(word.data) for word in self.host.words if isinstance(word, CmdOutput))
        result = (await self.result_of("c")).result
        outputs = [word for word in self.host.words if isinstance(word, CmdOutput)]
        self.assertEqual(sum(len(word.data) for word in outputs), 10_000_000 - len(first.data))
        self.assertEqual(result.stdout_bytes, 10_000_000)
        self.assertLess(before, 10_000_000)

    async def test_broker_restarts(self) -> None:
        """A command that ends while the broker is away is told, once run, to the next one."""
        hello = await self.met()
        mark = self.home / "mark"
        script = f"echo begun; sleep 1; echo x >> {mark}; exit 9"
        self.host.say(CmdRun(cmd_id="c", spec=CommandSpec(cmd="sh", args=("-c", script))))
        await self.host.hear(CmdOutput)
        await self.host.stop()
        await deferLater(reactor, 1.2)
        self.host = Host()
        await self.host.start(self.port)
        again = await self.host.hear(Hello)
        assert isinstance(again, Hello)
        self.assertEqual(again.session, hello.session)
        self.assertEqual(set(again.commands), {"c"})
        self.host.greet(c=(3, 0))
        output = await self.host.hear(CmdOutput)
        assert isinstance(output, CmdOutput)
        self.assertEqual((output.offset, output.data), (3, b"un\n"))
        result = (await self.result_of("c")).result
        self.assertEqual((result.exit_code_or_signal, result.stdout_bytes), (9, 6))
        self.assertEqual(mark.read_text(), "x\n")

    async def test_killed_amid_a_copy(self) -> None:
        """What a killed agent has of a file is there for the next one to go on with."""
        await self.met()
        target = self.home / "new"
        facts = FileFacts(size_bytes=2**20, mode=0o600, mtime_ns=0)
        self.host.say(FilePut(transfer_id="t1", path=str(target), facts=facts))
        await self.host.hear(FileReady)
        self.host.say(FileData(transfer_id="t1", offset=0, data=b"half"))
        temporary = target.with_name(".new.vmcontroller-t1")
        while temporary.stat().st_size < 4:
            await deferLater(reactor, 0.01)
        os.kill(self.agent.pid, signal.SIGKILL)
        await self.ended
        self.assertTrue(temporary.exists())
        self.agent, self.ended = self.start_agent()
        await self.met()
        self.host.say(FilePut(transfer_id="t1", path=str(target), facts=facts, resume=True))
        ready = await self.host.hear(FileReady)
        assert isinstance(ready, FileReady)
        self.assertEqual(ready.have_bytes, 4)
        self.assertEqual(ready.have_sha256, hashlib.sha256(b"half").hexdigest())
        self.host.say(FileFailed(transfer_id="t1", reason="CANCELLED", detail=""))
        while temporary.exists() or list((self.home / "state" / "copies").iterdir()):
            await deferLater(reactor, 0.01)

    async def test_stopped_while_a_command_runs(self) -> None:
        """SIGTERM ends the command, its result is still told, and BYE is the last word."""
        await self.met()
        self.host.say(CmdRun(cmd_id="c", spec=CommandSpec(cmd="sleep", args=("60",))))
        await self.host.hear(CmdStarted)
        os.kill(self.agent.pid, signal.SIGTERM)
        await self.host.hear(Bye)
        result = (await self.result_of("c")).result
        self.assertEqual((result.finished, result.exit_code_or_signal), (False, 15))
        self.assertEqual((await self.ended).code_or_signal, 0)


class CommandLineTests(TestCase):
    """What the command says without a broker."""

    timeout = 30

    async def run_main(self, *arguments: str) -> tuple[int, str]:
        ended: Deferred[Exit] = Deferred()
        argv = [sys.executable, "-m", "vmcontroller.guest.main", *arguments]
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        with tempfile.TemporaryFile() as out:
            launch = Launch(argv=argv, env=env, stdout=out.fileno(), stderr=out.fileno())
            process.start(reactor, launch, ended.callback)
            ending = await ended
            out.seek(0)
            return ending.code_or_signal, out.read().decode()

    def config(self, text: str) -> str:
        path = Path(self.mktemp()).resolve()
        path.write_text(text)
        return str(path)

    async def test_check(self) -> None:
        """A good file is said to be good; nothing is started."""
        path = self.config("broker: {host: auto}\n")
        self.assertEqual(await self.run_main("-c", path, "--check"), (0, f"{path}: good\n"))

    async def test_bad_config(self) -> None:
        """One line that names file and key, and exit status 2."""
        path = self.config("vm: {beacon_interval: soon}\n")
        status, text = await self.run_main("-c", path)
        self.assertEqual((status, text.count("\n")), (2, 1))
        self.assertIn(f"{path}: vm.beacon_interval: ", text)

    async def test_state_dir_that_cannot_be(self) -> None:
        """An agent that can't keep output says so, in a line, and does not pretend to run."""
        file = self.config("in the way")
        path = self.config(f"vm: {{id: '{ID}'}}\nstate_dir: {file}\n")
        status, text = await self.run_main("-c", path)
        self.assertEqual((status, text.count("\n")), (1, 1))
        self.assertIn("cannot start", text)
