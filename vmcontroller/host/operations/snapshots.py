"""Use cases of what a VM was: snapshots, saved states, sleep."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredList, FirstError

from vmcontroller.common.background import in_background
from vmcontroller.common.errors import (
    DeadlinePassed,
    GuestUnreachable,
    InvalidState,
    NoSuchSnapshot,
    Unsupported,
    VMControllerError,
)
from vmcontroller.common.model import CommandSpec
from vmcontroller.host.commands.abilities import must_know
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.commands.record import Command
from vmcontroller.host.directory import Directory
from vmcontroller.host.events.events import Events
from vmcontroller.host.events.log import Kind
from vmcontroller.host.guests import Guest
from vmcontroller.host.hypervisor.base import Capability, Hypervisor, Vm
from vmcontroller.host.hypervisor.snapshots import Node, current, depth_first, tree
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.reach import Reach

SLEEPS_WITHIN_S: Final = 60.0
"""A guest that does not stand still by then did not go to sleep."""
LOOK_AGAIN_S: Final = 3600.0
SAID_BYTES: Final = 200
"""Of what a guest says of its sleep; the rest is its own affair."""
DEPTH_MAX: Final = 100
"""Levels of a tree on the wire: what reads XML-RPC does it by recursion. Deeper snapshots stand
beside each other on the last level."""

SLEEP: Final = """\
cannot() { echo "$1"; exit 3; }
[ -w /sys/power/state ] || cannot 'its agent may not write to /sys/power/state'
grep -qw mem /sys/power/state || cannot 'its kernel has no suspend to memory (S3)'
if [ -e /sys/power/mem_sleep ]; then
    grep -qw deep /sys/power/mem_sleep || cannot 'its machine has no suspend to memory (S3)'
    echo deep >/sys/power/mem_sleep || cannot 'its kernel refuses suspend to memory (S3)'
