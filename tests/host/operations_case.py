"""The use cases on a hypervisor in memory, with agents that tests speak for."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from tests.fakes.hypervisor import FakeHypervisor
from tests.host.wiring import at_once, conversation_of, creation_of
from vmcontroller.common.config import StatsConfig, TasksConfig
from vmcontroller.common.model import CommandSpec, GuestId
from vmcontroller.common.stomp.client import Message
from vmcontroller.common.words.presence import Descriptor, Hello
from vmcontroller.host.adoption import Adoption
from vmcontroller.host.directory import Directory
from vmcontroller.host.events.events import Events
from vmcontroller.host.hypervisor.base import AgentAddress
from vmcontroller.host.identity.credentials import Credentials
from vmcontroller.host.operations.operations import Operations
from vmcontroller.host.reach import Reach
from vmcontroller.host.recent_events import RecentEvents
from vmcontroller.host.requests import CreateOptions, RunRequest
from vmcontroller.host.tasks.tasks import Tasks

TRUE = RunRequest(spec=CommandSpec(cmd="true"), has_usual_output_limit=True)


class Addresses:
    """A broker that listens where it should."""

    def for_agents(self) -> AgentAddress:
        return AgentAddress()

    async def refresh(self) -> None:
        pass


class OperationsCase(SynchronousTestCase):
    """Has no tests."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.hypervisor = FakeHypervisor()
        self.sent = []
        self.conversation = conversation_of(
            self.clock, lambda *message: self.sent.append(message), self.mktemp()
        )
        directory = Directory(clock=self.clock, hypervisor=self.hypervisor)
        self.adoption = Adoption(
            clock=self.clock,
            hypervisor=self.hypervisor,
            directory=directory,
            greet=self.conversation.ask_for_hello,
            end_session=lambda guest, reason: None,
        )
        self.adoption.credentials = Credentials(key=bytes(32), records={}, save=lambda _: None)
        self.operations = Operations(
            clock=self.clock,
            hypervisor=self.hypervisor,
            directory=directory,
            reach=Reach(
                directory=directory,
                guests=self.conversation.guests,
                now_s=self.clock.seconds,
                wall_s=lambda: 1_000_000.0 + self.clock.seconds(),
            ),
            adoption=self.adoption,
            in_thread=at_once,
            creation=creation_of(self.hypervisor, self.mktemp()),
            conversation=self.conversation,
            commands=self.conversation.commands,
            transfers=self.conversation.transfers,
            broker_addresses=Addresses(),
            events=RecentEvents(lambda: 7.0),
            event_log=Events(clock=self.clock, wall_s=lambda: 7.0),
            tasks=Tasks(clock=self.clock, wall_s=lambda: 7.0, config=TasksConfig()),
            stats=StatsConfig(),
            stop_timeout_s=100,
        )
        self.now(self.hypervisor.open(self.operations.vm_changed))

    def begin(self, coroutine) -> Deferred:
        return Deferred.fromCoroutine(coroutine)

    def now(self, coroutine):
        return self.successResultOf(self.begin(coroutine))

    def refused(self, error, coroutine):
        return self.failureResultOf(self.begin(coroutine), error).value

    def create(self, name: str = "vm") -> None:
        self.now(self.operations.create_vm(name, "", CreateOptions()))

    def agent_says_hello(self, name: str = "vm", protocol: int = 3) -> None:
        guest = GuestId(self.now(self.operations.get_names_to_ids_mapping())[name])
        body = (
            Hello(descriptor=Descriptor(id=guest), session="s", protocol=protocol).how_to_say().body
        )
        self.conversation.message(Message(destination="", headers={"from": guest}, body=body))
