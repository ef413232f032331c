"""Starting processes: both ways of it give a command the same, and say the same of what fails."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common import spawning
from vmcontroller.common.spawning import Launch, StartFailed, StartProblem, spawn

ENV = {"PATH": "/usr/bin:/bin", "A": "b"}
ABOUT_ITSELF = """
env; ls -l /proc/self/fd | wc -l; cat <&0
echo "$0 $1"; [ $(ps -o sid= -p $$) = $$ ] && echo leader
grep SigIgn /proc/self/status
"""


class SpawnTests(SynchronousTestCase):
    """`sealed` is the quick way, by posix_spawn."""

    def setUp(self) -> None:
        spawning.seal()

    def run_it(self, *argv: str, sealed: bool, stdin: int = -3, **more: object) -> tuple[int, str]:
        """Return exit code and output."""
        with tempfile.TemporaryFile() as out:
            launch = Launch(
                argv=argv,
                env=ENV,
                stdin=stdin,
                stdout=out.fileno(),
                stderr=out.fileno(),
                sealed=sealed,
                **more,  # type: ignore[arg-type]
            )
            _, status = os.waitpid(spawn(launch), 0)
            out.seek(0)
            # The C library has 32 and 33 for itself, and sees to it that nobody is hurt by them.
            text = out.read().decode().replace("SigIgn:\t000000018", "SigIgn:\t000000000")
            return os.waitstatus_to_exitcode(status), text

    def test_nothing_is_ignored(self) -> None:
        """What was started by nohup ignores signals; what it starts can be sent them."""
        numbers = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
        before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
        try:
            spawning.seal()
            for sealed in (True, False):
                code, text = self.run_it("grep", "SigIgn", "/proc/self/status", sealed=sealed)
                self.assertEqual((code, int(text.split()[1], 16)), (0, 0), text)
            os.kill(os.getpid(), signal.SIGHUP)  # it hurts this process no more than before
        finally:
            for number, was in zip(numbers, before, strict=True):
                signal.signal(number, was)

    def test_the_same_both_ways(self) -> None:
        """Environment, streams, arguments, session, ignored signals and descriptors are equal."""
        with tempfile.TemporaryFile() as stdin:
            told = []
            for sealed in (True, False):
                stdin.seek(0)
                stdin.write(b"from stdin\n")
                stdin.seek(0)
                told.append(
                    self.run_it(
                        "sh",
                        *("-c", ABOUT_ITSELF, "zero", "* $HOME"),
                        sealed=sealed,
                        stdin=stdin.fileno(),
                    )
                )
        self.assertEqual(told[0], told[1])
        self.assertIn("A=b\n", told[0][1])
        self.assertIn("from stdin\nzero * $HOME\nleader\n", told[0][1])

    def test_what_fails(self) -> None:
        """The reason is the same, and in words."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        (folder / "no interpreter").write_text("#!/no/such\n")
        (folder / "no interpreter").chmod(0o755)
        (folder / "not for running").write_text("x")
        for command, problem in (
            ("", StartProblem.NOT_FOUND),
            ("no-such-command", StartProblem.NOT_FOUND),
            ("/no/such/command", StartProblem.NOT_FOUND),
            ("/tmp", StartProblem.NOT_EXECUTABLE),
            (str(folder / "no interpreter"), StartProblem.NOT_EXECUTABLE),
            (str(folder / "not for running"), StartProblem.NOT_EXECUTABLE),
            ("a\0b", StartProblem.NOT_EXECUTABLE),
        ):
            details = set()
            for sealed in (True, False):
                with self.assertRaises(StartFailed) as caught:
                    spawn(Launch(argv=[command], env=ENV, sealed=sealed))
                self.assertEqual(caught.exception.problem, problem, command)
                details.add(caught.exception.detail)
            self.assertEqual(len(details), 1)

    def test_command_that_moves(self) -> None:
        """What was found in one place of the PATH, and is gone from it, is found in another."""
        folders = [Path(self.mktemp()).resolve() for _ in range(2)]
        for folder in folders:
            folder.mkdir()
            (folder / "tool").write_text(f"#!/bin/sh\necho {folder}\n")
            (folder / "tool").chmod(0o755)
        env = {"PATH": ":".join(map(str, folders))}
        for folder in folders:
            with tempfile.TemporaryFile() as out:
                launch = Launch(argv=["tool"], env=env, stdout=out.fileno(), sealed=True)
                os.waitpid(spawn(launch), 0)
                out.seek(0)
                self.assertEqual(out.read().decode(), f"{folder}\n")
            (folder / "tool").unlink()

    def test_nice(self) -> None:
        """The child has it from its first moment on, the caller keeps its own."""
        own = os.getpriority(os.PRIO_PROCESS, 0)
        self.assertEqual(self.run_it("nice", sealed=True, nice=3), (0, f"{own + 3}\n"))
        with self.assertRaises(StartFailed):
            spawn(Launch(argv=["no-such-command"], env=ENV, nice=3))
        self.assertEqual(os.getpriority(os.PRIO_PROCESS, 0), own)

    def test_umask(self) -> None:
        """It is the child's alone."""
        self.assertEqual(self.run_it("sh", "-c", "umask", sealed=True, umask=0o027), (0, "0027\n"))

    def test_inherits_nothing(self) -> None:
        """A descriptor that this process was given, and not told to keep, ends here."""
        fd = os.open("/dev/null", os.O_RDONLY)
        self.addCleanup(os.close, fd)
        os.set_inheritable(fd, True)
        spawning.seal()
        self.assertFalse(os.get_inheritable(fd))
        code, _ = self.run_it("test", "-e", f"/proc/self/fd/{fd}", sealed=True)
        self.assertEqual(code, 1)
