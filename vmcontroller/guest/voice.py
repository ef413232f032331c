"""Saying words to the host: the agent's end of a STOMP session, for whoever has a word to say."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from vmcontroller.common.destinations import CONNECTIONS, RESPONSES
from vmcontroller.common.words import Word
from vmcontroller.common.words.presence import Bye, Hello, StillAlive


class Link(Protocol):
    """What the agent needs of its STOMP client."""

    def send(self, destination: str, body: bytes, headers: Mapping[str, str]) -> None:
        """Send a message; raises NotConnected."""
        ...

    async def writable(self) -> None:
        """Return when the connection takes more; raises NotConnected."""
        ...


class Voice:
    """Says words as this guest, each at its destination."""

    def __init__(self, *, link: Link, time: Callable[[], float]) -> None:
        """`time` gives the seconds of the `timestamp` header, for people who read along.

        `own_id` is who this guest is on the present connection.
        """
        self.own_id = ""
        self._link = link
        self._time = time

    def say(self, word: Word) -> None:
        """Say a word to the host; raises NotConnected without a session."""
        said = word.how_to_say()
        about_presence = isinstance(word, Hello | Bye | StillAlive)
        self._link.send(
            CONNECTIONS if about_presence else RESPONSES,
            said.body,
            {**said.headers, "from": self.own_id, "timestamp": str(int(self._time()))},
        )

    async def writable(self) -> None:
        """Return when the connection takes more; raises NotConnected."""
        await self._link.writable()
