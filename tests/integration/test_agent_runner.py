"""Commands as real child processes, from CMD_RUN to CMD_STORED; the host is in memory."""

from __future__ import annotations

import os
import sys
import time

from twisted.internet import reactor
from twisted.internet.task import deferLater

from tests.integration.running import Running, descriptors, read, turn
from vmcontroller.common.model import CommandSpec
from vmcontroller.common.words.commands import (
    CmdOutput,
    CmdStarted,
)
from vmcontroller.common.words.running import CmdRunAll
from vmcontroller.guest.commands.command import Patience


class CommandTests(Running):
    """What a command gets, and what is told of it."""

    async def test_whole(self) -> None:
        """Both streams, the exit code and the counts arrive, the result last."""
        result = await self.shell("echo out; echo err >&2; exit 3")
        self.assertEqual((self.stdout, self.stderr), (b"out\n", b"err\n"))
        self.assertEqual((result.finished, result.exit_code_or_signal), (True, 3))
        self.assertEqual((result.stdout_bytes, result.stderr_bytes), (4, 4))
        self.assertEqual(self.host.order[-1], "CMD_RESULT")
        self.assertFalse(result.truncated or result.timed_out or result.error)

    async def test_signal(self) -> None:
        """A death by signal is not `finished`, and the number is the signal's."""
        result = await self.shell("kill -SEGV $$")
        self.assertEqual((result.finished, result.exit_code_or_signal), (False, 11))

    async def test_environment_path_and_arguments(self) -> None:
        """Env is added to the agent's, path is the directory, arguments are not interpreted."""
        await self.begin(
            CommandSpec(
                cmd="sh",
                args=("-c", 'pwd; echo "$AGENTS $MORE $1"', "sh", "* $HOME; `id`"),
                env={"MORE": "mine"},
                path="/usr",
            )
        )
        self.assertEqual(self.stdout, b"/usr\nown mine * $HOME; `id`\n")

    async def test_path_variable_of_the_command(self) -> None:
        """The command is looked up in the PATH that it gets, not in the agent's."""
        tools = self.dir()
        tool = tools / "only-here"
        tool.write_text("#!/bin/sh\necho found\n")
        tool.chmod(0o755)
        await self.begin(CommandSpec(cmd="only-here", env={"PATH": str(tools)}))
        self.assertEqual(self.stdout, b"found\n")

    async def test_stdin_bytes(self) -> None:
        """Any bytes, a megabyte of them, and the end after them."""
        data = bytes(range(256)) * 3000
        await self.begin(CommandSpec(cmd="cat", stdin=data))
        self.assertEqual(self.stdout, data)

    async def test_stdin_file(self) -> None:
        """A file of the guest, relative to the command's directory."""
        folder = self.dir()
        (folder / "in put").write_bytes(b"from a file")
        await self.begin(CommandSpec(cmd="cat", file_for_stdin="in put", path=str(folder)))
        self.assertEqual(self.stdout, b"from a file")

    async def test_stdin_fifo(self) -> None:
        """A FIFO that nobody writes to stops neither the agent nor the command."""
        path = self.path()
        os.mkfifo(path)
        result = await self.begin(CommandSpec(cmd="cat", file_for_stdin=str(path)))
        self.assertEqual(result.exit_code_or_signal, 0)

    async def test_no_stdin(self) -> None:
        """Without any, stdin is at its end: nothing waits for a terminal."""
        result = await self.begin(CommandSpec(cmd="cat"))
        self.assertEqual((result.exit_code_or_signal, self.stdout), (0, b""))

    async def test_stdin_not_read(self) -> None:
        """A command that ignores its stdin ends like any other."""
        result = await self.begin(CommandSpec(cmd="true", stdin=b"x" * 500_000))
        self.assertEqual(result.exit_code_or_signal, 0)

    async def test_user(self) -> None:
        """Another user's ids and home are the command's; who may not become it says so."""
        result = await self.shell('id -un; echo "$USER"; id -G | wc -w', user="daemon")
        if os.geteuid() == 0:
            self.assertEqual(self.stdout.split()[:2], [b"daemon", b"daemon"])
        else:
            self.assertRegex(result.error, "^USER_REFUSED: ")

    async def test_group(self) -> None:
        """A group is taken with or without a user; who may not have it says so."""
        result = await self.shell("id -gn; id -un", group="daemon")
        both = self.begin(
            CommandSpec(cmd="sh", args=("-c", "id -gn; id -un"), group="daemon", user="nobody"),
            "both",
        )
        await both
        if os.geteuid() == 0:
            self.assertEqual(self.stdout.split(), [b"daemon", b"root"])
            told = bytes(self.host.output[("both", "stdout")])
            self.assertEqual(told.split(), [b"daemon", b"nobody"])
        else:
            self.assertRegex(result.error, "^USER_REFUSED: ")

    async def test_umask(self) -> None:
        """Files are made with it; the agent's own stays what it was."""
        before = os.umask(0o022)
        os.umask(before)
        path = self.path()
        await self.shell(f"umask; : > {path}", umask=0o077)
        self.assertEqual((int(self.stdout, 8), path.stat().st_mode & 0o777), (0o077, 0o600))
        self.assertEqual(os.umask(before), before)

    async def test_nice(self) -> None:
        """It is added to the agent's, from the first moment on; the agent keeps its own."""
        own = os.getpriority(os.PRIO_PROCESS, 0)
        await self.shell("nice; sh -c nice", nice=5)
        self.assertEqual(self.stdout.split(), [b"%d" % (own + 5)] * 2)
        result = await self.begin(CommandSpec(cmd="nice", nice=-3), "less")
        if os.geteuid() == 0:
            self.assertEqual(int(self.host.output[("less", "stdout")]), own - 3)
        else:
            self.assertRegex(result.error, "^NICE_REFUSED: ")
            self.assertEqual(result.exit_code_or_signal, 126)
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, 0), own)

    async def test_asked_of_all(self) -> None:
        """A command for many runs under this guest's id in it; without one it is for others."""
        spec = CommandSpec(cmd="echo", args=("here",))
        ids = {"52:54:00:00:00:01": "id", "52:54:00:00:00:02": "other"}
        word = CmdRunAll(batch_id="b", cmd_ids=ids, spec=spec)
        self.runner.heard_cmd_run_all(word, "52:54:00:00:00:03")
        self.assertEqual(self.runner.held(), {})
        for _ in range(2):
            self.runner.heard_cmd_run_all(word, "52:54:00:00:00:01")
        await self.host.end("id")
        self.assertEqual((self.stdout, list(self.host.results)), (b"here\n", ["id"]))

    async def test_quick(self) -> None:
        """Of what ends at once only the end is told."""
        await self.begin(CommandSpec(cmd="true"))
        self.assertEqual(self.host.order, ["CMD_RESULT"])

    async def test_resources(self) -> None:
        """They are of that very command, while another burns the CPU."""
        burn = "t = __import__('time').process_time\nwhile t() < 0.5: pass"
        busy = self.begin(CommandSpec(cmd=sys.executable, args=("-c", burn)), "busy")
        idle = await self.begin(CommandSpec(cmd="sleep", args=("0.2",)), "idle")
        self.assertLess(idle.resources["ru_utime"] + idle.resources["ru_stime"], 0.1)
        used = (await busy).resources
        self.assertGreater(used["ru_utime"] + used["ru_stime"], 0.4)
        self.assertLess(used["ru_utime"] + used["ru_stime"], 2)
        self.assertEqual(len(used), 16)
        self.assertGreaterEqual(idle.duration_s, 0.2)

    async def test_begun_in_the_turn_of_anothers_end(self) -> None:
        """Descriptors' numbers are used again, and events of the one never meant for the other."""
        for n in range(30):
            before = self.begin(CommandSpec(cmd="true"), f"before {n}")
            after = [
                before.addCallback(lambda result, name=f"{n} {k}": self.late(name) and result)
                for k in range(3)
            ]
            await after[-1]
            for k in range(3):
                result = await self.host.end(f"{n} {k}")
                self.assertEqual((result.exit_code_or_signal, result.stdout_bytes), (0, 2), result)

    def late(self, cmd_id: str) -> bool:
        """Begin a command that prints when its forerunner's events have long been handled."""
        self.begin(CommandSpec(cmd="sh", args=("-c", "sleep 0.02; echo x")), cmd_id)
        return True

    async def test_fifty_at_once(self) -> None:
        """Fifty side by side are all told, each with its own output, and no descriptor is left."""
        await self.begin(CommandSpec(cmd="true"), "first")
        await turn()
        before = descriptors()
        ends = [
            self.begin(CommandSpec(cmd="sh", args=("-c", f"sleep 0.1; echo {n}; exit {n}")), str(n))
            for n in range(50)
        ]
        for n, end in enumerate(ends):
            result = await end
            self.assertEqual(result.exit_code_or_signal, n, result)
            self.assertEqual(self.host.output[(str(n), "stdout")], b"%d\n" % n)
        await turn()
        self.assertEqual(descriptors(), before)


