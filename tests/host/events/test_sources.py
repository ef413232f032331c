"""What the parts of the daemon report, as events."""

from __future__ import annotations

from types import SimpleNamespace

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.host.wiring import conversation_of
from vmcontroller.common.model import CommandSpec, GuestId
from vmcontroller.common.stomp.client import Message
from vmcontroller.common.words.presence import Bye, Descriptor, Hello
from vmcontroller.host.commands.record import Command, CommandState
from vmcontroller.host.conversation import Conversation
from vmcontroller.host.events.events import Events
from vmcontroller.host.events.log import Kind, Wanted
from vmcontroller.host.events.sources import Sources
from vmcontroller.host.hypervisor.base import Vm, VmChanged
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.transfers.request import CopyRequest, Direction, Record, State

GUEST = GuestId("52:54:00:00:00:01")
VM = Vm(uuid="u1", name="one", state=VmState.RUNNING, macs=(GUEST,))


class SourcesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.events = Events(clock=self.clock, wall_s=lambda: 1000.0)
        self.vms = [VM]
        self.sources = Sources(self.events, lambda: self.vms)
        self.sources.found(self.vms)
        self.seen = int(1000.0 * 1e6)

    def told(self) -> list[tuple]:
        """Return the events since the last look: kind, VM, and detail."""
        waiting = Deferred.fromCoroutine(self.events.wait(self.seen, 0, Wanted()))
        page = self.successResultOf(waiting)
        self.seen = page.next
        return [(each.kind.value, each.vm, dict(each.detail)) for each in page.events]

    def conversation(self) -> Conversation:
        """Return a conversation that reports here."""
        whole = conversation_of(self.clock, lambda *_: None, self.mktemp())
        conversation = Conversation(
            clock=self.clock,
            send=lambda *_: None,
            gc_grace_s=30,
            agent_up=self.sources.agent_up,
            agent_gone=self.sources.agent_gone,
        )
        conversation.commands, conversation.transfers = whole.commands, whole.transfers
        return conversation

    def test_agents(self) -> None:
        """An agent comes once a session, and goes for a reason; one started anew does both."""
        conversation = self.conversation()

        def say(word) -> None:
            said = word.how_to_say()
            headers = {"from": GUEST, **said.headers}
            conversation.message(Message(destination="", headers=headers, body=said.body))

        def hello(session: str) -> Hello:
            return Hello(descriptor=Descriptor(id=GUEST, ip="10.0.0.2"), session=session)

        up = ("agent-up", "one", {"guest": GUEST, "ip": "10.0.0.2", "version": ""})
        say(hello("a"))
        say(hello("a"))
        self.assertEqual(self.told(), [up])
        say(hello("b"))
        anew = ("agent-gone", "one", {"guest": GUEST, "reason": "it was started anew"})
        self.assertEqual(self.told(), [anew, up])
        say(Bye(descriptor=Descriptor(id=GUEST)))
        self.assertEqual(
            self.told(), [("agent-gone", "one", {"guest": GUEST, "reason": "it said BYE"})]
        )
        say(hello("c"))
        conversation.guests.expire(self.clock.seconds() + 31)
        self.assertEqual([kind for kind, *_ in self.told()], ["agent-up", "agent-gone"])

    def test_vm_of_an_agent(self) -> None:
        """The VM is the one that has the guest now, and unknown where there is none."""
        guest = SimpleNamespace(id=GUEST)
        self.sources.agent_gone(guest, "x")
        self.sources.vm_changed(VmChanged(uuid="u1", name="one", state=None))
        self.vms = [Vm(uuid="u2", name="two", state=VmState.RUNNING, macs=(GUEST,))]
        self.sources.agent_gone(guest, "x")
        self.sources.vm_changed(VmChanged(uuid="u2", name="two", state=None))
        self.vms = []
        self.sources.agent_gone(guest, "x")
        agents = [vm for kind, vm, _ in self.told() if kind == Kind.AGENT_GONE]
        self.assertEqual(agents, ["one", "two", ""])

    def test_commands_and_copies(self) -> None:
        """Their ends are events with their ids and outcomes; of a lost command nothing is known."""
        command = Command(
            cmd_id="c1",
            vm_name="one",
            vm_uuid="u1",
            guest=GUEST,
            session="s",
            spec=CommandSpec(cmd="true"),
            created_at=1.0,
            state=CommandState.LOST,
        )
        self.sources.command_ended(command)
        request = CopyRequest(
            vm_name="one",
            vm_uuid="u1",
            guest=GUEST,
            direction=Direction.TO_VM,
            local_path="a",
            remote_path="b",
            protocol=3,
        )
        self.sources.transfer_ended(
            Record(transfer_id="t1", request=request, state=State.DONE, size_bytes=7, done_bytes=7)
        )
        self.assertEqual(
            self.told(),
            [
                ("command-ended", "one", {"cmdId": "c1", "state": "lost", "exitCodeOrSignal": -1}),
                ("transfer-ended", "one", {"id": "t1", "state": "done", "bytes": 7}),
            ],
        )
