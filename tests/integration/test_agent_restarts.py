"""An agent that is killed amid its commands, and what the next one makes of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.integration.agent_process import AgentProcess
from tests.integration.running import until
from vmcontroller.common.model import CommandResult, CommandSpec
from vmcontroller.common.words.commands import CmdOutput, CmdResult, CmdRun, CmdStarted, CmdStored
from vmcontroller.common.words.presence import Hello
from vmcontroller.guest.commands import census
from vmcontroller.guest.identity import read_boot_id


def gone(pid: int) -> bool:
    """Tell whether a process is not there, or dead."""
    stat = census.stat_of(pid)
    return stat is None or stat.ended


class RestartTests(AgentProcess):
    """kill -9 at every stage of a command."""

    @property
    def folder(self) -> Path:
        return self.home / "state" / "commands"

    def shell(self, script: str, cmd_id: str = "c") -> None:
        self.host.say(CmdRun(cmd_id=cmd_id, spec=CommandSpec(cmd="sh", args=("-c", script))))

    async def kill_agent(self) -> None:
        """Kill it as the kernel would for want of memory, and begin the next."""
        os.kill(self.agent.pid, signal.SIGKILL)
        await self.ended
        self.host.words.clear()
        self.agent, self.ended = self.start_agent()

    async def hello(self) -> Hello:
        word = await self.host.hear(Hello)
        assert isinstance(word, Hello)
        return word

    async def output(self, length_bytes: int, has_bytes: int = 0) -> bytes:
        """Return the output of command c once so much of it has come."""
        data = bytearray()
        while has_bytes + len(data) < length_bytes:
            word = await self.host.hear(CmdOutput)
            assert isinstance(word, CmdOutput)
            self.assertEqual(word.offset, has_bytes + len(data))
            data += word.data
        return bytes(data)

    async def result(self, cmd_id: str = "c") -> CommandResult:
        return (await self.result_of(cmd_id)).result

    async def forgotten(self, *cmd_ids: str) -> None:
        """Say that all is stored, and see that nothing of it is left."""
        for cmd_id in cmd_ids:
            self.host.say(CmdStored(cmd_id=cmd_id))
        await until(lambda: [path.name for path in self.folder.iterdir()] == ["journal"])

    async def test_amid_a_command(self) -> None:
        """It is lost, with the reason and the output so far; what it has started is killed."""
        await self.met()
        note = self.home / "note"
        self.shell(
            f"head -c 100000 /dev/zero; setsid sleep 60 & sleep 61 & "
            f"echo $! $$ > {note}; while :; do sleep 1; done"
        )
        await self.host.hear(CmdStarted)
        await self.output(100_000)
        await until(lambda: note.exists() and note.read_text().endswith("\n"))
        pids = [int(pid) for pid in note.read_text().split()]
        await self.kill_agent()
        hello = await self.hello()
        self.assertEqual(hello.commands, {"c": (100_000, 0)})
        self.host.greet(c=(40_000, 0))
        self.assertEqual(await self.output(100_000, 40_000), bytes(60_000))
        result = await self.result()
        self.assertTrue(result.lost)
        self.assertFalse(result.finished)
        self.assertRegex(result.error, "^AGENT_RESTARTED: ")
        self.assertEqual((result.stdout_bytes, result.stderr_bytes), (100_000, 0))
        await until(lambda: all(map(gone, pids)))
        await until(lambda: not census.marked(census.everybody().values(), {"c"}))
        await self.forgotten("c")

    async def test_before_it_was_slow(self) -> None:
        """Also when it was killed so early that it had not noted the process."""
        await self.met()
        note = self.home / "note"
        self.shell(f"echo $$ > {note}; sleep 60")
        await until(lambda: note.exists() and note.read_text().endswith("\n"))
        await self.kill_agent()
        await self.met()
        self.assertTrue((await self.result()).lost)
        await until(lambda: gone(int(note.read_text())))

    async def test_result_that_waits(self) -> None:
        """A result that no host has stored is delivered by the next agent, with all its bytes."""
        await self.met()
        self.shell("head -c 300000 /dev/urandom | tee /dev/stderr; exit 7")
        before = await self.result()
        outputs = [word for word in self.host.words if isinstance(word, CmdOutput)]
        sent = b"".join(word.data for word in outputs if word.stream == "stdout")
        for _ in range(2):
            await self.kill_agent()
            hello = await self.hello()
            self.assertEqual(hello.commands, {"c": (300_000, 300_000)})
            self.host.greet(c=(0, 300_000))
            self.assertEqual(await self.output(300_000), sent)
            self.assertEqual(await self.result(), before)
        await self.forgotten("c")
        await self.kill_agent()
        self.assertEqual((await self.hello()).commands, {})

    async def test_never_twice(self) -> None:
        """Killed in the middle of many, each that the next agent names has run once."""
        await self.met()
        marks = self.home / "marks"
        for n in range(40):
            self.shell(f"echo {n} >> {marks}; [ {n % 2} = 0 ] || sleep 60", str(n))
        await until(lambda: marks.exists() and marks.read_text().count("\n") > 20)
        await self.kill_agent()
        hello = await self.hello()
        self.host.greet(**dict.fromkeys(hello.commands, (0, 0)))
        for cmd_id in hello.commands:
            result = await self.result(cmd_id)
            self.assertTrue(result.lost or result.exit_code_or_signal == 0)
        lines = marks.read_text().split()
        self.assertEqual(len(lines), len(set(lines)))
        self.assertLessEqual(set(lines), set(hello.commands))
        await self.forgotten(*hello.commands)

    async def test_after_an_orderly_end(self) -> None:
        """SIGTERM: the result is told, and, not stored, told again by the next agent."""
        await self.met()
        self.shell("echo up; sleep 60")
        await self.output(3)
        os.kill(self.agent.pid, signal.SIGTERM)
        first = await self.result()
        await self.ended
        self.host.words.clear()
        self.agent, self.ended = self.start_agent()
        hello = await self.hello()
        self.assertEqual(hello.commands, {"c": (3, 0)})
        self.host.greet()
        self.assertEqual(await self.result(), first)
        self.assertEqual([word for word in self.host.words if isinstance(word, CmdResult)], [])

    async def test_guest_was_restarted(self) -> None:
        """After a boot of the guest the reason says so, and nobody is looked for."""
        await self.met()
        self.shell("sleep 60")
        await self.host.hear(CmdStarted)
        os.kill(self.agent.pid, signal.SIGKILL)
        await self.ended
        journal = self.folder / "journal"
        boot_id = read_boot_id()
        journal.write_text(journal.read_text().replace(boot_id, "another"))
        self.agent, self.ended = self.start_agent()
        await self.met()
        self.assertRegex((await self.result()).error, "^GUEST_RESTARTED: ")
        for stat in census.marked(census.everybody().values(), {"c"}).get("c", []):
            os.kill(stat.pid, signal.SIGKILL)

    async def test_strange_things_in_the_folder(self) -> None:
        """What is not of a command is removed; links are not followed, and half lines are none."""
        await self.met()
        self.shell("echo x; exit 3")
        await self.result()
        os.kill(self.agent.pid, signal.SIGKILL)
        await self.ended
        precious = self.home / "precious"
        precious.mkdir()
        (precious / "file").write_text("x")
        (self.folder / "link").symlink_to(precious)
        (self.folder / "old").mkdir()
        (self.folder / "old" / "stdout").write_text("x")
        with (self.folder / "journal").open("ab") as file:
            file.write(b'\nRUN {"cmd-id": "half\0\0\n\xff\xff\nCMD_RESULT {"cmd-id": "c", "fin')
        self.agent, self.ended = self.start_agent()
        await self.met()
        self.assertEqual((await self.result()).exit_code_or_signal, 3)
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"journal", "c"})
        self.assertTrue((precious / "file").exists())
