"""The book of commands: once each, kept until stored. Real children are in tests.integration."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.guest.fakes import FakeLink
from vmcontroller.common.model import CommandResult, CommandSpec
from vmcontroller.common.words.commands import CmdResult, CmdRun, CmdStarted, CmdStored
from vmcontroller.guest.commands.runner import Runner

NOWHERE = CommandSpec(cmd="/no/such/command")


class RunnerTests(SynchronousTestCase):
    """With commands that never start, so that nothing has to be waited for."""

    def setUp(self) -> None:
        self.link = FakeLink()
        self.runner = self.make()
        self.runner.resume({})

    def make(self, at_once: int = 4, remembered: int = 100) -> Runner:
        folder = Path(self.mktemp())
        folder.mkdir()
        runner = Runner(
            reactor=MemoryReactorClock(),
            say=self.link.say,
            writable=self.link.writable,
            folder=folder,
            env={},
            now=lambda: 0.0,
            at_once=at_once,
            remembered=remembered,
        )
        runner.start()
        self.addCleanup(lambda: self.successResultOf(runner.stop()))
        return runner

    def run_command(self, cmd_id: str, spec: CommandSpec = NOWHERE) -> None:
        self.runner.heard_cmd_run(CmdRun(cmd_id=cmd_id, spec=spec))

    def results(self) -> list[CommandResult]:
        return [word.result for word in self.link.words() if isinstance(word, CmdResult)]

    def test_never_ran(self) -> None:
        """A command that can't start is a result at once, with all sixteen figures."""
        self.run_command("a")
        (result,) = self.results()
        self.assertEqual((result.finished, result.exit_code_or_signal), (True, 127))
        self.assertTrue(result.error.startswith("COMMAND_NOT_FOUND: '/no/such/command'"))
        self.assertEqual(set(result.resources.values()), {0})
        self.assertEqual(len(result.resources), 16)

    def test_reasons(self) -> None:
        """Each thing that can be wrong with a request has its own word and exit code."""
        missing = "/no/such/thing"
        cases = (
            (CommandSpec(cmd=""), 127, "COMMAND_NOT_FOUND"),
            (CommandSpec(cmd="/tmp"), 126, "COMMAND_NOT_EXECUTABLE"),
            (CommandSpec(cmd="/bin/true", args=("a\0b",)), 126, "COMMAND_NOT_EXECUTABLE"),
            (CommandSpec(cmd="/bin/true", env={"A=B": "c"}), 126, "COMMAND_NOT_EXECUTABLE"),
            (CommandSpec(cmd="/bin/true", path=missing), 126, "BAD_PATH"),
            (CommandSpec(cmd="/bin/true", path="/etc/passwd"), 126, "BAD_PATH"),
            (CommandSpec(cmd="/bin/true", user="no-such-user"), 126, "NO_SUCH_USER"),
            (CommandSpec(cmd="/bin/true", user="a\0b"), 126, "NO_SUCH_USER"),
            (CommandSpec(cmd="/bin/true", file_for_stdin=missing), 126, "NO_SUCH_FILE"),
            (CommandSpec(cmd="/bin/true", file_for_stdin="/tmp"), 126, "NO_SUCH_FILE"),
            (CommandSpec(cmd="/bin/true", file_for_stdin="a\0b"), 126, "NO_SUCH_FILE"),
        )
        for number, (spec, code, word) in enumerate(cases):
            self.run_command(str(number), spec)
            (result,) = self.results()
            self.assertEqual(
                (result.exit_code_or_signal, result.error.partition(":")[0]), (code, word), spec
            )

    def test_once(self) -> None:
        """A CMD_RUN said twice is one command: it is confirmed, and its result said again."""
        self.run_command("a")
        (first,) = self.results()
        self.run_command("a", CommandSpec(cmd="/tmp"))
        words = self.link.words()
        self.assertEqual([type(word) for word in words], [CmdStarted, CmdResult])
        self.assertEqual(words[1], CmdResult(result=first))

    def test_once_even_when_stored(self) -> None:
        """An id that was forgotten with CMD_STORED does not run again."""
        self.run_command("a")
        self.runner.heard_cmd_stored(CmdStored(cmd_id="a"))
        self.link.words()
        self.run_command("a")
        self.assertEqual([type(word) for word in self.link.words()], [CmdStarted])
        self.assertEqual(self.runner.held(), {})

    def test_ids_are_remembered_up_to_a_bound(self) -> None:
        """Memory doesn't grow for ever: the oldest ids that are stored are forgotten."""
        self.runner = self.make(remembered=3)
        self.runner.resume({})
        self.run_command("held")
        for number in range(5):
            self.run_command(str(number))
            self.runner.heard_cmd_stored(CmdStored(cmd_id=str(number)))
        self.link.words()
        self.run_command("held")
        self.assertIsInstance(self.link.words()[0], CmdStarted)
        self.run_command("0")
        self.assertEqual(len(self.results()), 1)

    def test_held_until_stored(self) -> None:
        """Every HELLO names it until the host has the result."""
        self.run_command("a")
        self.assertEqual(self.runner.held(), {"a": (0, 0)})
        self.runner.heard_cmd_stored(CmdStored(cmd_id="b"))
        self.assertEqual(self.runner.held(), {"a": (0, 0)})
        self.runner.heard_cmd_stored(CmdStored(cmd_id="a"))
        self.assertEqual(self.runner.held(), {})

    def test_lost_connection(self) -> None:
        """A result that ended without a host is said when one has answered, listed or not."""
        self.link.lose()
        self.runner.connection_lost()
        self.run_command("listed")
        self.run_command("unlisted")
        self.link.connected = True
        self.assertEqual(self.link.words(), [])
        self.runner.resume({"listed": (0, 0)})
        self.assertEqual({result.cmd_id for result in self.results()}, {"listed", "unlisted"})

    def test_said_again_on_each_connection(self) -> None:
        """A result that was said, and not stored, is said again."""
        self.run_command("a")
        for _ in range(3):
            self.assertEqual(len(self.results()), 1)
            self.link.lose()
            self.runner.connection_lost()
            self.link.connected = True
            self.runner.resume({"a": (0, 0)})

    def test_too_many(self) -> None:
        """One too many is told so, is not held, and may come again later."""
        self.runner = self.make(at_once=0)
        self.run_command("a")
        (result,) = self.results()
        self.assertEqual(result.exit_code_or_signal, 126)
        self.assertIn("TOO_MANY_COMMANDS", result.error)
        self.assertEqual(self.runner.held(), {})

    def test_stop_without_commands(self) -> None:
        """Stopping waits for nothing when nothing runs."""
        self.successResultOf(self.runner.stop())
