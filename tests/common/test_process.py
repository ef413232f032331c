"""Real children: how they start, how their end is learnt, and that nothing of them remains."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from vmcontroller.common import process
from vmcontroller.common.process import Exit
from vmcontroller.common.spawning import Account, Launch, StartFailed, StartProblem

ENV = {"PATH": "/usr/bin:/bin"}


def descriptors() -> set[str]:
    """Return the open descriptors and what they are."""
    found = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:  # that of the listing itself
            continue
    return found


def no_child_is_left() -> bool:
    """Tell whether this process has neither children nor zombies."""
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return True
    return False


def wait_for_zombie(pid: int) -> None:
    """Return when a child has ended; it stays to be reaped."""
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


def grandchild(script: str) -> int:
    """Start what a shell leaves in the background; return the pid it prints."""
    parent = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    return int(parent.stdout)


def has_ended(pid: int) -> bool:
    """Tell whether a process is gone, or dead and not yet buried by whoever adopted it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


_OPEN_ONES = """
import os
for fd in range(1000):
    try:
        os.fstat(fd)
        print(fd)
    except OSError:
        pass
"""


class _Children(TestCase):
    timeout = 30

    def run_child(self, launch: Launch) -> tuple[process.Child, Deferred[Exit]]:
        ended: Deferred[Exit] = Deferred()
        return process.start(reactor, launch, ended.callback), ended

    async def exit_of(self, *argv: str) -> Exit:
        return await self.run_child(Launch(argv=argv, env=ENV))[1]


class EndTests(_Children):
    """What is learnt of a child's end."""

    async def test_exit_code(self) -> None:
        """The exit code arrives whole."""
        ended = await self.exit_of("sh", "-c", "exit 211")
        self.assertEqual((ended.by_signal, ended.code_or_signal), (False, 211))

    async def test_signal(self) -> None:
        """Death by a signal is told from an exit code of the same number."""
        ended = await self.exit_of("sh", "-c", "kill -9 $$")
        self.assertEqual((ended.by_signal, ended.code_or_signal), (True, signal.SIGKILL))

    async def test_resources_are_of_that_child(self) -> None:
        """A child that burns CPU at the same time is not counted in, whichever ends first."""
        burn = "t = __import__('time').process_time\nwhile t() < 0.4: pass"
        _, burning = self.run_child(Launch(argv=[sys.executable, "-c", burn], env=ENV))
        idle = await self.exit_of("sleep", "0.2")
        busy = await burning
        self.assertLess(idle.resources["ru_utime"] + idle.resources["ru_stime"], 0.1)
        self.assertGreater(busy.resources["ru_utime"] + busy.resources["ru_stime"], 0.3)

    def test_names_of_resources(self) -> None:
        """The sixteen names are those of the running Python's struct, all of them."""
        fields = {name for name in dir(resource.struct_rusage) if name.startswith("ru_")}
        self.assertEqual(set(process.RESOURCES), fields)
        self.assertEqual(len(process.RESOURCES), 16)

    async def test_nothing_remains(self) -> None:
        """Neither a descriptor nor a zombie is left by children that ended or never started."""
        await self.exit_of("true")
        before = descriptors()
        for _ in range(20):
            await self.exit_of("true")
            with self.assertRaises(StartFailed):
                process.start(reactor, Launch(argv=["no-such-command"], env=ENV), self.fail)
        self.assertEqual(descriptors(), before)
        self.assertTrue(no_child_is_left())

    async def test_popen_does_not_reap(self) -> None:
        """Starting others (which polls what Popen remembers) takes no exit status away."""
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            child, ended = self.run_child(Launch(argv=["sh", "-c", "exit 7"], env=ENV))
            wait_for_zombie(child.pid)
            subprocess._cleanup()
            await self.exit_of("true")
        self.assertEqual((await ended).code_or_signal, 7)


class StartTests(_Children):
    """What a child gets."""

    async def output_of(self, launch_with: Callable[[int], Launch]) -> str:
        with tempfile.TemporaryFile() as out:
            await self.run_child(launch_with(out.fileno()))[1]
            out.seek(0)
            return out.read().decode()

    async def test_environment_and_directory(self) -> None:
        """The environment is exactly the one given, the directory the one asked for."""
        text = await self.output_of(
            lambda out: Launch(
                argv=["sh", "-c", "pwd; env"], env={**ENV, "GREETING": "a b"}, cwd="/", stdout=out
            )
        )
        lines = text.splitlines()
        self.assertEqual(lines[0], "/")
        self.assertIn("GREETING=a b", lines)
        self.assertFalse([line for line in lines if line.startswith("HOME=")])

    async def test_session_of_its_own(self) -> None:
        """The child leads a session and a group, so that a signal reaches all it started."""
        text = await self.output_of(
            lambda out: Launch(
                argv=[sys.executable, "-c", "import os; print(os.getpid(), os.getsid(0))"],
                env=ENV,
                stdout=out,
            )
        )
        pid, sid = text.split()
        self.assertEqual(pid, sid)

    async def test_no_descriptor_is_inherited(self) -> None:
        """The child has its three streams and no other descriptor of ours."""
        text = await self.output_of(
            lambda out: Launch(argv=[sys.executable, "-c", _OPEN_ONES], env=ENV, stdout=out)
        )
        self.assertEqual(text.split(), ["0", "1", "2"])

    async def test_account(self) -> None:
        """Another user's ids are taken on, groups included."""
        if os.geteuid() != 0:
            self.skipTest("only root can become somebody else")  # type: ignore[attr-defined]
        text = await self.output_of(
            lambda out: Launch(
                argv=["sh", "-c", "id -u; id -g; id -G"],
                env=ENV,
                stdout=out,
                account=Account(uid=65534, gid=65534, groups=(12, 65534)),
            )
        )
        self.assertEqual(text.split()[:2], ["65534", "65534"])
        self.assertEqual(set(text.split()[2:]), {"12", "65534"})


