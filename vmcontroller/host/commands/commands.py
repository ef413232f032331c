"""Commands in guests, from the request to the forgotten result.

A request is on the disk before the guest hears of it, and the guest may forget a result when that
and its output are. What a guest says of a command counts only if it comes from the guest the
command was sent to. All of it is kept until it is forgotten, or its time to live has passed.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

from vmcontroller.common.config import CommandsConfig
from vmcontroller.common.errors import BadArgument, ConfigError, NotConnected, NotStored
from vmcontroller.common.model import CommandSpec, GuestId
from vmcontroller.common.words.commands import CmdRun, CmdStored
from vmcontroller.host.commands import rows
from vmcontroller.host.commands.asking import Asking
from vmcontroller.host.commands.endings import Endings
from vmcontroller.host.commands.feeding import Feeding
from vmcontroller.host.commands.hearing import Hearing
from vmcontroller.host.commands.host_file import note
from vmcontroller.host.commands.ledger import SpoolLedger
from vmcontroller.host.commands.outputs import Outputs
from vmcontroller.host.commands.record import Command, StdinState
from vmcontroller.host.commands.recovery import recover
from vmcontroller.host.commands.registry import Registry
from vmcontroller.host.commands.spool import Spool
from vmcontroller.host.commands.store import Store, damaged
from vmcontroller.host.commands.waiting import Waiting
from vmcontroller.host.commands.world import CommandWorld
from vmcontroller.host.guests import Guest
from vmcontroller.host.hypervisor.base import Vm

BEHIND_S: Final = 0.25
"""After so long a guest is asked again for output that came faster than the disk took it."""


class Commands:
    """All commands this daemon knows, by id."""

    def __init__(self, world: CommandWorld, *, state_dir: Path, config: CommandsConfig) -> None:
        """Its database is `state_dir`/commands.db, long output lies in `state_dir`/commands."""
        self.world = world
        self._config = config
        self._spool = Spool(state_dir / "commands")
        self._ledger = SpoolLedger(config.spool_limit_mib * 2**20)
        self.store = Store(
            state_dir / "commands.db", in_writer=world.in_writer, in_thread=world.in_thread
        )
        self.registry = Registry(self.store, clock=world.clock, wall_s=world.wall_s)
        self._outputs = Outputs(
            spool=self._spool,
            ledger=self._ledger,
            in_thread=world.in_thread,
            behind=self._is_behind,
        )
        self._endings = Endings(
            registry=self.registry,
            store=self.store,
            outputs=self._outputs,
            wall_s=world.wall_s,
            ended=self._has_ended,
            failed=lambda command: self._retry.add(command.guest),
        )
        self._ends = Waiting(world.clock)
        self._news = Waiting(world.clock)
        self.asking = Asking(world)
        self.feeding = Feeding(world, self.store)
        self.hearing = Hearing(
            world,
            asking=self.asking,
            feeding=self.feeding,
            registry=self.registry,
            store=self.store,
            outputs=self._outputs,
            endings=self._endings,
            news=self._news,
        )
        self._retry: set[GuestId] = set()
        """Guests that hold results which could not be stored."""

    # From the daemon.

    async def open(self) -> None:
        """Take up what was kept. Raises ConfigError when that can't be used."""
        await self.store.open(rows.SCHEMA, rows.VERSION)
        try:
            found = await self.store.read(partial(recover, spool=self._spool))
        except (NotStored, ValueError, TypeError, KeyError, sqlite3.Error) as error:
            await self.store.close()
            raise damaged(self.store.path, repr(error)) from error
        except OSError as error:
            await self.store.close()
            raise ConfigError("state_dir", str(self.store.path), str(error)) from error
        for command in sorted(found.commands, key=lambda each: each.ended_at):
            self.registry.add_found(command)
            self._ledger.found(command.guest, command.file_bytes)
        for command in found.hurt:
            self.store.write_later(rows.hurt(command), "output that is gone")

    async def stop(self) -> None:
        """Let every waiting caller go, and keep what there is."""
        self.hearing.stop()
        self.asking.stop()
        self._ends.end(NotConnected("the daemon stops; the command had not ended"))
        self._news.end(NotConnected("the daemon stops"))
        await self._endings.settled()
        for command in self.registry.running():
            await self._outputs.settle(command)
            self.store.write_later(rows.output_kept(command), "output at the daemon's end")
        await self.store.close()

    async def expire(self) -> None:
        """Forget what has passed its time to live, and the oldest where there are too many.

        Guests are asked again for results that could not be stored.
        """
        retry, self._retry = self._retry, set()
        for guest in retry:
            self._ask_again(guest)
        now_s = self.world.clock.seconds()
        surplus = self.registry.count_ended() - self._config.keep
        expired: list[str] = []
        for cmd_id, ended in self.registry.oldest_ended():
            if len(expired) >= surplus and now_s - ended.ended_s <= self._config.time_to_live:
                break
            expired.append(cmd_id)
        await self._drop(expired)

    # From callers.

    def new(self, vm: Vm, guest: Guest, spec: CommandSpec, stdin: StdinState | None) -> Command:
        """Return the record of a command that is to be sent."""
        return Command(
            cmd_id=str(uuid4()),
            vm_name=vm.name,
            vm_uuid=vm.uuid,
            guest=guest.id,
            session=guest.session,
            spec=spec,
            stdin=stdin,
            created_at=self.world.wall_s(),
        )

    async def run(
        self, vm: Vm, guest: Guest, spec: CommandSpec, stdin: StdinState | None = None
    ) -> str:
        """Send a command to a guest that is there; return its id when the request is kept.

        `stdin` is of a command whose `spec` says that it is open. Raises NotConnected and
        NotStored, and then nothing of the command remains.
        """
        command = self.new(vm, guest, spec, stdin)
        await self.begin([command], self._say_run)
        return command.cmd_id

    def _say_run(self, commands: Sequence[Command]) -> None:
        for command in commands:
            self.world.say(command.guest, CmdRun(cmd_id=command.cmd_id, spec=command.spec))

    async def begin(
        self, commands: Sequence[Command], say: Callable[[Sequence[Command]], None]
    ) -> None:
        """Keep new commands, then let `say` say them. Raises as `run`."""
        for command in commands:
            self.registry.add(command)
        try:
            await self.store.write(rows.inserted(commands))
            say([command for command in commands if not command.doomed])
        except (NotConnected, NotStored) as error:
            for command in commands:
                self.registry.remove(command.cmd_id)
            if isinstance(error, NotConnected):
                cmd_ids = [command.cmd_id for command in commands]
                self.store.write_later(rows.dropped(cmd_ids), "commands that were not sent")
            raise
        for command in commands:
            command.said = True
            if command.doomed:
                self._endings.lose(command, command.doomed)

    async def stdin_from(self, path: str, roles: tuple[str, ...] = ()) -> StdinState:
        """Return the state of a stdin that is a file of the host, as that is now.

        `roles` are the caller's: they say which directories may be read, now and later.
        Raises AccessDenied, and TransferFailed with a published word.
        """
        file = await self.world.in_thread(note, self.world.open_file, path, roles)
        return StdinState(host_file=file, given_bytes=file.size_bytes, end=True)

    @property
    def output_limit_bytes(self) -> int:
        """What is kept of each stream of a command that says nothing else."""
        return self._config.output_limit

    def age_s(self, then_s: float) -> float:
        """Return how long ago something was that was noted by the daemon's clock."""
        return self.world.clock.seconds() - then_s

    async def find(self, cmd_id: str) -> Command:
        """Return a command's record; raises NoSuchCommand, NotStored."""
        return await self.registry.find(cmd_id)

    async def ended(self) -> Sequence[Command]:
        """Return the commands that have ended, one way or another, and are not forgotten.

        Of their output they have only the sizes.
        """
        kept = await self.store.read(lambda disk: list(rows.load_ended(disk)))
        return [command for command in kept if self.registry.has(command.cmd_id)]

    async def wait(self, cmd_id: str, timeout_s: float) -> Command:
        """Return the record as soon as the command has ended, or when the time has passed."""
        command = await self.registry.find(cmd_id)
        if not command.has_ended:
            await self._ends.until_woken(cmd_id, timeout_s)
        return command

    async def output(
        self, cmd_id: str, stream: str, offset: int, length_bytes: int, timeout_s: float = 0
    ) -> bytes:
        """Return the bytes of a stream that have come.

        If there are none at `offset` yet, wait for them until the time has passed or it is
        certain that none will come.
        """
        command = await self.registry.find(cmd_id)
        until_s = self.world.clock.seconds() + timeout_s
        while command.expects_more(stream, offset):
            left_s = until_s - self.world.clock.seconds()
            if left_s <= 0:
                break
            await self._news.until_woken(cmd_id, left_s)
        return await self.read(command, stream, offset, length_bytes)

    async def read(self, command: Command, stream: str, offset: int, length_bytes: int) -> bytes:
        """Return the bytes of a stream that have come; raises NotStored if they can't be read."""
        try:
            return await self._outputs.read(command, stream, offset, length_bytes)
        except OSError as error:
            raise NotStored(str(error)) from error

    async def forget(self, cmd_id: str) -> None:
        """Drop an ended command and its output; BadArgument while it runs."""
        command = await self.registry.find(cmd_id)
        if not command.has_ended:
            raise BadArgument("cmdId", f"{cmd_id} has not ended; only ended commands are forgotten")
        await self._drop([cmd_id])

    async def _drop(self, cmd_ids: Sequence[str]) -> None:
        """Forget ended commands: first on the disk, so that a row never lacks its file."""
        if not cmd_ids:
            return
        await self.store.write(rows.dropped(cmd_ids))
        with_files = []
        for cmd_id in cmd_ids:
            ended = self.registry.remove(cmd_id)
            if ended is not None and ended.file_bytes:
                self._ledger.released(ended.guest, ended.file_bytes)
                with_files.append(cmd_id)
        await self._outputs.forgotten(with_files)

    def _has_ended(self, command: Command) -> None:
        self.asking.has_ended(command)
        self.feeding.has_ended(command)
        self._ends.wake(command.cmd_id)
        self._news.wake(command.cmd_id)
        self.world.ended(command)
        if command.told:
            with contextlib.suppress(NotConnected):  # then when the result is said again
                self.world.say(command.guest, CmdStored(cmd_id=command.cmd_id))

    def _is_behind(self, command: Command) -> None:
        """Let the guest begin anew from what is stored, a little later: the disk is slow now."""
        self.world.clock.callLater(BEHIND_S, self._ask_again, command.guest)

    def _ask_again(self, guest: GuestId) -> None:
        with contextlib.suppress(NotConnected):  # then it says HELLO when it is there again
            self.world.ask_for_hello(guest)
