"""What has just ended is in memory: asking for it costs no look at the disk."""

from __future__ import annotations

from tests.host.commands.case import GUEST, CommandsCase
from vmcontroller.common.model import CommandSpec
from vmcontroller.host.commands import registry


class RecentTests(CommandsCase):
    """Which of the commands that have ended are found without the disk."""

    def finished(self, out: bytes = b"hello", stdin: bytes = b"") -> str:
        cmd_id = self.run_one(CommandSpec(cmd="x", stdin=stdin))
        self.hearing.heard_output(self.output(cmd_id, out), GUEST)
        self.hearing.heard_result(self.result(cmd_id, stdout_bytes=len(out)), GUEST)
        return cmd_id

    def in_memory(self, cmd_id: str) -> bool:
        return cmd_id in self.commands.registry._recent

    def test_small_ones_stay_for_a_while(self) -> None:
        """The last ones are the very records, as they ended; older ones come from the disk."""
        self.patch(registry, "RECENT", 2)
        ids = [self.finished() for _ in range(3)]
        self.assertEqual([self.in_memory(cmd_id) for cmd_id in ids], [False, True, True])
        for cmd_id in ids:
            self.assertEqual(self.get(cmd_id).stored_bytes, (5, 0))

    def test_large_ones_do_not(self) -> None:
        """Memory is bounded in bytes, too: much output in the row is read from there."""
        self.patch(registry, "SMALL_BYTES", 4)
        self.assertFalse(self.in_memory(self.finished()))

    def test_forgotten_ones_do_not(self) -> None:
        """What was forgotten is in memory no more."""
        cmd_id = self.finished()
        self.assertTrue(self.in_memory(cmd_id))
        self.commands.registry.remove(cmd_id)
        self.assertFalse(self.in_memory(cmd_id))
