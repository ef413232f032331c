"""A command as one thing: its streams, its stdin, its signals, its end; calls may fail."""

import io
import os

from twisted.trial.unittest import SynchronousTestCase

from tests.client.fakes import AnsweringCalls
from vmcontroller.client.errors import (
    BadArgument,
    ConnectionLost,
    NoSuchCommand,
    Unreachable,
    fault_of,
)
from vmcontroller.client.running import Running, completed


def result(**more):
    """Return a result as the daemon answers it."""
    return {
        "cmd-id": "id",
        "state": "ended",
        "finished": True,
        "exitCodeOrSignal": 0,
        "error": "",
        "resources": {},
        **more,
    }


class FakeCommand(AnsweringCalls):
    """A command whose output is there already, and that takes what it is given."""

    def __init__(self, stdout=b"", stderr=b"", **ending):
        super().__init__(
            {
                "getCmdOutput": self.output,
                "waitCmd": lambda *_: dict(self.ending),
                "sendCmdStdin": self.take,
                "closeCmdStdin": self.end,
                "killCmd": True,
                "forgetCmd": True,
                "runCmd": "id",
                "getCmdDetails": lambda _: {"stdin": {"given": len(self.taken)}},
            }
        )
        self.streams = {"stdout": stdout, "stderr": stderr}
        self.ending = result(**ending)
        self.taken = b""
        self.closed = False

    def output(self, _cmd_id, stream, offset, length, _timeout):
        return self.streams[stream][offset : offset + length]

    def take(self, _cmd_id, data):
        self.taken += data
        return len(self.taken)

    def end(self, _cmd_id):
        self.closed = True
        return True

    def failing(self, method, *errors):
        """Let the next calls of a method fail, after it has done what it does if `errors` say."""
        real, left = self.answers[method], list(errors)

        def call(*params):
            if left:
                error, done = left.pop(0)
                if done:
                    real(*params)
                raise error
            return real(*params) if callable(real) else real

        self.answers[method] = call


LOST = ConnectionLost("it broke")


