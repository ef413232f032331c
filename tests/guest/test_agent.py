"""The agent's manners: HELLO until answered, beacons, answers to words, goodbye."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from tests.guest.fakes import FakeLink
from vmcontroller.common.credentials import Credential
from vmcontroller.common.destinations import CONNECTIONS, RESPONSES
from vmcontroller.common.model import CommandSpec
from vmcontroller.common.stomp.client import Message
from vmcontroller.common.words import Word
from vmcontroller.common.words.commands import CmdResult, CmdRun
from vmcontroller.common.words.credentials import CredentialKept, NewCredential
from vmcontroller.common.words.presence import (
    CAPABILITIES,
    Aint,
    Bye,
    Descriptor,
    Hello,
    Ping,
    Pong,
    StillAlive,
)
from vmcontroller.guest.agent import HELLO_MOST_S, Agent
from vmcontroller.guest.commands.runner import Runner
from vmcontroller.guest.files import GuestFiles
from vmcontroller.guest.identity import About
from vmcontroller.guest.voice import Voice

ID = "52:54:00:00:00:01"
BEACON_S = 10.0


class AgentTests(SynchronousTestCase):
    """An agent with a host in memory."""

    def setUp(self) -> None:
        self.clock = MemoryReactorClock()
        self.link = FakeLink()
        voice = Voice(link=self.link, time=lambda: 1234.5)
        voice.own_id = ID
        self.kept: list[Credential] = []
        folder = Path(self.mktemp())
        folder.mkdir()
        self.runner = Runner(
            reactor=self.clock, say=voice.say, writable=voice.writable, folder=folder
        )
        self.files = GuestFiles(
            reactor=self.clock,
            say=voice.say,
            writable=voice.writable,
            in_thread=lambda work, *args: self.fail("no file is touched"),
        )
        self.agent = Agent(
            reactor=self.clock,
            voice=voice,
            runner=self.runner,
            files=self.files,
            about=About(
                descriptor=lambda: Descriptor(id=ID, hostname="guest"),
                session="this-start",
                version="1.2.3",
                boot_id="this-boot",
                load=lambda: 0.5,
                figures=lambda: {"cpu": 12.5},
            ),
            keep=self.keep,
            beacon_interval_s=BEACON_S,
        )

    def keep(self, credential: Credential) -> None:
        if credential.login == "no-room":
            raise OSError("no space left")
        self.kept.append(credential)

    def hear(self, word: Word) -> None:
        said = word.how_to_say()
        self.hear_raw(said.body, said.headers)

    def hear_raw(self, body: bytes, headers: Mapping[str, str]) -> None:
        self.agent.message(Message(destination="", headers=headers, body=body))

    def names(self) -> list[str]:
        return [word.NAME for word in self.link.words()]

    def answer(self, **commands: tuple[int, int]) -> None:
        self.hear(Hello(descriptor=Descriptor(id="host"), session="host-1", commands=commands))

    def greet(self) -> None:
        self.agent.connected()
        self.answer()
        self.link.words()

    def test_hello(self) -> None:
        """The first word says who is here, which start of the agent it is, and what it holds."""
        self.agent.connected()
        (sent,) = self.link.sent
        self.assertEqual(sent.destination, CONNECTIONS)
        self.assertEqual(sent.headers["from"], ID)
        self.assertEqual(sent.headers["timestamp"], "1234")
        self.assertEqual(
            sent.word,
            Hello(
                descriptor=Descriptor(id=ID, hostname="guest"),
                session="this-start",
                agent_version="1.2.3",
                capabilities=CAPABILITIES,
                boot_id="this-boot",
                epoch=1,
            ),
        )

    def test_epoch(self) -> None:
        """Each connection of this start of the agent has a number of its own."""
        for expected in (1, 2, 3):
            self.agent.connected()
            self.assertEqual([word.epoch for word in self.link.words()], [expected])
            self.agent.lost("cut")

    def test_a_new_credential(self) -> None:
        """It is kept before the host is told so; where it can't be kept nothing is said."""
        self.greet()
        self.hear(NewCredential(login="u", passcode="7-abc"))
        self.assertEqual(self.kept, [Credential(login="u", passcode="7-abc")])
        self.assertEqual(self.link.words(), [CredentialKept(generation=7)])
        self.hear(NewCredential(login="no-room", passcode="8-abc"))
        self.assertEqual(self.link.words(), [])

    def test_hello_is_repeated(self) -> None:
        """Until the host answers, HELLO is said again, ever more rarely, and no beacon."""
        self.agent.connected()
        times = []
        for second in range(200):
            times += [second] * len(self.link.words())
            self.clock.advance(1)
        gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
        self.assertEqual(gaps[:4], [3, 6, 12, 24])
        self.assertEqual(set(gaps[4:]), {int(HELLO_MOST_S)})

    def test_beacons(self) -> None:
        """After the answer there is a STILL_ALIVE every interval, and no HELLO any more."""
        self.greet()
        for _ in range(3):
            self.clock.advance(BEACON_S - 0.1)
            self.assertEqual(self.names(), [])
            self.clock.advance(0.1)
            beacon = StillAlive(session="this-start", load=0.5, figures={"cpu": 12.5})
            self.assertEqual(self.link.words(), [beacon])

    def test_lost(self) -> None:
        """Without a connection nothing is said; on the next one it begins with HELLO."""
        self.greet()
        self.link.connected = False
        self.agent.lost("gone")
        self.clock.advance(100)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.link.connected = True
        self.agent.connected()
        self.assertEqual(self.names(), ["HELLO"])

    def test_host_does_not_know_us(self) -> None:
        """A host that restarted behind another broker asks, and is told again who is here."""
        self.greet()
        self.hear(Aint(word="STILL_ALIVE", detail="say HELLO first"))
        self.assertEqual(self.names(), ["HELLO"])
        self.answer()
        self.clock.advance(BEACON_S)
        self.assertEqual(self.names(), ["STILL_ALIVE"])

    def test_unexpected_hello(self) -> None:
        """A HELLO out of turn asks for ours; two hosts' answers don't make an endless talk."""
        self.greet()
        self.answer()
        self.assertEqual(self.names(), ["HELLO"])
        self.answer()
        self.assertEqual(self.names(), [])

    def test_slow_answers(self) -> None:
        """A host that answers late answers every HELLO; that is no reason for another one."""
        self.agent.connected()
        self.clock.advance(3)
        self.clock.advance(6)
        self.assertEqual(self.names(), ["HELLO"] * 3)
        for _ in range(3):
            self.answer()
        self.assertEqual(self.names(), [])
        self.clock.advance(BEACON_S)
        self.assertEqual(self.names(), ["STILL_ALIVE"])
        self.answer()
        self.assertEqual(self.names(), ["HELLO"])

    def test_late_answer_resends_nothing(self) -> None:
        """A result that was said after the first answer is not said again for the second."""
        self.agent.connected()
        self.hear(CmdRun(cmd_id="a", spec=CommandSpec(cmd="/no/such")))
        self.clock.advance(3)
        self.link.words()
        self.answer(a=(0, 0))
        self.assertEqual(self.names(), ["CMD_RESULT"])
        self.answer(a=(0, 0))
        self.assertEqual(self.names(), [])

    def test_host_restarts_between_two_answers(self) -> None:
        """The second answer counts when another start of the host gave it."""
        self.agent.connected()
        self.hear(CmdRun(cmd_id="a", spec=CommandSpec(cmd="/no/such")))
        self.clock.advance(3)
        self.link.words()
        self.answer(a=(0, 0))
        self.link.words()
        self.hear(Hello(descriptor=Descriptor(id="host"), session="host-2", commands={}))
        self.assertEqual(self.names(), ["CMD_RESULT"])

    def test_nothing_is_owed_on_the_next_connection(self) -> None:
        """Answers that a lost connection swallowed are not waited for on the next one."""
        self.agent.connected()
        self.clock.advance(3)
        self.agent.lost("gone")
        self.agent.connected()
        self.answer()
        self.link.words()
        self.answer()
        self.assertEqual(self.names(), ["HELLO"])

    def test_results_wait_for_the_answer(self) -> None:
        """A result is said only when the host has told what it has."""
        self.agent.connected()
        self.link.words()
        self.hear(CmdRun(cmd_id="a", spec=CommandSpec(cmd="/no/such")))
        self.assertEqual(self.names(), [])
        self.answer(a=(0, 0))
        (sent,) = self.link.sent
        self.assertEqual(sent.destination, RESPONSES)
        self.assertIsInstance(sent.word, CmdResult)

    def test_ping(self) -> None:
        """PONG carries the ping's id, at once, greeted or not."""
        self.hear(Ping(ping_id="p-1"))
        (sent,) = self.link.sent
        self.assertEqual((sent.destination, sent.word), (RESPONSES, Pong(ping_id="p-1")))

    def test_not_a_word(self) -> None:
        """An unknown or malformed word is answered with AINT."""
        self.hear_raw(b"DANCE {}", {})
        self.hear_raw(b"CMD_RUN {}", {})
        self.assertEqual([word.word for word in self.link.words()], ["DANCE", "CMD_RUN"])

    def test_not_for_a_guest(self) -> None:
        """A word that only guests say is answered with AINT too."""
        self.hear(Pong(ping_id="p"))
        self.assertEqual([word.word for word in self.link.words()], ["PONG"])

    def test_aint_is_not_answered(self) -> None:
        """Two sides that don't understand each other fall silent."""
        self.hear(Aint(word="PONG", detail="?"))
        self.hear_raw(b"AINT [1]", {})
        self.assertEqual(self.names(), [])

    @settings(max_examples=200, deadline=None)
    @given(
        st.binary(max_size=200)
        | st.builds(
            lambda name, rest: name + b" " + rest,
            st.sampled_from([b"HELLO", b"CMD_RUN", b"FILE_DATA", b"PING", b"AINT"]),
            st.binary(max_size=100),
        )
    )
    def test_any_message(self, body: bytes) -> None:
        """No message raises, with a connection or without."""
        for self.link.connected in (True, False):
            self.hear_raw(body, {"cmd-id": "x", "ping-id": "y", "transfer-id": "z"})

    def test_stop(self) -> None:
        """BYE is the last word, and no timer is left."""
        self.greet()
        self.successResultOf(self.agent.stop())
        self.assertEqual(self.link.words(), [Bye(descriptor=Descriptor(id=ID, hostname="guest"))])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_without_connection(self) -> None:
        """There is nobody to say BYE to, and that is no fault."""
        self.link.connected = False
        self.successResultOf(self.agent.stop())