class OutputTests(Running):
    """Much output, and strange output."""

    async def test_ten_megabytes(self) -> None:
        """They arrive whole."""
        result = await self.shell("head -c 10485760 /dev/zero; echo end >&2")
        self.assertEqual(result.stdout_bytes, 10 << 20)
        self.assertEqual(self.stdout, bytes(10 << 20))
        self.assertEqual(self.stderr, b"end\n")
        self.assertFalse(result.truncated)

    async def test_any_bytes(self) -> None:
        """Bytes that are no text, and no end of line, are the same bytes on the other side."""
        every = "".join(f"\\{byte:03o}" for byte in range(256))
        await self.shell(f"printf '{every}'")
        self.assertEqual(self.stdout, bytes(range(256)))

    async def test_limit(self) -> None:
        """Beyond the limit the command goes on, and its output is dropped."""
        result = await self.shell(
            "head -c 300000 /dev/zero; echo whole >&2; exit 4", output_limit_bytes=1000
        )
        self.assertEqual((result.stdout_bytes, len(self.stdout)), (1000, 1000))
        self.assertEqual((result.exit_code_or_signal, result.truncated), (4, True))
        self.assertEqual(self.stderr, b"whole\n")

    async def test_slow_host(self) -> None:
        """The command does not wait for the host, and nothing is said beyond what it takes."""
        self.host.room = 1
        ended = self.path()
        self.begin(
            CommandSpec(cmd="sh", args=("-c", f"head -c 5000000 /dev/zero; echo x > {ended}"))
        )
        while not read(ended):
            await turn()
        said = [word for word in self.host.words() if isinstance(word, CmdOutput)]
        self.assertLessEqual(len(said), 1)
        self.host.make_room(1_000_000)
        result = await self.host.end("id")
        self.assertEqual((result.stdout_bytes, len(self.stdout)), (5_000_000, 5_000_000))


