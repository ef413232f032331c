"""Which commands there are: those that go on in memory, those that have ended on the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from twisted.internet.interfaces import IReactorTime

from vmcontroller.common.errors import NoSuchCommand
from vmcontroller.common.model import GuestId
from vmcontroller.host.commands import rows
from vmcontroller.host.commands.record import Command, CommandState
from vmcontroller.host.commands.store import Store

RECENT: Final = 256
"""Of those that have ended, so many small ones stay in memory: mostly they are asked for soon."""

SMALL_BYTES: Final = 16 * 1024
"""As much stdin and output that lies in no file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What memory holds of a command that has ended."""

    guest: GuestId
    ended_s: float
    """By this process's clock; a time of day may be set."""
    batch_id: str
    file_bytes: int
    """How much of its output lies in files."""


class Registry:
    """All commands this daemon knows, by id."""

    def __init__(self, store: Store, *, clock: IReactorTime, wall_s: Callable[[], float]) -> None:
        """`wall_s` is the time of day, in seconds since 1970."""
        self._store = store
        self._clock = clock
        self._wall_s = wall_s
        self._running: dict[str, Command] = {}
        self._lost: dict[str, Command] = {}
        """They have ended, but their guest may still tell how."""
        self._ended: dict[str, Ended] = {}
        """In the order of their ends."""
        self._recent: dict[str, Command] = {}
        self._batches: dict[str, list[str]] = {}

    def add(self, command: Command) -> None:
        """Take in one that has not ended."""
        self._running[command.cmd_id] = command
        if command.batch_id:
            self._batches.setdefault(command.batch_id, []).append(command.cmd_id)

    def add_found(self, command: Command) -> None:
        """Take in one that a daemon before this one has kept."""
        self.add(command)
        if command.has_ended:
            self._hold_little(command)

    def has_ended(self, command: Command) -> None:
        """Hold of one that has ended only what is needed, and the last ones for a while."""
        self._hold_little(command)
        if command.state is not CommandState.LOST:
            self._remember(command)

    def _hold_little(self, command: Command) -> None:
        self._running.pop(command.cmd_id, None)
        self._lost.pop(command.cmd_id, None)
        self._ended.pop(command.cmd_id, None)
        if command.state is CommandState.LOST:
            self._lost[command.cmd_id] = command
        self._ended[command.cmd_id] = Ended(
            guest=command.guest,
            ended_s=self._clock.seconds() - max(0.0, self._wall_s() - command.ended_at),
            batch_id=command.batch_id,
            file_bytes=command.file_bytes,
        )

    def _remember(self, command: Command) -> None:
        inline_bytes = sum(command.stored_bytes) - command.file_bytes
        if len(command.spec.stdin) + inline_bytes > SMALL_BYTES:
            return
        self._recent[command.cmd_id] = command
        if len(self._recent) > RECENT:
            del self._recent[next(iter(self._recent))]

    def remove(self, cmd_id: str) -> Ended | None:
        """Drop one; return what was known of it if it had ended."""
        self._recent.pop(cmd_id, None)
        running = self._running.pop(cmd_id, None)
        lost = self._lost.pop(cmd_id, None)
        ended = self._ended.pop(cmd_id, None)
        known = running or ended
        if known is not None and known.batch_id:
            batch = self._batches[known.batch_id]
            batch.remove(cmd_id)
            if not batch:
                del self._batches[known.batch_id]
        if ended is not None and lost is not None:  # its output may have gone on
            ended = replace(ended, file_bytes=lost.file_bytes)
        return ended

    def running(self) -> Sequence[Command]:
        """Return those that have not ended."""
        return list(self._running.values())

    def of_guest(self, guest: str) -> Sequence[Command]:
        """Return those of a guest that have not ended, and those that were lost."""
        return [
            command
            for command in (*self._running.values(), *self._lost.values())
            if command.guest == guest
        ]

    def oldest_ended(self) -> Iterator[tuple[str, Ended]]:
        """Go through those that have ended, the oldest end first; nothing may change meanwhile."""
        return iter(self._ended.items())

    def count_ended(self) -> int:
        """Return how many have ended."""
        return len(self._ended)

    def has(self, cmd_id: str) -> bool:
        """Tell whether it is known."""
        return cmd_id in self._running or cmd_id in self._ended

    def get(self, cmd_id: str) -> Command | None:
        """Return one that goes on, or was lost."""
        return self._running.get(cmd_id) or self._lost.get(cmd_id)

    def guest_of(self, cmd_id: str) -> GuestId | None:
        """Return whose it is; None for one that is not known."""
        command = self._running.get(cmd_id)
        if command is not None:
            return command.guest
        ended = self._ended.get(cmd_id)
        return None if ended is None else ended.guest

    def batch(self, batch_id: str) -> Sequence[str]:
        """Return the commands of a batch; raises NoSuchCommand."""
        if batch_id not in self._batches:
            raise NoSuchCommand(batch_id)
        return list(self._batches[batch_id])

    async def find(self, cmd_id: str) -> Command:
        """Return a command's record, from the disk if need be. Raises NoSuchCommand, NotStored."""
        command = self.get(cmd_id) or self._recent.get(cmd_id)
        if command is not None:
            return command
        if cmd_id in self._ended:
            kept = await self._store.read(lambda disk: list(rows.load(disk, "cmd_id = ?", cmd_id)))
            if kept and cmd_id in self._ended:
                return kept[0]
        raise NoSuchCommand(cmd_id)