class RunningTests(SynchronousTestCase):
    def test_streams(self):
        """Both streams come whole and apart, in pages, to callbacks or into the answer."""
        long = os.urandom(3_000_001)
        calls = FakeCommand(long, b"warning\n", exitCodeOrSignal=3)
        pages = []
        done = Running(calls, "id").follow(pages.append)
        self.assertEqual((b"".join(pages), done.stdout, done.stderr), (long, b"", b"warning\n"))
        self.assertGreater(len(pages), 1)
        self.assertEqual((done.exit_code, done.exit_status, done.signal), (3, 3, 0))

    def test_connection_breaks(self):
        """Output goes on where it was: nothing is missing, and nothing is there twice."""
        calls = FakeCommand(b"x" * 5, b"")
        calls.failing("getCmdOutput", (LOST, True), (Unreachable("away"), False))
        calls.failing("waitCmd", (LOST, True))
        self.assertEqual(Running(calls, "id").follow().stdout, b"x" * 5)

    def test_daemon_stays_away(self):
        """One does not wait for ever."""
        calls = FakeCommand()
        calls.answers["getCmdOutput"] = Unreachable("away")
        self.assertRaises(Unreachable, Running(calls, "id").follow, patience_s=0)

    def test_forgotten_meanwhile(self):
        """What can't become good again is raised at once."""
        calls = FakeCommand()
        calls.answers["getCmdOutput"] = fault_of(15, "NO_SUCH_COMMAND: gone")
        self.assertRaises(NoSuchCommand, Running(calls, "id").follow)

    def test_stdin(self):
        """It is sent in pieces, once each, also when it is too much or an answer is lost."""
        data = os.urandom(2_500_000)
        calls = FakeCommand()
        calls.failing(
            "sendCmdStdin",
            (fault_of(22, "BUSY: wait"), False),
            (LOST, True),  # it was taken, and the answer did not come
            (LOST, False),
        )
        Feeding(self, calls, io.BytesIO(data))
        self.assertEqual((calls.taken == data, calls.closed), (True, True))

    def test_stdin_is_a_pipe(self):
        """What lies in a pipe is read until its end."""
        reader, writer = os.pipe()
        os.write(writer, b"one")
        os.close(writer)
        calls = FakeCommand()
        with open(reader, "rb") as pipe:
            Feeding(self, calls, pipe)
        self.assertEqual((calls.taken, calls.closed), (b"one", True))

    def test_stdin_is_not_wanted(self):
        """A command that does not read to the end is no failure, and the source is left alone."""
        reader, writer = os.pipe()
        calls = FakeCommand(b"done")
        calls.answers["sendCmdStdin"] = fault_of(2, "BAD_ARGUMENT: cmdId: id has ended")
        with open(reader, "rb") as pipe:
            done = Running(calls, "id").follow(stdin=pipe)  # nothing comes, and nobody waits for it
            self.assertEqual((done.stdout, done.error), (b"done", ""))
            os.write(writer, b"later")
            self.assertEqual(os.read(reader, 10), b"later")
        os.close(writer)

    def test_signals(self):
        """A signal is sent while one follows; that it can't be is told."""
        calls, failed = FakeCommand(), []
        running = Running(calls, "id")
        running.signal_failed = lambda name, error: failed.append((name, type(error)))
        calls.answers["killCmd"] = lambda _, name: self.kill(name)
        calls.answers["waitCmd"] = lambda *_: self.after(calls, failed)
        for name in ("INT", "USR1"):
            running.signal(name)
        running.follow()
        self.assertEqual(
            [call for call in calls.calls if call[0] == "killCmd"],
            [("killCmd", "id", "INT"), ("killCmd", "id", "USR1")],
        )
        self.assertEqual(failed, [("USR1", BadArgument)])

    def kill(self, name):
        if name == "USR1":
            raise fault_of(2, "BAD_ARGUMENT: cmdId: it has ended")
        return True

    def after(self, calls, failed):
        return result(state="ended" if failed else "running")

    def test_ends(self):
        """A signal, a time limit, a command that is lost: each is told apart."""
        killed = completed(result(finished=False, exitCodeOrSignal=9, timedOut=True))
        self.assertEqual((killed.exit_code, killed.signal, killed.exit_status), (-1, 9, 137))
        self.assertTrue(killed.timed_out)
        lost = completed(result(state="lost", finished=False, exitCodeOrSignal=-1, error="RESET"))
        self.assertEqual((lost.lost, lost.signal, lost.exit_status), (True, 0, -1))


class RunTests(SynchronousTestCase):
    def test_run(self):
        """One call begins it, feeds it, follows it and forgets it."""
        calls = FakeCommand(b"out")
        begun = []
        done = calls.run("vm", "cat", ["-"], stdin=b"in", on_begun=begun.append, path="/tmp")
        self.assertEqual((done.stdout, calls.taken, begun[0].cmd_id), (b"out", b"in", "id"))
        self.assertEqual(
            calls.calls[0],
            ("runCmd", "vm", "cat", ["-"], {}, "/tmp", "", {"stdinOpen": True}),
        )
        self.assertIn(("forgetCmd", "id"), calls.calls)

    def test_a_callback_raises(self):
        """Then nobody follows the command any more: it is killed, and kept for whoever looks."""
        calls = FakeCommand(b"out")

        def full(_data):
            raise BrokenPipeError

        self.assertRaises(BrokenPipeError, calls.run, "vm", "yes", on_stdout=full)
        self.assertIn(("killCmd", "id", "KILL"), calls.calls)
        self.assertNotIn(("forgetCmd", "id"), calls.calls)


def Feeding(case, calls, source):
    """Let a command have all of a source: it ends when its stdin does."""
    calls.answers["waitCmd"] = lambda *_: result(state="ended" if calls.closed else "running")
    done = Running(calls, "id").follow(stdin=source)
    case.assertEqual(done.error, "")
