"""The host among its guests: HELLO is answered, PING is matched by its id, strangers do no harm."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.host.wiring import conversation_of
from vmcontroller.common.credentials import Credential
from vmcontroller.common.destinations import REQUESTS, requests_of
from vmcontroller.common.errors import GuestUnreachable, NotConnected
from vmcontroller.common.model import CommandSpec, GuestId, guest_id
from vmcontroller.common.stomp.client import Message
from vmcontroller.common.words import Utterance, Word, hear
from vmcontroller.common.words.commands import CmdResult, CmdRun, CmdStarted
from vmcontroller.common.words.credentials import CredentialKept, NewCredential
from vmcontroller.common.words.presence import (
    PROTOCOL_VERSION,
    Aint,
    Bye,
    Descriptor,
    Hello,
    Ping,
    Pong,
    StillAlive,
)
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.hypervisor.vm_state import VmState

ONE = guest_id("52:54:00:00:00:01")
TWO = guest_id("52:54:00:00:00:02")
VM = Vm(uuid="u", name="vm", state=VmState.RUNNING, macs=(ONE,))


class Owing:
    """Owes every guest a credential."""

    def __init__(self) -> None:
        self.kept_by = []

    def owed(self, guest):
        return Credential(login="u", passcode="2-x")

    def kept(self, guest, generation):
        self.kept_by.append((guest, generation))


class ConversationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.sent = []
        self.connected = True
        self.conversation = conversation_of(self.clock, self.send, self.mktemp())

    def send(self, destination, body, headers) -> None:
        if not self.connected:
            raise NotConnected("no broker")
        self.sent.append((destination, hear(Utterance(headers=headers, body=body))))

    def says(self, word: Word, sender: GuestId = ONE) -> None:
        said = word.how_to_say()
        self.conversation.message(
            Message(destination="", headers={**said.headers, "from": sender}, body=said.body)
        )

    def hello(self, sender: GuestId = ONE, session: str = "s", **more) -> None:
        self.says(Hello(descriptor=Descriptor(id=sender), session=session, **more), sender)

    def said(self, kind):
        """Return what was said of this kind, with the place where."""
        return [(where, word) for where, word in self.sent if isinstance(word, kind)]

    def ping(self, timeout_s: float = 5) -> Deferred:
        return Deferred.fromCoroutine(self.conversation.ping(ONE, "vm", timeout_s))

    def run_one(self) -> str:
        guest = self.conversation.guests.get(ONE)
        running = self.conversation.commands.run(VM, guest, CommandSpec(cmd="true"))
        return self.successResultOf(Deferred.fromCoroutine(running))

    def record(self, cmd_id: str):
        finding = self.conversation.commands.find(cmd_id)
        return self.successResultOf(Deferred.fromCoroutine(finding))

    def test_hello_is_answered(self) -> None:
        """A guest learns on its own topic that the host knows it."""
        self.hello()
        destination, _ = self.said(Hello)[-1]
        self.assertEqual(destination, requests_of(ONE))
        self.assertIsNotNone(self.conversation.guests.get(ONE))

    def test_the_lower_version_counts(self) -> None:
        """Both sides speak what both can; an old agent is never given a word it can't know."""
        self.conversation.owing = Owing()
        for theirs, agreed in (
            (1, 1),
            (PROTOCOL_VERSION, PROTOCOL_VERSION),
            (99, PROTOCOL_VERSION),
        ):
            self.hello(protocol=theirs, capabilities=("credential",))
            self.assertEqual(self.said(Hello)[-1][1].protocol, agreed)
            self.assertEqual(self.conversation.guests.get(ONE).protocol, agreed)
            self.assertEqual(bool(self.said(NewCredential)), theirs > 1)

    def test_a_credential_that_is_owed(self) -> None:
        """It is given after HELLO, and given no more once the guest has it."""
        self.conversation.owing = owing = Owing()
        self.hello(capabilities=("credential",))
        [(destination, word)] = self.said(NewCredential)
        self.assertEqual(destination, requests_of(ONE))
        self.assertEqual((word.login, word.passcode), ("u", "2-x"))
        self.says(CredentialKept(generation=2))
        self.assertEqual(owing.kept_by, [(ONE, 2)])

    def test_an_old_hello(self) -> None:
        """One that comes late, of an earlier connection of the same agent, changes nothing."""
        self.hello(epoch=2, boot_id="b")
        answers = len(self.said(Hello))
        self.hello(epoch=1)
        self.assertEqual(len(self.said(Hello)), answers)
        self.assertEqual(self.conversation.guests.get(ONE).boot_id, "b")
        self.hello(session="started anew", epoch=1)
        self.assertEqual(len(self.said(Hello)), answers + 1)

    def test_latency_and_load(self) -> None:
        """Measured at HELLO and then now and then; the beacon brings the load."""
        self.hello()
        self.assertLess(self.conversation.guests.get(ONE).latency_s, 0)
        self.clock.advance(0.25)
        self.says(Pong(ping_id=self.said(Ping)[-1][1].ping_id))
        self.assertEqual(self.conversation.guests.get(ONE).latency_s, 0.25)
        pings = len(self.said(Ping))
        for _ in range(6):
            self.clock.advance(10)
            self.says(StillAlive(session="s", load=1.5, figures={"cpu": 9.5}))
        self.assertEqual(self.conversation.guests.get(ONE).load, 1.5)
        self.assertEqual(self.conversation.guests.get(ONE).figures, {"cpu": 9.5})
        self.assertEqual(self.conversation.guests.get(ONE).figures_s, self.clock.seconds())
        self.assertEqual(len(self.said(Ping)), pings + 1)

    def test_a_pong_for_another(self) -> None:
        """Nobody's answer counts for another guest's latency."""
        self.hello()
        self.hello(TWO)
        self.says(Pong(ping_id=self.said(Ping)[0][1].ping_id), TWO)
        self.assertLess(self.conversation.guests.get(ONE).latency_s, 0)

    def test_a_beacon_of_another_start(self) -> None:
        """The beacon of an agent whose HELLO was lost asks for it."""
        self.hello()
        self.says(StillAlive(session="another"))
        self.assertIsInstance(self.sent[-1][1], Aint)

    def test_connected(self) -> None:
        """When the host has (again) a broker, all guests are asked for their HELLO."""
        self.conversation.connected()
        destination, word = self.sent[-1]
        self.assertEqual(destination, REQUESTS)
        self.assertEqual(word.word, "STILL_ALIVE")

    def test_the_stamp_counts(self) -> None:
        """Who speaks is who the broker says, whatever the descriptor claims."""
        self.says(Hello(descriptor=Descriptor(id=TWO), session="s"), ONE)
        self.assertIsNotNone(self.conversation.guests.get(ONE))
        self.assertIsNone(self.conversation.guests.get(TWO))

    def test_no_sender(self) -> None:
        """A message that nobody stamped is dropped."""
        said = Hello(descriptor=Descriptor(id=ONE), session="s").how_to_say()
        self.conversation.message(Message(destination="", headers={}, body=said.body))
        self.assertEqual(self.sent, [])

    def test_ping(self) -> None:
        """A ping ends with the PONG of the same id from the same guest, and with no other."""
        self.hello()
        self.hello(TWO)
        pinging = self.ping()
        word = self.sent[-1][1]
        self.assertIsInstance(word, Ping)
        self.says(Pong(ping_id="another"))
        self.says(Pong(ping_id=word.ping_id), TWO)
        self.assertNoResult(pinging)
        self.says(Pong(ping_id=word.ping_id))
        self.successResultOf(pinging)
        self.says(Pong(ping_id=word.ping_id))
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_ping_waits_for_the_agent(self) -> None:
        """A ping of a guest that still boots is asked when it has said HELLO."""
        pinging = self.ping(100)
        self.assertEqual(self.sent, [])
        self.clock.advance(50)
        self.hello()
        self.says(Pong(ping_id=self.sent[-1][1].ping_id))
        self.successResultOf(pinging)

    def test_ping_of_an_agent_that_comes_back(self) -> None:
        """A ping that an old agent took with it is said again to the new one, for all who wait."""
        self.hello()
        first, second = self.ping(100), self.ping(100)
        self.hello(session="another")
        pings = [word for _, word in self.sent[-2:]]
        self.assertEqual([type(word) for word in pings], [Ping, Ping])
        for word in pings:
            self.says(Pong(ping_id=word.ping_id))
        self.successResultOf(first)
        self.successResultOf(second)

    def test_ping_timeout(self) -> None:
        """No answer is a Fault that old clients know."""
        self.hello()
        pinging = self.ping(5)
        self.clock.advance(5)
        failure = self.failureResultOf(pinging, GuestUnreachable)
        self.assertIn("PING timeout", str(failure.value))

    def test_ping_without_broker(self) -> None:
        """A ping that can't be said fails at once."""
        self.hello()
        self.connected = False
        self.failureResultOf(self.ping(), NotConnected)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_bye(self) -> None:
        """A guest that said BYE is gone at once."""
        self.hello()
        self.says(Bye(descriptor=Descriptor(id=ONE)))
        self.assertIsNone(self.conversation.guests.get(ONE))

    def test_unknown_beacon(self) -> None:
        """A guest that was away too long is asked for its HELLO."""
        self.hello()
        self.clock.advance(31)
        self.conversation.guests.expire(self.clock.seconds())
        self.says(StillAlive(session="s"))
        word = self.sent[-1][1]
        self.assertIsInstance(word, Aint)
        self.assertEqual(word.word, "STILL_ALIVE")

    def test_beacon_keeps(self) -> None:
        """A beacon is no reason to answer, and keeps the guest."""
        self.hello()
        sent = len(self.sent)
        self.clock.advance(29)
        self.says(StillAlive(session="s"))
        self.clock.advance(29)
        self.conversation.guests.expire(self.clock.seconds())
        self.assertIsNotNone(self.conversation.guests.get(ONE))
        self.assertEqual(len(self.sent), sent)

    def test_garbage(self) -> None:
        """Bodies that are no words, and words of the wrong direction, are noticed only."""
        for body in (b"", b"\xff\x00", b"CMD_RESULT {", b"CMD_RUN {}", b"HELLO {}"):
            self.conversation.message(Message(destination="", headers={"from": ONE}, body=body))
        self.says(CmdRun(cmd_id="c", spec=CommandSpec(cmd="true")))
        self.assertEqual(self.sent, [])

    def test_commands_over_a_reconnect(self) -> None:
        """The answer to HELLO says what the host has of each command that the guest holds."""
        self.hello()
        cmd_id = self.run_one()
        self.says(CmdStarted(cmd_id=cmd_id, pid=1))
        self.hello(commands={cmd_id: (0, 0), "unknown": (0, 0)})
        self.assertEqual(self.said(Hello)[-1][1].commands, {cmd_id: (0, 0)})

    def test_paused_for_longer_than_the_grace(self) -> None:
        """A command sent to a paused guest is sent again when the same agent comes back."""
        self.hello()
        cmd_id = self.run_one()
        self.clock.advance(100)
        self.conversation.guests.expire(self.clock.seconds())
        self.hello()
        self.assertFalse(self.record(cmd_id).has_ended)
        said = [word for _, word in self.sent if isinstance(word, CmdRun)]
        self.assertEqual([word.cmd_id for word in said], [cmd_id, cmd_id])

    def test_not_understood(self) -> None:
        """An agent that does not know CMD_RUN ends the command by saying so."""
        self.hello()
        cmd_id = self.run_one()
        said = CmdRun(cmd_id=cmd_id, spec=CommandSpec(cmd="true")).how_to_say()
        older = hear(Utterance(headers=said.headers, body=b"CMD_RUN_2"))
        self.says(older)
        self.assertIn("REFUSED", self.record(cmd_id).error)

    def test_a_question_not_understood(self) -> None:
        """A command runs on whose signal, stdin or figures were not understood."""
        self.hello()
        cmd_id = self.run_one()
        for name in ("CMD_SIGNAL", "CMD_STDIN", "CMD_ASK", "CMD_USAGE"):
            self.says(Aint(word=name, detail="what?", about=cmd_id))
        self.assertFalse(self.record(cmd_id).has_ended)

    def test_restarted_agent(self) -> None:
        """A HELLO of a new session ends the commands of the old one."""
        self.hello()
        cmd_id = self.run_one()
        self.says(CmdStarted(cmd_id=cmd_id, pid=1))
        self.hello(session="another")
        self.assertTrue(self.record(cmd_id).has_ended)

    def test_result_while_the_broker_is_away(self) -> None:
        """A result that can't be acknowledged is stored; the guest says it again later."""
        self.hello()
        cmd_id = self.run_one()
        self.connected = False
        result = {
            "cmd-id": cmd_id,
            "finished": True,
            "exitCodeOrSignal": 0,
            "stdout-bytes": 0,
            "stderr-bytes": 0,
        }
        said = CmdResult.NAME.encode() + b" " + str(result).replace("'", '"').encode()
        body = said.replace(b"True", b"true")
        headers = {"from": ONE, "cmd-id": cmd_id}
        self.conversation.message(Message(destination="", headers=headers, body=body))
        self.assertTrue(self.record(cmd_id).has_ended)
