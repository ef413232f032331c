"""The journal: what it tells after any cut, and that it does not grow for ever."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.model import CommandResult
from vmcontroller.guest.commands.journal import Entry, Journal, parse


def result(cmd_id: str, code: int = 3) -> CommandResult:
    """Return how a command ended."""
    return CommandResult(
        cmd_id=cmd_id,
        finished=True,
        exit_code_or_signal=code,
        resources={"ru_utime": 0.25},
        stdout_bytes=7,
        stderr_bytes=0,
        truncated=True,
    )


IDS = st.sampled_from(["a", "b", "c", "strange \ud800 \n id"])
STEPS = st.lists(st.tuples(st.sampled_from(["begins", "runs", "ended", "forgotten"]), IDS))


class JournalTests(SynchronousTestCase):
    """One file."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def open(self, compact_bytes: int = 1 << 20) -> tuple[Journal, list[Entry]]:
        journal = Journal(self.path, boot_id="boot", compact_bytes=compact_bytes)
        _, entries = journal.open()
        self.addCleanup(journal.close)
        return journal, entries

    def test_life(self) -> None:
        """Each stage of a command is known to the next run; what is forgotten is not."""
        journal, entries = self.open()
        self.assertEqual(entries, [])
        for cmd_id in ("early", "runs", "ended", "gone"):
            journal.begins(cmd_id)
        journal.runs("runs", 42, 1000)
        journal.ended(result("ended"))
        journal.ended(result("gone"))
        journal.forgotten("gone")
        journal.forgotten("never was")
        for _ in range(2):
            _, entries = self.open()
            self.assertEqual(
                entries,
                [
                    Entry(cmd_id="early"),
                    Entry(cmd_id="runs", pid=42, started_ticks=1000),
                    Entry(cmd_id="ended", result=result("ended")),
                ],
            )

    def test_boot(self) -> None:
        """It says in which boot of the guest it was written."""
        self.open()
        later = Journal(self.path, boot_id="next")
        self.addCleanup(later.close)
        self.assertEqual(later.open(), ("boot", []))
        self.assertEqual(parse(self.path.read_bytes()), ("next", []))

    @given(STEPS, st.integers(0, 4000), st.binary(max_size=20))
    def test_any_cut(self, steps: list[tuple[str, str]], cut: int, garbage: bytes) -> None:
        """Cut anywhere, with anything behind it, it tells what stood in whole lines before."""
        self.path.unlink(missing_ok=True)
        journal, _ = self.open()
        known: dict[str, CommandResult | None] = {}
        states = [(0, dict(known))]
        for step, cmd_id in steps:
            match step:
                case "begins":
                    journal.begins(cmd_id)
                    known.setdefault(cmd_id, None)
                case "runs":
                    journal.runs(cmd_id, 42, 1)
                    known.setdefault(cmd_id, None)
                case "ended":
                    journal.ended(result(cmd_id))
                    known[cmd_id] = result(cmd_id)
                case "forgotten":
                    journal.forgotten(cmd_id)
                    known.pop(cmd_id, None)
            states.append((self.path.stat().st_size, dict(known)))
        journal.close()
        data = self.path.read_bytes()
        self.assertEqual(told(data), known)
        whole = [state for size, state in states if size <= cut][-1]
        self.assertEqual(told(data[:cut]), whole)
        self.assertEqual(told(data[:cut] + b"\n\xff" + garbage.replace(b"\n", b" ")), whole)

    @given(st.binary(max_size=400))
    def test_anything(self, data: bytes) -> None:
        """A file of anything is no journal, and no error."""
        parse(data)
        parse(b'RUN {"cmd-id": 7}\nPID {"cmd-id": "a", "pid": -1}\nCMD_RESULT []\n' + data)

    def test_it_is_written_anew(self) -> None:
        """Thousands of commands leave a small file, and those that are held are in it."""
        journal, _ = self.open(compact_bytes=10_000)
        journal.begins("held")
        journal.ended(result("held"))
        for n in range(1000):
            journal.begins(str(n))
            journal.ended(result(str(n)))
            journal.forgotten(str(n))
        self.assertLess(self.path.stat().st_size, 21_000)
        _, entries = self.open()
        self.assertEqual(entries, [Entry(cmd_id="held", result=result("held"))])

    def test_only_the_agent_may_read(self) -> None:
        """Results may hold secrets; a link in its place is replaced, not followed."""
        other = Path(self.mktemp())
        other.write_text("precious")
        self.path.symlink_to(other.resolve())
        self.open()
        self.assertEqual(other.read_text(), "precious")
        self.assertFalse(self.path.is_symlink())
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_full_disk_at_the_start(self) -> None:
        """An agent that can't write it anew goes on with the old one."""
        journal, _ = self.open()
        journal.begins("a")
        (self.path.parent / f"{self.path.name}.new").mkdir()  # in the way
        journal, entries = self.open()
        self.assertEqual(entries, [Entry(cmd_id="a")])
        journal.ended(result("a"))
        self.assertEqual(self.open()[1], [Entry(cmd_id="a", result=result("a"))])

    def test_full_disk(self) -> None:
        """What can't be written is logged, and hinders nothing."""
        journal, _ = self.open()
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, journal._fd)
        os.close(full)
        journal.begins("a")
        journal.ended(result("a"))


def told(data: bytes) -> dict[str, CommandResult | None]:
    """Return what a journal says of each command."""
    return {entry.cmd_id: entry.result for entry in parse(data)[1]}
