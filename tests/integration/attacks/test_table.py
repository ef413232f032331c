"""docs/security.md names tests that exist, and all of them."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

PLACE = Path(__file__).parent
PAGE = PLACE.parents[2] / "docs" / "security.md"
_TEST = re.compile(r"`(test_\w+)\.(\w+Tests)(?:\.(test_\w+))?`")


class TableTests(SynchronousTestCase):
    def rows(self) -> list[str]:
        """Return the lines of the table, without its head."""
        lines = [line for line in PAGE.read_text().splitlines() if line.startswith("|")]
        return lines[2:]

    def test_each_test_exists(self) -> None:
        """Each attack has tests, and what the table calls a test is one."""
        for row in self.rows():
            named = _TEST.findall(row.split("|")[3])
            self.assertTrue(named, row)
            for module, case, method in named:
                found = getattr(importlib.import_module(f"{__package__}.{module}"), case)
                methods = [method] if method else [n for n in vars(found) if n.startswith("test_")]
                self.assertTrue(methods, case)
                for name in methods:
                    self.assertTrue(callable(getattr(found, name)), f"{case}.{name}")

    def test_none_is_missing(self) -> None:
        """Each attack that is tried is in the table."""
        named = {(module, case) for module, case, _ in _TEST.findall("".join(self.rows()))}
        written = {
            (path.stem, case)
            for path in PLACE.glob("test_*.py")
            for case in re.findall(r"^class (\w+Tests)\(", path.read_text(), re.MULTILINE)
            if path.stem != Path(__file__).stem
        }
        self.assertEqual(named, written)
