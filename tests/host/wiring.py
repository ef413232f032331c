"""The host's end of the words as the daemon wires it, on a clock and a directory of the test's."""

from __future__ import annotations

import subprocess
from pathlib import Path

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from vmcontroller.common.config import CommandsConfig, VmsConfig
from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.commands.world import CommandWorld
from vmcontroller.host.conversation import Conversation
from vmcontroller.host.creation.creation import Creation
from vmcontroller.host.creation.programs import Ended
from vmcontroller.host.hypervisor.base import Hypervisor
from vmcontroller.host.transfers.ledger import Ledger
from vmcontroller.host.transfers.roots import AllowedRoots
from vmcontroller.host.transfers.transfers import Transfers
from vmcontroller.host.transfers.world import World


async def at_once(function, *arguments):
    """Do at once what the daemon does in a thread."""
    return function(*arguments)


async def run_program(argv, deadline_s):
    """Run at once what the daemon runs beside its other work."""
    ended = subprocess.run(  # noqa: ASYNC221 - a test waits for nothing else
        argv, capture_output=True, timeout=deadline_s, check=False, text=True
    )
    return Ended(succeeded=ended.returncode == 0, said=ended.stderr.strip())


def creation_of(hypervisor: Hypervisor, home: str, **defaults) -> Creation:
    """Return what makes VMs; their files go below `home`, `defaults` are the section `vms`."""
    Path(home).mkdir()
    return Creation(
        hypervisor=hypervisor,
        in_thread=at_once,
        run_program=run_program,
        directory=Path(home).resolve(),
        defaults=VmsConfig(**defaults),
    )


def conversation_of(clock: Clock, send, home: str) -> Conversation:
    """Return a conversation with its commands and transfers; their files go below `home`."""
    Path(home).mkdir()
    conversation = Conversation(clock=clock, send=send, gc_grace_s=30)
    conversation.commands = commands_of(conversation, clock, home)
    conversation.transfers = Transfers(
        World(
            clock=clock,
            wall_s=clock.seconds,
            in_thread=at_once,
            say=conversation.say,
            writable=lambda _guest: succeed(None),
            bulk=None,
            ask_for_hello=conversation.ask_for_hello,
            roots=AllowedRoots([home]).of,
            ledger=Ledger(Path(home) / "transfers"),
            resume_grace_s=300.0,
        )
    )
    return conversation


def commands_of(conversation: Conversation, clock: Clock, home: str, **config) -> Commands:
    """Return commands that are open; `config` is their section of the configuration."""
    commands = Commands(
        CommandWorld(
            clock=clock,
            wall_s=lambda: 1_000_000.0 + clock.seconds(),
            say=conversation.say,
            say_to_all=conversation.say_to_all,
            ask_for_hello=conversation.ask_for_hello,
            there=conversation.guests.get,
            open_file=AllowedRoots([home]).readable,
            in_thread=at_once,
            in_writer=at_once,
        ),
        state_dir=Path(home),
        config=CommandsConfig(**config),
    )
    Path(home, "commands").mkdir(exist_ok=True)
    opened = Deferred.fromCoroutine(commands.open())
    assert opened.called, "everything is done at once"
    opened.addErrback(lambda failure: failure.raiseException())
    return commands
