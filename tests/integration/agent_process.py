"""The agent as a real process at a real broker, and a host's ear in that."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import yaml
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from tests.fakes.logins import credulous_rights
from vmcontroller.common import process
from vmcontroller.common.destinations import CONNECTIONS, RESPONSES, requests_of
from vmcontroller.common.model import guest_id
from vmcontroller.common.process import Child, Exit
from vmcontroller.common.spawning import Launch
from vmcontroller.common.stomp.client import Message
from vmcontroller.common.words import Utterance, Word, hear
from vmcontroller.common.words.commands import CmdResult
from vmcontroller.common.words.presence import Descriptor, Hello
from vmcontroller.host.broker.own_client import OwnClient
from vmcontroller.host.broker.service import BrokerService

ID = guest_id("52:54:00:0A:0B:0C")
REPOSITORY = Path(__file__).parents[2]


class Host:
    """A broker and a host's ear in it, which answers nothing by itself."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self._waiting: list[tuple[type, Deferred]] = []
        self._connected: Deferred[None] = Deferred()
        self.broker = BrokerService(reactor=reactor, rights=credulous_rights())
        self.client = OwnClient(
            broker=self.broker.factory,
            clock=reactor,
            subscriptions=(CONNECTIONS, RESPONSES),
            on_message=self._message,
            on_connected=lambda: self._connected.callback(None),
            on_lost=lambda reason: None,
        )

    async def start(self, port: int = 0) -> int:
        """Listen, and return the real port."""
        self.broker.startService()
        self.client.startService()
        await self._connected
        assert await self.broker.listen(["127.0.0.1"], port) == {}
        return self.broker.listening()["127.0.0.1"]

    async def stop(self) -> None:
        """End everybody's connection."""
        await self.client.stopService()
        await self.broker.stopService()

    def say(self, word: Word) -> None:
        """Say a word to the guest."""
        said = word.how_to_say()
        self.client.send(requests_of(ID), said.body, said.headers)

    def greet(self, **commands: tuple[int, int]) -> None:
        """Answer a HELLO."""
        self.say(Hello(descriptor=Descriptor(id="host"), session="h", commands=commands))

    async def hear(self, kind: type[Word]) -> Word:
        """Return the next word of this kind that has not been returned yet."""
        for index, word in enumerate(self.words):
            if isinstance(word, kind):
                return self.words.pop(index)
        heard: Deferred[Word] = Deferred()
        self._waiting.append((kind, heard))
        return await heard

    def _message(self, message: Message) -> None:
        assert message.headers["from"] == ID
        word = hear(Utterance(headers=message.headers, body=message.body))
        for index, (kind, heard) in enumerate(self._waiting):
            if isinstance(word, kind):
                del self._waiting[index]
                heard.callback(word)
                return
        self.words.append(word)


class AgentProcess(TestCase):
    """One agent, started anew for each test."""

    timeout = 60

    async def setUp(self) -> None:
        self.host = Host()
        self.port = await self.host.start()
        self.home = self.make_home()
        self.log = self.home / "log"
        self.agent, self.ended = self.start_agent()
        self.addCleanup(self.clean_up)

    def make_home(self) -> Path:
        """Return an empty folder."""
        home = Path(self.mktemp()).resolve()
        home.mkdir()
        return home

    async def clean_up(self) -> None:
        if not self.ended.called:
            os.kill(self.agent.pid, signal.SIGKILL)
            await self.ended
        await self.host.stop()

    def start_agent(self) -> tuple[Child, Deferred[Exit]]:
        config = {
            "broker": {"host": "127.0.0.1", "port": self.port},
            "vm": {"id": ID, "beacon_interval": 0.5},
            "state_dir": str(self.home / "state"),
        }
        (self.home / "guest.yaml").write_text(yaml.safe_dump(config))
        argv = [sys.executable, "-m", "vmcontroller.guest.main", "-c", f"{self.home}/guest.yaml"]
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
        ended: Deferred[Exit] = Deferred()
        with self.log.open("ab") as log:
            launch = Launch(argv=argv, env=env, stdout=log.fileno(), stderr=log.fileno())
            return process.start(reactor, launch, ended.callback), ended

    async def met(self) -> Hello:
        """Return the agent's HELLO, answered."""
        hello = await self.host.hear(Hello)
        assert isinstance(hello, Hello)
        self.host.greet()
        return hello

    async def result_of(self, cmd_id: str) -> CmdResult:
        while True:
            word = await self.host.hear(CmdResult)
            assert isinstance(word, CmdResult)
            if word.result.cmd_id == cmd_id:
                return word