class TimeTests(Running):
    """Time limits, and processes that outlive the command."""

    patience = Patience(pipe_grace_s=0.3, stop_grace_s=0.3)

    async def test_timeout(self) -> None:
        """SIGTERM reaches what the command started too."""
        began = time.monotonic()
        result = await self.shell("sleep 60 & sleep 61; echo no", timeout_s=0.2, kill_after_s=0.3)
        self.assertEqual((result.finished, result.exit_code_or_signal), (False, 15))
        self.assertTrue(result.timed_out)
        self.assertLess(time.monotonic() - began, 2)
        # The other sleeper may not be buried yet, and then its SIGKILL is still to come.
        await deferLater(reactor, 0.35)

    async def test_timeout_ignored(self) -> None:
        """Who ignores SIGTERM gets SIGKILL; what it said until then is kept."""
        result = await self.shell(
            "trap '' TERM; echo here; sleep 60; sleep 60", timeout_s=0.2, kill_after_s=0.3
        )
        self.assertEqual((result.finished, result.exit_code_or_signal), (False, 9))
        self.assertTrue(result.timed_out)
        self.assertEqual(self.stdout, b"here\n")
        await deferLater(reactor, 0.1)  # it is looked for once more

    async def test_ended_in_time(self) -> None:
        """A limit that was not reached leaves no timer (trial would complain) and no mark."""
        result = await self.shell("exit 5", timeout_s=3600)
        self.assertEqual((result.exit_code_or_signal, result.timed_out), (5, False))

    async def test_background_child(self) -> None:
        """A child left behind with the pipes delays the result by a short grace, and lives on."""
        began = time.monotonic()
        result = await self.shell("sleep 3 & echo $!; exit 6")
        self.assertLess(time.monotonic() - began, 2)
        self.assertEqual((result.finished, result.exit_code_or_signal), (True, 6))
        pid = int(self.stdout)
        os.kill(pid, 9)  # it was alive: no ProcessLookupError

    async def test_stop_of_the_deaf(self) -> None:
        """Who ignores SIGTERM is killed, so that the agent ends and nothing is left."""
        deaf = self.begin(CommandSpec(cmd="sh", args=("-c", "trap '' TERM; echo up; sleep 60")))
        while not self.stdout:
            await turn()
        await self.runner.stop()
        self.assertEqual((await deaf).exit_code_or_signal, 9)

    async def test_stop(self) -> None:
        """When the agent stops, what runs is ended, and the host still hears of it."""
        self.begin(CommandSpec(cmd="sleep", args=("60",)), "polite")
        self.begin(CommandSpec(cmd="sleep", args=("60",)), "other")
        await self.runner.stop()
        self.assertEqual(
            {result.exit_code_or_signal for result in self.host.results.values()}, {15}
        )
        self.assertEqual(set(self.host.results), {"polite", "other"})


