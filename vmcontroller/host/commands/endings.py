"""Commands end when that is on the disk, not before: what is told once is never told otherwise."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from vmcontroller.common.background import in_background
from vmcontroller.common.errors import NotStored
from vmcontroller.common.model import CommandResult
from vmcontroller.host.commands import rows
from vmcontroller.host.commands.outputs import Outputs
from vmcontroller.host.commands.record import Command, CommandState, End
from vmcontroller.host.commands.registry import Registry
from vmcontroller.host.commands.store import Store


class Endings:
    """Stores how commands end, and their output before it."""

    _log = Logger()

    def __init__(
        self,
        *,
        registry: Registry,
        store: Store,
        outputs: Outputs,
        wall_s: Callable[[], float],
        ended: Callable[[Command], None],
        failed: Callable[[Command], None],
    ) -> None:
        """`ended` is called with each command whose end is stored, `failed` if it could not be."""
        self._registry = registry
        self._store = store
        self._outputs = outputs
        self._wall_s = wall_s
        self._ended = ended
        self._failed = failed
        self._storing: set[Deferred[None]] = set()
        self._complained = False

    def with_result(self, command: Command, result: CommandResult) -> None:
        """Store the end that a guest tells; what comes while another is stored waits for that."""
        command.told = True
        if command.ending:
            command.late = result
        else:
            self._begin(command, lambda: command.end_of(result, self._wall_s()))

    def lose(self, command: Command, reason: str) -> None:
        """Store that its end will not be known; once, and not if its end is being stored."""
        if command.ending or command.has_ended:
            return
        if not command.said:
            command.doomed = reason  # its row is being written
            return
        self._log.warn(
            "command {cmd_id} in {vm} has no result: {reason}",
            cmd_id=command.cmd_id,
            vm=command.vm_name,
            reason=reason,
        )
        at = self._wall_s()
        self._begin(command, lambda: End(state=CommandState.LOST, ended_at=at, error=reason))

    async def settled(self) -> None:
        """Return when nothing is being stored."""
        await DeferredList([_after(storing) for storing in self._storing])

    def _begin(self, command: Command, make: Callable[[], End]) -> None:
        command.ending = True
        storing = in_background(self._store_end(command, make), "storing the end of a command")
        if not storing.called:
            self._storing.add(storing)
            _ = storing.addBoth(lambda _: self._storing.discard(storing))

    async def _store_end(self, command: Command, make: Callable[[], End]) -> None:
        try:
            await self._outputs.settle(command)
            end = make()
            await self._store.write(rows.ended(command, end))
        except NotStored as error:
            command.ending = False
            self._complain(command, error)
            self._failed(command)
            return
        except BaseException:
            command.ending = False
            raise
        self._complained = False
        command.ended(end)
        self._registry.has_ended(command)
        self._ended(command)
        late, command.late = command.late, None
        if late is not None and command.state is CommandState.LOST and not late.lost:
            self.with_result(command, late)

    def _complain(self, command: Command, error: NotStored) -> None:
        """Say it once: it is tried again every few seconds."""
        if not self._complained:
            self._complained = True
            self._log.error(
                "the end of command {cmd_id} in {vm} can't be stored, and is tried again: {error}",
                cmd_id=command.cmd_id,
                vm=command.vm_name,
                error=str(error),
            )


def _after(storing: Deferred[None]) -> Deferred[None]:
    done: Deferred[None] = Deferred()
    _ = storing.addBoth(lambda _: done.callback(None))
    return done
