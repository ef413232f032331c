"""The command in memory: its words, a daemon's answers, and what is printed."""

import io
import sys
from contextlib import redirect_stderr, redirect_stdout

from twisted.trial.unittest import SynchronousTestCase

from tests.client.fakes import AnsweringCalls
from vmcontroller.client.cli.main import run
from vmcontroller.client.cli.session import Session


class Printed:
    """How a run of the command ended."""

    def __init__(self, status, out, err):
        self.status, self.raw, self.err = status, out, err.decode()

    @property
    def out(self):
        """What was printed on standard output, as text."""
        return self.raw.decode()


class _Stream(io.TextIOWrapper):
    def __init__(self, *, terminal):
        super().__init__(io.BytesIO(), encoding="utf-8", write_through=True)
        self._terminal = terminal

    def isatty(self):
        return self._terminal

    def said(self):
        return self.buffer.getvalue()


class CommandCase(SynchronousTestCase):
    """A case with a daemon whose answers are in `answers`."""

    def setUp(self):
        self.daemon = AnsweringCalls()
        self.answers = self.daemon.answers

    def vmc(self, *words, terminal=False):
        """Run the command; a terminal is one that has no colours."""
        session = Session()
        session._client = self.daemon
        out, err = _Stream(terminal=terminal), _Stream(terminal=terminal)
        argv, sys.argv = sys.argv, ["vmcontroller"]
        try:
            with redirect_stdout(out), redirect_stderr(err):
                status = run(session, [*words, *(["--no-color"] if terminal else [])])
        finally:
            sys.argv = argv
        return Printed(status, out.said(), err.said())
