"""A host to speak to, in memory: notes the words and can be slow, or away."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from twisted.internet.defer import Deferred

from vmcontroller.common.errors import NotConnected
from vmcontroller.common.words import Utterance, Word, hear


@dataclass(slots=True)
class Sent:
    """One STOMP message as the agent gave it to its client."""

    destination: str
    headers: Mapping[str, str]
    word: Word


@dataclass
class FakeLink:
    """What StompClient offers to the agent; words go through their wire form."""

    connected: bool = True
    sent: list[Sent] = field(default_factory=list)
    waiting: list[Deferred[None]] = field(default_factory=list)
    room: int | None = None
    """Messages until it has to be waited for; None is no limit."""

    def send(self, destination: str, body: bytes, headers: Mapping[str, str]) -> None:
        if not self.connected:
            raise NotConnected("away")
        word = hear(Utterance(headers=headers, body=body))
        self.sent.append(Sent(destination, headers, word))
        if self.room is not None:
            self.room -= 1

    async def writable(self) -> None:
        if not self.connected:
            raise NotConnected("away")
        if self.room is not None and self.room <= 0:
            waiting: Deferred[None] = Deferred()
            self.waiting.append(waiting)
            await waiting

    def say(self, word: Word) -> None:
        """Send a word without an agent's Voice."""
        said = word.how_to_say()
        self.send("", said.body, said.headers)

    def make_room(self, messages: int) -> None:
        """Let so many messages through."""
        self.room = messages
        waiting, self.waiting = self.waiting, []
        for deferred in waiting:
            deferred.callback(None)

    def lose(self) -> None:
        """Lose the connection."""
        self.connected = False
        waiting, self.waiting = self.waiting, []
        for deferred in waiting:
            deferred.errback(NotConnected("lost"))

    def words(self) -> list[Word]:
        """Return, and forget, the words said so far."""
        words = [sent.word for sent in self.sent]
        self.sent.clear()
        return words
