"""One line per event, whatever is in it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import LogLevel
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.logs import line_of


class LineTests(SynchronousTestCase):
    """What a line looks like."""

    def test_time_level_text(self) -> None:
        """The time is ISO in UTC with milliseconds; level and text follow."""
        line = line_of(
            {
                "log_time": 1_700_000_000.1234,
                "log_level": LogLevel.warn,
                "log_format": "{who} is here",
                "who": "guest",
            }
        )
        self.assertEqual(line, "2023-11-14T22:13:20.123Z WARN     guest is here\n")

    @given(st.text())
    def test_one_line(self, text: str) -> None:
        """Nothing that a guest sends begins a new line or steers a terminal."""
        line = line_of({"log_level": LogLevel.info, "log_format": "{text}", "text": text})
        self.assertEqual(len(line.splitlines()), 1)
        self.assertTrue(line.endswith("\n"))
        self.assertNotIn("\x1b", line)
        line.encode()

    def test_failure(self) -> None:
        """A failure's traceback is in the same line."""
        failure = Failure(ValueError("no good"))
        line = line_of({"log_level": LogLevel.critical, "log_format": "x", "log_failure": failure})
        self.assertIn("ValueError: no good", line)
        self.assertEqual(line.count("\n"), 1)
