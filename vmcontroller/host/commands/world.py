"""What commands need of the daemon around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.interfaces import IReactorTime

from vmcontroller.common.copying.course import InThread
from vmcontroller.common.copying.source import Place
from vmcontroller.common.model import GuestId
from vmcontroller.common.words.ears import Word
from vmcontroller.host.commands.record import Command
from vmcontroller.host.guests import Guest


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandWorld:
    """Time, threads, and the way to guests."""

    clock: IReactorTime
    wall_s: Callable[[], float]
    """The time of day, in seconds since 1970."""
    say: Callable[[GuestId, Word], None]
    """Says a word to a guest; raises NotConnected without a broker."""
    say_to_all: Callable[[Word], None]
    """The same to all guests at once."""
    ask_for_hello: Callable[[GuestId], None]
    there: Callable[[GuestId], Guest | None]
    """Returns the agent of a guest that is connected."""
    open_file: Callable[[str, tuple[str, ...]], Place]
    """Finds a file of the host that callers with these roles may read; raises AccessDenied,
    TransferFailed."""
    in_thread: InThread
    """Runs what blocks."""
    in_writer: InThread
    """The same, one thing at a time and with no other work before it."""
    ended: Callable[[Command], None] = lambda _: None
    """Gets each command whose end is stored."""