class StartFailedTests(SynchronousTestCase):
    """Why a child did not start; no reactor turns, so each answer is immediate."""

    def problem_of(self, *argv: str, cwd: str = "") -> StartProblem:
        launch = Launch(argv=argv, env=ENV, cwd=cwd)
        with self.assertRaises(StartFailed) as caught:
            process.start(reactor, launch, self.fail)
        return caught.exception.problem

    def file(self, content: str, mode: int) -> str:
        path = Path(self.mktemp())
        path.write_text(content)
        path.chmod(mode)
        return str(path.resolve())

    def test_not_found(self) -> None:
        """A name that no directory of PATH has, a path that isn't there, an empty name."""
        for name in ("no-such-command", "/no/such/command", "/etc/passwd/x", ""):
            self.assertIs(self.problem_of(name), StartProblem.NOT_FOUND, name)

    def test_not_executable(self) -> None:
        """A file without the permission, a directory, a file of no known format."""
        for path in (self.file("#!/bin/sh\n", 0o644), "/tmp", self.file("\0\1\2 none", 0o755)):
            self.assertIs(self.problem_of(path), StartProblem.NOT_EXECUTABLE, path)

    def test_interpreter_missing(self) -> None:
        """A script whose interpreter is missing is there, so it isn't called not found."""
        path = self.file("#!/no/such/interpreter\n", 0o755)
        self.assertIs(self.problem_of(path), StartProblem.NOT_EXECUTABLE)

    def test_words_that_no_process_can_have(self) -> None:
        """NUL, a lone surrogate and too many bytes are refused, not a crash."""
        for word in ("a\0b", "\ud800", "x" * 3_000_000):
            self.assertIs(self.problem_of("echo", word), StartProblem.NOT_EXECUTABLE)

    def test_directory(self) -> None:
        """A bad directory is told from a bad command, even when both have the same name."""
        for cwd in ("/no/such/directory", "/etc/passwd", "a\0b"):
            self.assertIs(self.problem_of("true", cwd=cwd), StartProblem.BAD_DIRECTORY, cwd)
        both = "/no/such/thing"
        self.assertIs(self.problem_of(both, cwd=both), StartProblem.BAD_DIRECTORY)


class WatchTests(_Children):
    """Processes that need not be our children."""

    async def test_exit_of_a_stranger(self) -> None:
        """The end of a grandchild, which wait4 can't tell us of, is noticed."""
        pid = grandchild("sleep 0.3 >/dev/null 2>&1 & echo $!")
        ended: Deferred[None] = Deferred()
        process.watch_exit(reactor, pid, lambda: ended.callback(None))
        await ended
        self.assertTrue(has_ended(pid))

    def test_no_such_process(self) -> None:
        """There is an error at once for a process that isn't there."""
        with self.assertRaises(ProcessLookupError):
            process.watch_exit(reactor, 2**22 + 1, self.fail)

    async def test_hang_up_of_another(self) -> None:
        """An event meant for a descriptor that had the number before does not end the watch."""
        await self.exit_of("true")
        read, write = os.pipe()
        child, ended = self.run_child(Launch(argv=["cat"], env=ENV, stdin=read))
        seen: Deferred[None] = Deferred()
        watch = process.watch_exit(reactor, child.pid, lambda: seen.callback(None))
        # As the reactor does it: first the reader is removed.
        reactor.removeReader(watch)
        watch.connectionLost(Failure(ConnectionDone()))
        os.close(read)
        os.close(write)
        await seen
        await ended

    async def test_stop(self) -> None:
        """After stop nothing is called back and no descriptor is left; twice is harmless."""
        await self.exit_of("true")
        before = descriptors()
        child, ended = self.run_child(Launch(argv=["cat"], env=ENV, stdin=(pipe := os.pipe())[0]))
        watch = process.watch_exit(reactor, child.pid, self.fail)
        watch.doRead()  # meant for another descriptor that had the same number
        watch.stop()
        watch.stop()
        watch.doRead()
        for fd in pipe:
            os.close(fd)
        await ended
        self.assertEqual(descriptors(), before)