fi
echo mem >/sys/power/state || cannot 'its kernel could not suspend'
"""
"""What the agent runs: the guest's kernel suspends to memory as a laptop's does. Never to what
Linux calls s2idle: the hypervisor could not see that, nor wake it."""


class SnapshotOperations:
    """Snapshots, saved states and sleep. The other use cases bring all that these need."""

    _hypervisor: Hypervisor
    _directory: Directory
    _reach: Reach
    _commands: Commands
    _event_log: Events

    async def take_snapshot(self, vm: str, name: str, description: str) -> bool:
        """Keep what a VM is; answer when it is kept."""
        found = await self._directory.find(vm)
        await self._hypervisor.take_snapshot(found.uuid, name, description)
        self._event_log.note(Kind.SNAPSHOT_TAKEN, found.name, found.uuid, name=name)
        return True

    async def restore_snapshot(self, vm: str, name: str) -> bool:
        """Go back to a snapshot, or to the current one; answer when that is done."""
        found = await self._directory.find(vm)
        if not name:
            newest = current(await self._hypervisor.list_snapshots(found.uuid))
            if newest is None:
                raise NoSuchSnapshot(found.name, name)
            name = newest.name
        await self._hypervisor.restore_snapshot(found.uuid, name)
        self._event_log.note(Kind.SNAPSHOT_RESTORED, found.name, found.uuid, name=name)
        return True

    async def delete_snapshot(self, vm: str, name: str) -> bool:
        """Drop a snapshot; those that stand on it stay."""
        found = await self._directory.find(vm)
        await self._hypervisor.delete_snapshot(found.uuid, name)
        return True

    async def list_snapshots(self, vm: str) -> Sequence[str]:
        """Answer the names, each before those that stand on it."""
        return [snapshot.name for snapshot in depth_first(await self._tree(vm))]

    async def get_snapshots(self, vm: str) -> Sequence[Mapping[str, Any]]:
        """Answer the roots of the tree, each with all that stands on it."""
        return _answers(await self._tree(vm))

    async def _tree(self, vm: str) -> Sequence[Node]:
        found = await self._directory.find(vm)
        return tree(await self._hypervisor.list_snapshots(found.uuid))

    async def save_state(self, vm: str) -> bool:
        """Save a VM's memory and switch it off; answer when that is done."""
        found = await self._directory.find(vm)
        await self._hypervisor.save(found.uuid)
        return True

    async def discard_state(self, vm: str) -> bool:
        """Drop a VM's saved memory."""
        found = await self._directory.find(vm)
        await self._hypervisor.discard(found.uuid)
        return True

    async def sleep(self, vm: str) -> bool:
        """Put the guest to sleep, by its agent where that is there; answer when it sleeps.

        Raises Unsupported where the hypervisor or this guest can't.
        """
        found = await self._directory.find(vm, fresh=True)
        agent = None
        if Capability.SLEEP in self._hypervisor.capabilities:
            if found.state is not VmState.RUNNING:
                raise InvalidState(found.name, found.state, "sleep", VmState.RUNNING)
            with contextlib.suppress(VMControllerError):
                agent = self._reach.agent_of(found)
        if agent is None:
            await self._hypervisor.sleep(found.uuid)
            _ = await self._until_asleep(found)
        else:
            await self._ask_to_sleep(found, agent)
        return True

    async def _until_asleep(self, vm: Vm) -> Command | None:
        await self._directory.until(
            vm, lambda state: state is VmState.PAUSED, SLEEPS_WITHIN_S, "fall asleep"
        )
        return None  # as good as the command's own end

    async def _ask_to_sleep(self, vm: Vm, agent: Guest) -> None:
        spec = CommandSpec(cmd="/bin/sh", args=("-c", SLEEP))
        must_know(agent, vm.name, spec)
        cmd_id = await self._commands.run(vm, agent, spec)
        asleep: Deferred[Command | None] = Deferred.fromCoroutine(self._until_asleep(vm))
        ended: Deferred[Command | None] = Deferred.fromCoroutine(self._end_of(cmd_id))
        first = DeferredList(
            [asleep, ended], fireOnOneCallback=True, fireOnOneErrback=True, consumeErrors=True
        )
        try:
            command, _ = await first
        except FirstError as error:
            error.subFailure.raiseException()
            raise
        finally:
            asleep.cancel()
            ended.cancel()
            _ = in_background(self._forget(cmd_id), "forgetting how a guest was put to sleep")
        if command is not None:
            _check_slept(vm, command)

    async def _end_of(self, cmd_id: str) -> Command | None:
        return await self._commands.wait(cmd_id, 2 * SLEEPS_WITHIN_S)

    async def _forget(self, cmd_id: str) -> None:
        """Forget the command as soon as it has ended, which it does when the guest is awake."""
        with contextlib.suppress(VMControllerError):
            while not (await self._commands.wait(cmd_id, LOOK_AGAIN_S)).has_ended:
                pass
            await self._commands.forget(cmd_id)


def _check_slept(vm: Vm, command: Command) -> None:
    """Raise what is true of a command that ended: awake again already, it has done its work."""
    if not command.has_ended:
        raise DeadlinePassed(f"{vm.name!r} did not fall asleep", SLEEPS_WITHIN_S)
    if command.result is None:
        raise GuestUnreachable(vm.name, command.error)
    if command.result.exit_code_or_signal:
        said = bytes(command.streams["stdout"].inline or b"")[:SAID_BYTES].decode(
            "utf-8", "replace"
        )
        said = "".join(char if char.isprintable() else " " for char in said).strip()
        raise Unsupported(
            f"the guest of {vm.name!r}", f"sleep: {said or command.error or 'it could not'}"
        )


def _answers(roots: Sequence[Node]) -> Sequence[Mapping[str, Any]]:
    """Return the tree as it is answered, without recursion."""
    answers: list[dict[str, Any]] = []
    waiting = [(node, answers, 1) for node in reversed(roots)]
    while waiting:
        node, siblings, depth = waiting.pop()
        snapshot = node.snapshot
        answer: dict[str, Any] = {
            "name": snapshot.name,
            "description": snapshot.description,
            "created": snapshot.created_s,
            "state": snapshot.state.value,
            "parent": snapshot.parent,
            "current": snapshot.is_current,
            "children": [],
        }
        siblings.append(answer)
        below = siblings if depth >= DEPTH_MAX else answer["children"]
        waiting += [
            (child, below, depth + (depth < DEPTH_MAX)) for child in reversed(node.children)
        ]
    return answers