class LostConnectionTests(Running):
    """Nothing is lost with a connection, and nothing is done twice."""

    async def test_resent_from_where_the_host_is(self) -> None:
        """Output is said again from the host's offset on, and the result after it."""
        self.host.room = 3
        ending = self.begin(
            CommandSpec(cmd="sh", args=("-c", "head -c 500000 /dev/urandom | tee /dev/stderr"))
        )
        while self.host.room:
            await turn()
        self.host.lose()
        self.runner.connection_lost()
        # The last word was under way when the connection went.
        for stored in self.host.output.values():
            del stored[40_000:]
        self.host.connected, self.host.room = True, None
        self.assertFalse(ending.called)
        self.assertIn("id", self.runner.held())
        self.runner.resume({"id": self.host.has("id")})
        result = await ending
        self.assertEqual((result.stdout_bytes, result.stderr_bytes), (500_000, 500_000))
        self.assertEqual(self.stdout, self.stderr)
        self.assertEqual(len(self.stdout), 500_000)

    async def test_ended_while_away(self) -> None:
        """A command that ends without a host is told when there is one."""
        self.host.lose()
        self.runner.connection_lost()
        mark = self.path()
        ending = self.begin(CommandSpec(cmd="sh", args=("-c", f"echo x >> {mark}; cat {mark}")))
        while self.runner.held().get("id") != (2, 0):
            await turn()
        self.host.connected = True
        self.begin(CommandSpec(cmd="sh", args=("-c", f"echo again >> {mark}")))
        self.assertIsInstance(self.host.words()[-1], CmdStarted)
        self.runner.resume({"id": (0, 0)})
        await ending
        self.assertEqual(self.stdout, b"x\n")
        self.assertEqual(read(mark), "x\n")
