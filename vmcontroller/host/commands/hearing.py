"""What guests say of commands, and what becomes of those."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from vmcontroller.common.model import GuestId
from vmcontroller.common.words.commands import CmdOutput, CmdResult, CmdRun, CmdStarted, CmdStored
from vmcontroller.common.words.running import CmdSignalled, CmdStdinRoom, CmdUsage
from vmcontroller.host.commands import rows
from vmcontroller.host.commands.asking import Asking
from vmcontroller.host.commands.endings import Endings
from vmcontroller.host.commands.feeding import Feeding
from vmcontroller.host.commands.outputs import Outputs
from vmcontroller.host.commands.record import LOST, Command, CommandState
from vmcontroller.host.commands.registry import Registry
from vmcontroller.host.commands.store import Store
from vmcontroller.host.commands.waiting import Waiting
from vmcontroller.host.commands.world import CommandWorld


class Hearing:
    """Takes in what guests say; what one says counts only for the commands it was sent."""

    def __init__(
        self,
        world: CommandWorld,
        *,
        registry: Registry,
        store: Store,
        outputs: Outputs,
        endings: Endings,
        asking: Asking,
        feeding: Feeding,
        news: Waiting,
    ) -> None:
        """`news` is woken when output has come."""
        self._world = world
        self._registry = registry
        self._store = store
        self._outputs = outputs
        self._endings = endings
        self._asking = asking
        self._feeding = feeding
        self._news = news
        self._stopped = False

    def stop(self) -> None:
        """Hear no more."""
        self._stopped = True

    def heard_started(self, word: CmdStarted, sender: str) -> None:
        """Note that the guest has taken the command."""
        command = self.of(word.cmd_id, sender)
        if command is not None:
            self._started(command, word.pid)

    def _started(self, command: Command, pid: int = 0) -> None:
        if command.started(pid, self._world.wall_s()):
            self._store.write_later(rows.started(command), "the start of a command")

    def heard_output(self, word: CmdOutput, sender: str) -> None:
        """Keep a stretch of output; one that was kept already, or leaves a gap, is dropped."""
        command = self.of(word.cmd_id, sender)
        if command is None or command.ending:
            return
        if self._outputs.take(command, word.stream, word.offset, word.data):
            self._started(command)
            self._news.wake(command.cmd_id)

    def heard_result(self, word: CmdResult, sender: str) -> None:
        """Store a result whose output is whole, and then let the guest forget it.

        A result for which output is missing is left unacknowledged, and what is missing is asked
        for, as long as some of it comes: a HELLO out of turn lets the guest begin anew from what
        is stored. One for a command that nobody waits for is acknowledged, so that the guest can
        forget it.
        """
        cmd_id = word.result.cmd_id
        command = self.of(cmd_id, sender)
        if command is None:
            if self._registry.guest_of(cmd_id) in {None, sender} and not self._stopped:
                self._world.say(GuestId(sender), CmdStored(cmd_id=cmd_id))
        elif command.state is CommandState.LOST and word.result.lost:
            self._world.say(GuestId(sender), CmdStored(cmd_id=cmd_id))
        elif command.has_all_of(word.result):
            self._endings.with_result(command, word.result)
        elif sum(command.stored_bytes) > command.missing_at_bytes:
            command.missing_at_bytes = sum(command.stored_bytes)
            self._world.ask_for_hello(command.guest)

    def heard_room(self, word: CmdStdinRoom, sender: str) -> None:
        """Note how far the guest has come with a command's stdin, and send more of it."""
        command = self.of(word.cmd_id, sender)
        if command is not None:
            self._feeding.heard_room(command, word)

    def heard_signalled(self, word: CmdSignalled, sender: str) -> None:
        """Tell whoever sent that signal."""
        command = self.of(word.cmd_id, sender)
        if command is not None:
            self._asking.heard_signalled(command, word)

    def heard_usage(self, word: CmdUsage, sender: str) -> None:
        """Tell whoever asked."""
        command = self.of(word.cmd_id, sender)
        if command is not None:
            self._asking.heard_usage(command, word)

    def reconcile(
        self, guest: GuestId, held: Collection[str], session: str
    ) -> Mapping[str, tuple[int, int]]:
        """Bring what the host waits for and what a guest holds together, at its HELLO.

        Returns, for each command that both know, how many bytes of stdout and of stderr are
        stored; such a command runs. What the guest does not hold is sent again if it never
        started and the agent is still the one it was sent to (which runs an id at most once);
        otherwise it is lost. What was lost and is held after all, may still come to its true end.
        """
        offsets: dict[str, tuple[int, int]] = {}
        for command in self._registry.of_guest(guest):
            if not command.said:
                command.session = session  # it will be said to this one
            elif command.cmd_id in held:
                self._started(command)  # it said so when nobody heard it
                self._feeding.said_hello(command)
                offsets[command.cmd_id] = command.stored_bytes
            elif command.has_ended or command.ending:
                continue
            elif command.session == session and command.state is CommandState.SENT:
                self._world.say(guest, CmdRun(cmd_id=command.cmd_id, spec=command.spec))
            else:
                self._endings.lose(
                    command, f"{LOST}: the agent does not know it any more: it was restarted"
                )
        return offsets

    def vm_stopped(self, vm_uuid: str, why: str) -> None:
        """End every command of a VM that no longer runs, or was reset."""
        for command in self._registry.running():
            if command.vm_uuid == vm_uuid:
                self._endings.lose(command, f"{LOST}: {why}")

    def guest_lost(self, guest: GuestId, why: str) -> None:
        """End every command of a guest that will not be waited for any longer."""
        for command in self._registry.of_guest(guest):
            self._endings.lose(command, f"{LOST}: {why}")

    def refused(self, guest: GuestId, about: str, detail: str) -> None:
        """End a command, or one of a batch, that the agent did not understand; only its own."""
        for command in self._registry.of_guest(guest):
            if about and about in {command.cmd_id, command.batch_id}:
                self._endings.lose(command, f"REFUSED: {detail:.200}")

    def of(self, cmd_id: str, sender: str) -> Command | None:
        """Return a command that goes on, or was lost, if it is this guest's."""
        command = None if self._stopped else self._registry.get(cmd_id)
        return command if command is not None and command.guest == sender else None
