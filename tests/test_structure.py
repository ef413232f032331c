"""The tree keeps its shape: sizes that a reader can hold, one place for the reactor."""

from __future__ import annotations

import ast
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted((ROOT / "vmcontroller").rglob("*.py"))
MODULE_LINES = 350
FUNCTION_LINES = 50


class StructureTests(SynchronousTestCase):
    def test_modules_are_small(self) -> None:
        """A module that outgrows one purpose is split."""
        long = {
            str(path.relative_to(ROOT)): lines
            for path in MODULES
            if (lines := len(path.read_text().splitlines())) > MODULE_LINES
        }
        self.assertEqual(long, {})

    def test_functions_are_small(self) -> None:
        """A function is read in one look."""
        long = []
        for path in MODULES:
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    lines = (node.end_lineno or 0) - node.lineno + 1
                    if lines > FUNCTION_LINES:
                        long.append(f"{path.name}:{node.name} {lines}")
        self.assertEqual(long, [])

    def test_modules_say_what_they_are(self) -> None:
        """Each module begins with what it is."""
        silent = [
            path.name for path in MODULES if not ast.get_docstring(ast.parse(path.read_text()))
        ]
        self.assertEqual(silent, [])

    def test_no_machine_in_the_tree(self) -> None:
        """No path of one machine is in what we ship."""
        for path in [*MODULES, *(ROOT / "scripts").rglob("*"), *(ROOT / "docs").rglob("*.md")]:
            if path.is_file():
                text = path.read_text(errors="replace")
                self.assertNotRegex(text, r"(?<![\w$}\"])/(work|root|home)/\w", str(path))
