"""The host's end of the words as the daemon wires it, on a clock and a directory of the test's."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.defer import succeed
from twisted.internet.task import Clock

from vmcontroller.host.commands.commands import Commands
from vmcontroller.host.conversation import Conversation
from vmcontroller.host.transfers.ledger import Ledger
from vmcontroller.host.transfers.roots import AllowedRoots
from vmcontroller.host.transfers.transfers import Transfers
from vmcontroller.host.transfers.world import World


async def at_once(function, *arguments):
    """Do at once what the daemon does in a thread."""
    return function(*arguments)


def conversation_of(clock: Clock, send, home: str) -> Conversation:
    """Return a conversation with its commands and transfers; their files go below `home`."""
    Path(home).mkdir()
    conversation = Conversation(clock=clock, send=send, gc_grace_s=30)
    conversation.commands = Commands(
        clock=clock,
        say=conversation.say,
        ask_for_hello=conversation.ask_for_hello,
        spool_dir=home,
    )
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
