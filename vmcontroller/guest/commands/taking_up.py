"""What an agent finds of its earlier run: results that wait, and commands that it left running."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmcontroller.common.model import CommandResult
from vmcontroller.common.process import RESOURCES
from vmcontroller.common.words.commands import STREAMS
from vmcontroller.guest.commands import census
from vmcontroller.guest.commands.courier import Parcel
from vmcontroller.guest.commands.journal import Entry
from vmcontroller.guest.commands.processes import Stat, descendants
from vmcontroller.guest.commands.spool import Room, StreamSpool, folder_name
from vmcontroller.guest.commands.tree import kill_all

_log = Logger()


def parcels_of(
    entries: Collection[Entry], folder: Path, room: Room, *, rebooted: bool
) -> list[tuple[Entry, Parcel]]:
    """Return what is to be told of them; those that ran are lost."""
    return [(entry, _parcel(entry, folder, room, rebooted=rebooted)) for entry in entries]


def _parcel(entry: Entry, folder: Path, room: Room, *, rebooted: bool) -> Parcel:
    place = f"{folder}/{folder_name(entry.cmd_id)}"
    spools = {name: StreamSpool(place, name, 0, room) for name in STREAMS}
    result = entry.result
    spools["stdout"].take_up(result.stdout_bytes if result is not None else None)
    spools["stderr"].take_up(result.stderr_bytes if result is not None else None)
    if result is None:
        result = lost(entry.cmd_id, rebooted=rebooted)
    return Parcel(cmd_id=entry.cmd_id, spools=spools, wanted=False, result=result)


def lost(cmd_id: str, *, rebooted: bool) -> CommandResult:
    """Return the result of a command of which nobody saw the end."""
    if rebooted:
        error = "GUEST_RESTARTED: the guest was restarted while it ran"
    else:
        error = "AGENT_RESTARTED: the agent was killed while it ran; what was left was killed, too"
    return CommandResult(
        cmd_id=cmd_id,
        finished=False,
        exit_code_or_signal=0,
        resources=dict.fromkeys(RESOURCES, 0),
        stdout_bytes=0,
        stderr_bytes=0,
        lost=True,
        error=error,
    )


def kill_leftovers(clock: IReactorTime, entries: Collection[Entry]) -> int:
    """Kill what is left of commands whose agent was killed, in this boot; return how many."""
    running = {folder_name(entry.cmd_id): entry for entry in entries if entry.result is None}
    if not running:
        return 0
    count = kill_all(clock, lambda: leftovers(census.everybody(), running))
    _log.info("{count} processes of commands were left by a killed agent", count=count)
    return count


def leftovers(stats: Mapping[int, Stat], running: Mapping[str, Entry]) -> dict[int, Stat]:
    """Return the trees of these commands, by mark; never this process or what is above it."""
    roots = [
        stat.pid for found in census.marked(stats.values(), running).values() for stat in found
    ]
    for entry in running.values():
        leader = stats.get(entry.pid)
        if leader is not None and leader.started_ticks == entry.started_ticks:
            roots += [stat.pid for stat in stats.values() if stat.session == entry.pid]
    found = {pid: stats[pid] for pid in descendants(stats, roots)}
    own = os.getpid()
    while own in stats:
        found.pop(own, None)
        own = stats[own].parent
    return found
